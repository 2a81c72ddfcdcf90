package ring

import (
	"math/bits"
	"sync"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// rooms keep the working arrays of past passes, which would be new memory to zero and to page in otherwise: a fifth of the time of a
// pass over short documents. They hold *[]float32 and *[]float64, by size; the collector empties them.
var rooms32, rooms64 [4 * (bits.UintSize + 1)]sync.Pool

// roomsOf is where arrays of about n elements are: four to a power of two.
func roomsOf[T kernel.Float](n int) *sync.Pool {
	length := bits.Len(uint(n))
	class := 4*length + n<<2>>max(length-1, 0)&3
	if unsafe.Sizeof(T(0)) == 4 {
		return &rooms32[class]
	}
	return &rooms64[class]
}

// borrow returns n elements that hold anything. What other ranks may read at the end of a pass must not be borrowed.
func borrow[T kernel.Float](n int) []T {
	if n == 0 {
		return nil
	}
	if p, ok := roomsOf[T](n).Get().(*[]T); ok && cap(*p) >= n {
		return (*p)[:n]
	}
	return make([]T, n)
}

// giveBack lets later passes borrow arrays that nobody uses any more.
func giveBack[T kernel.Float](arrays ...[]T) {
	for _, a := range arrays {
		if cap(a) > 0 {
			roomsOf[T](cap(a)).Put(&a)
		}
	}
}
