package cpu

import (
	"syscall"
	"testing"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// guarded returns n elements of memory that end where an unmapped page begins:
// a read or write behind them stops the test.
func guarded[T kernel.Float](t *testing.T, n int) []T {
	t.Helper()
	page, size := syscall.Getpagesize(), n*int(unsafe.Sizeof(T(0)))
	room := (size + page - 1) / page * page
	b, err := syscall.Mmap(-1, 0, room+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(b) })
	if err := syscall.Mprotect(b[room:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[room-size])), n)
}

func testGuarded[T kernel.Float](t *testing.T) {
	for _, n := range []int{1, 3, 8, 15, 16, 17, 33, 63, 64, 65} {
		for _, m := range []int{1, 5, 6, 11} {
			const k = 5
			a, b, c := guarded[T](t, m*k), guarded[T](t, k*n), guarded[T](t, m*n)
			tileNN(c, n, a, k, b, n, m, n, k, true)
			tileTN(c, n, a, m, b, n, m, n, k, true)
			transpose(guarded[T](t, m*n), m, c, n, m, n, 1)
			part := tilePart{n, m, n}
			expSub(c, part, guarded[T](t, n), 1, guarded[T](t, n), guarded[T](t, n))
			if rows := weighable[T](m, weighDepth); n == panelRows && rows > 0 {
				b := guarded[T](t, weighDepth*n)
				weigh(guarded[T](t, rows*n), guarded[T](t, rows*weighDepth), b, rows, weighDepth, guarded[T](t, n), 1, guarded[T](t, n), guarded[T](t, n))
			}
			columnMax(c, part, guarded[T](t, n))
			subMul(c, guarded[T](t, m*n), part, guarded[T](t, n))
			scaleRows(c, guarded[T](t, m*n), part, guarded[T](t, m), guarded[T](t, m))
			guardedScoreMods(t, c, part)
		}
	}
}

func guardedScoreMods[T kernel.Float](t *testing.T, c []T, p tilePart) {
	bias(c, p, 1, guarded[T](t, p.width), guarded[T](t, p.rows), 1)
	softcap(c, guarded[T](t, len(c)), p, 1, 1)
	softcap(c, nil, p, 1, 1)
	flatten(c, guarded[T](t, len(c)), p, guarded[T](t, p.width))
	if p.width <= 64 {
		keys := wordsOf(guarded[float32](t, p.rows))
		bits := unsafe.Slice((*uint64)(unsafe.Pointer(&guarded[float64](t, p.rows)[0])), p.rows)
		draw(bits, wordsOf(guarded[float32](t, p.width)), keys, 1<<31)
		sift(c, p, bits, (64-p.width)/16*16, 0)
	}
}

func TestPrimitivesTouchNothingBehindTheirOperands(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testGuarded[float32])
		t.Run("float64", testGuarded[float64])
	})
}

func TestPairProductsTouchNothingBehindTheirOperands(t *testing.T) {
	eachPairSet(t, func(t *testing.T, s pairPrimitives) {
		for _, m := range []int{1, 6, 15, 16, 17, 32, 49} {
			for _, n := range []int{16, 32, 48, 80} {
				for _, k := range []int{0, 1, 5, 15, 16, 17, 32, 45} {
					a, b, c := wordsOf(guarded[float32](t, m*k)), wordsOf(guarded[float32](t, k*n)), guarded[float32](t, m*n)
					s.product(c, n, a, k, b, n, m, n, k, false)
					s.product(c, n, a, k, b, n, m, n, k, true)
				}
			}
		}
	})
}
