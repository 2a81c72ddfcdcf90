package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// A query that sees a single key gives its value to the bit: the weight is 1, whatever the logit. On the way back it comes of the lse, which
// two float32 hold as exactly as it takes, but not two float64.
func testSingleKey[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	const heads, dim = 64, 24
	at := []kernel.Segment{{Start: 0, Stride: 1, Count: 1}}
	for _, size := range []float64{0.1, 1, 30, 1000} {
		b := kernel.Block{Heads: heads, KVHeads: heads, Dim: dim, ValueDim: dim, Scale: 1 / math.Sqrt(dim), Mask: mask.CausalOrder(), Rows: at, Cols: at}
		normal := func(n int, size float64) []T {
			x := make([]T, n)
			for i := range x {
				x[i] = T(size * r.NormFloat64())
			}
			return x
		}
		q, k, v, dOut := normal(heads*dim, size), normal(heads*dim, size), normal(heads*dim, 1), normal(heads*dim, 1)
		lines := func() []T { return make([]T, heads) }
		carry := kernel.Carry[T]{O: make([]T, heads*dim), M: lines(), L: lines(), Low: lines()}
		carry.Reset()
		out, lse, delta, a := make([]T, heads*dim), lines(), lines(), New[T]()
		a.Forward(carry, q, k, v, b)
		a.Finish(carry, out, lse, b)
		a.Delta(out, dOut, delta, b)
		g := kernel.Gradients[T]{DQ: make([]T, heads*dim), DK: make([]T, heads*dim), DV: make([]T, heads*dim), Fresh: true}
		a.Backward(g, kernel.Inputs[T]{Q: q, K: k, V: v, DOut: dOut, LSE: lse, LSELow: carry.Low, Delta: delta}, b)
		for i := range v {
			if out[i] != v[i] || sizeOf[T]() == 4 && g.DV[i] != dOut[i] {
				t.Fatalf("logits of %v: out[%d] is %v for the value %v, dV %v for dO %v", size*size, i, out[i], v[i], g.DV[i], dOut[i])
			}
		}
	}
}

func TestASingleVisibleKeyHasWeightOne(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testSingleKey[float32])
		t.Run("float64", testSingleKey[float64])
	})
}
