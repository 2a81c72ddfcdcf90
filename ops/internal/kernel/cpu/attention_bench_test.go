package cpu

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// benchmarkCase is one head count and length; flops are 4·n²·d·h forward, halved when causal, 2.5 times that backward.
type benchmarkCase struct {
	n, d, heads, kvHeads int
	causal               bool
}

func (c benchmarkCase) String() string {
	return fmt.Sprintf("n=%d/d=%d/h=%d/kv=%d/causal=%t", c.n, c.d, c.heads, c.kvHeads, c.causal)
}

func (c benchmarkCase) flops() float64 {
	f := 4 * float64(c.n) * float64(c.n) * float64(c.d*c.heads)
	if c.causal {
		f /= 2
	}
	return f
}

var benchmarkCases = []benchmarkCase{
	{2048, 64, 8, 8, false}, {2048, 64, 8, 8, true}, {2048, 64, 2, 1, true}, {2048, 128, 4, 4, false},
}

func BenchmarkForward(b *testing.B) {
	for _, c := range benchmarkCases {
		b.Run(c.String(), func(b *testing.B) {
			f := newBenchmarkInputs(c)
			k := New[float32]()
			for b.Loop() {
				f.carry.Reset()
				k.Forward(f.carry, f.q, f.k, f.v, f.block)
				k.Finish(f.carry, f.out, f.lse, f.block)
			}
			report(b, c.flops())
		})
	}
}

func BenchmarkBackward(b *testing.B) {
	for _, c := range benchmarkCases {
		b.Run(c.String(), func(b *testing.B) {
			f := newBenchmarkInputs(c)
			k := New[float32]()
			f.carry.Reset()
			k.Forward(f.carry, f.q, f.k, f.v, f.block)
			k.Finish(f.carry, f.out, f.lse, f.block)
			delta := make([]float32, len(f.lse))
			k.Delta(f.out, f.dOut, delta, f.block)
			g := kernel.Gradients[float32]{DQ: make([]float32, len(f.q)), DK: make([]float32, len(f.k)), DV: make([]float32, len(f.v))}
			for b.Loop() {
				k.Backward(g, kernel.Inputs[float32]{Q: f.q, K: f.k, V: f.v, DOut: f.dOut, LSE: f.lse, Delta: delta}, f.block)
			}
			report(b, 2.5*c.flops())
		})
	}
}

func report(b *testing.B, flops float64) {
	b.ReportMetric(flops*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

type benchmarkInputs struct {
	block         kernel.Block
	q, k, v, dOut []float32
	carry         kernel.Carry[float32]
	out, lse      []float32
}

func newBenchmarkInputs(c benchmarkCase) benchmarkInputs {
	random := rand.New(rand.NewPCG(1, 2))
	normal := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		return x
	}
	rows := []kernel.Segment{{Start: 0, Stride: 1, Count: c.n}}
	q, kv := c.heads*c.n*c.d, c.kvHeads*c.n*c.d
	return benchmarkInputs{
		block: kernel.Block{Heads: c.heads, KVHeads: c.kvHeads, Dim: c.d, ValueDim: c.d, Scale: 0.125, Mask: causalOrNot(c.causal), Rows: rows, Cols: rows},
		q:     normal(q), k: normal(kv), v: normal(kv), dOut: normal(q),
		carry: kernel.Carry[float32]{O: make([]float32, q), M: make([]float32, c.heads*c.n), L: make([]float32, c.heads*c.n)},
		out:   make([]float32, q), lse: make([]float32, c.heads*c.n),
	}
}

func causalOrNot(causal bool) *mask.Mask {
	if causal {
		return mask.CausalOrder()
	}
	return nil
}
