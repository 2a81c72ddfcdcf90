package cpu

import (
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// A turn is two multiply-adds, of two operations each, in every lane of all registers but four.
func TestMultiplyAddCountsWhatItDoes(t *testing.T) {
	perTurn := map[string][2]int{ // float32, float64
		"avx512": {2 * 2 * 28 * 16, 2 * 2 * 28 * 8}, "avx2": {2 * 2 * 12 * 8, 2 * 2 * 12 * 4}, "generic": {2 * 4 * 2 * 32, 2 * 4 * 2 * 32},
	}
	eachISA(t, func(t *testing.T) {
		want := perTurn[ISA()]
		for _, n := range []int{0, 1, 7} {
			if got := active.f32.multiplyAdd(n); got != n*want[0] {
				t.Errorf("float32: %d turns are %d flops, want %d", n, got, n*want[0])
			}
			if got := active.f64.multiplyAdd(n); got != n*want[1] {
				t.Errorf("float64: %d turns are %d flops, want %d", n, got, n*want[1])
			}
		}
	})
}

func TestTileLoopFitsTheFirstLevelCache(t *testing.T) {
	t.Run("float32", testTileLoop[float32])
	t.Run("float64", testTileLoop[float64])
}

func testTileLoop[T kernel.Float](t *testing.T) {
	loop := TileLoop[T]()
	if flops := loop(); flops != 2*tileLoopM*tileLoopK*tileLoopN[T]() {
		t.Errorf("a call is %d flops", flops)
	}
	const smallest = 32 << 10 // bytes, Zen 4
	bytes := (tileLoopM*tileLoopK + (tileLoopM+tileLoopK)*tileLoopN[T]()) * sizeOf[T]()
	if bytes > smallest {
		t.Errorf("the operands take %d bytes, a cache has %d", bytes, smallest)
	}
	if n := testing.AllocsPerRun(10, func() { loop() }); n > 0 {
		t.Errorf("a call allocates %v times", n)
	}
}
