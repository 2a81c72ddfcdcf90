package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Attention works on tiles of panelRows queries by tileKeys keys. A tile of scores is stored transposed, [keys, queries], so that
// a query is a lane: the softmax's sums over keys are sums of rows, and K, V and dO serve as they lie in memory.
const (
	panelRows = 64
	tileKeys  = 96
)

// attention implements kernel.Attention over the primitives of the active instruction set.
type attention[T kernel.Float] struct{}

// New returns the CPU kernel; it holds no state and may be shared.
func New[T kernel.Float]() kernel.Attention[T] { return attention[T]{} }

var (
	_ kernel.Attention[float32] = attention[float32]{}
	_ kernel.Attention[float64] = attention[float64]{}
)

// Finish writes out = O/L and lse = ln(2^M · L): M is in base 2, see Forward.
func (attention[T]) Finish(c kernel.Carry[T], out, lse []T, b kernel.Block) {
	dv := b.ValueDim
	Parallel(b.Heads, func(h int) {
		s := len(c.L) / b.Heads
		for i := h * s; i < (h+1)*s; i++ {
			o, in := out[i*dv:(i+1)*dv], c.O[i*dv:(i+1)*dv]
			if c.L[i] == 0 {
				clear(o)
				lse[i] = T(math.Inf(-1))
				continue
			}
			inverse := 1 / c.L[i]
			for d, x := range in {
				o[d] = x * inverse
			}
			lse[i] = T((float64(c.M[i]) + math.Log2(float64(c.L[i]))) * math.Ln2)
		}
	})
}

// Delta writes rowsum(dO∘O), summed in float64.
func (attention[T]) Delta(out, dOut, delta []T, b kernel.Block) {
	dv := b.ValueDim
	Parallel(b.Heads, func(h int) {
		s := len(delta) / b.Heads
		for i := h * s; i < (h+1)*s; i++ {
			sum := 0.0
			o := out[i*dv : (i+1)*dv]
			for d, g := range dOut[i*dv : (i+1)*dv] {
				sum += float64(g) * float64(o[d])
			}
			delta[i] = T(sum)
		}
	})
}
