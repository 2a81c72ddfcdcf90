package cpu

import (
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// A kernel's ceilings are loops that do its arithmetic and nothing else, on one goroutine, each call some microseconds long. They
// return the floating-point operations done, a multiply-add being two.

// multiplyAddTurns makes a call of MultiplyAdd last a few microseconds.
const multiplyAddTurns = 500

// MultiplyAdd multiplies and adds on registers alone, on the active instruction set: the peak of one core. In portable Go it is the
// register tile of the matrix product, on operands of a few cache lines.
func MultiplyAdd[T kernel.Float]() (flops int) {
	return primitivesOf[T]().multiplyAdd(multiplyAddTurns)
}

// The tile of TileLoop: with rows as wide as the widest register tile its operands take at most 30 KiB.
const (
	tileLoopM     = 18
	tileLoopK     = 64
	tileLoopBytes = 256 // of a row of B and C
)

func tileLoopN[T kernel.Float]() int { return tileLoopBytes / sizeOf[T]() }

func sizeOf[T kernel.Float]() int { return int(unsafe.Sizeof(T(0))) }

// TileLoop returns a loop of the matrix product's tile on operands that stay in the first-level cache: what a kernel made of tiles
// can reach on a processor that lowers its clock, or stalls, where products are fed from memory. Each goroutine needs its own.
func TileLoop[T kernel.Float]() func() (flops int) {
	const m, k = tileLoopM, tileLoopK
	n := tileLoopN[T]()
	a, b, c := make([]T, m*k), make([]T, k*n), make([]T, m*n)
	fill(a)
	fill(b)
	return func() int {
		tileNN(c, n, a, k, b, n, m, n, k, false)
		return 2 * m * n * k
	}
}

// PairLoop is TileLoop for products in bfloat16; it takes a processor that has them, see NewBFloat16.
func PairLoop() func() (flops int) {
	const m, k, n = tileLoopM, tileLoopK / 2, tileLoopBytes / 4
	product := pairSets()[0].product
	numbers, c := make([]float32, 2*(m*k+k*n)), make([]float32, m*n)
	fill(numbers)
	pairs := make([]uint32, m*k+k*n)
	narrowGeneric(halves(pairs), numbers)
	return func() int {
		product(c, n, pairs[:m*k], k, pairs[m*k:], n, m, n, k, false)
		return 2 * m * n * 2 * k
	}
}

// fill writes values between -1 and 1 that differ in most bits.
func fill[T kernel.Float](x []T) {
	state := uint32(1)
	for i := range x {
		state = state*1664525 + 1013904223
		x[i] = T(int32(state)) / (1 << 31)
	}
}
