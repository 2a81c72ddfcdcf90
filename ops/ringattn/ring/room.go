package ring

import (
	"sync"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// rooms keep the working arrays of past passes, which would be new memory to zero and to page in otherwise: a fifth of the time of a
// pass over short documents. They hold *[]float32 and *[]float64; the collector empties them.
var rooms32, rooms64 sync.Pool

func roomsOf[T kernel.Float]() *sync.Pool {
	if unsafe.Sizeof(T(0)) == 4 {
		return &rooms32
	}
	return &rooms64
}

// borrow returns n elements that hold anything. What other ranks may see must not be borrowed.
func borrow[T kernel.Float](n int) []T {
	if p, ok := roomsOf[T]().Get().(*[]T); ok && cap(*p) >= n && cap(*p) <= n+n/4 {
		return (*p)[:n]
	}
	return make([]T, n)
}

// giveBack lets later passes borrow arrays that nobody uses any more.
func giveBack[T kernel.Float](arrays ...[]T) {
	for _, a := range arrays {
		if cap(a) > 0 {
			roomsOf[T]().Put(&a)
		}
	}
}
