package cpu

import (
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/meter"
)

func TestKernelsCountTheirWork(t *testing.T) {
	const heads, rows, dim, values = 2, 200, 8, 16
	positions := []kernel.Segment{{Start: 0, Stride: 1, Count: rows}}
	b := kernel.Block{Heads: heads, KVHeads: heads, Dim: dim, ValueDim: values, Scale: 1, Rows: positions, Cols: positions}
	zeros := func(n int) []float32 { return make([]float32, n) }
	q, k, v, o, line := zeros(heads*rows*dim), zeros(heads*rows*dim), zeros(heads*rows*values), zeros(heads*rows*values), zeros(heads*rows)
	carry := kernel.Carry[float32]{O: o, M: zeros(len(line)), L: zeros(len(line))}
	carry.Reset()
	for _, work := range []struct {
		name string
		want uint64
		do   func(a kernel.Attention[float32])
	}{
		{"forward", heads * rows * rows * 2 * (dim + values), func(a kernel.Attention[float32]) { a.Forward(carry, q, k, v, b) }},
		{"backward", heads * rows * rows * 5 * (dim + values), func(a kernel.Attention[float32]) {
			a.Backward(kernel.Gradients[float32]{DQ: zeros(len(q)), DK: zeros(len(k)), DV: zeros(len(v))},
				kernel.Inputs[float32]{Q: q, K: k, V: v, DOut: o, LSE: line, Delta: line}, b)
		}},
		{"product", 2 * 3 * 5 * 7, func(kernel.Attention[float32]) {
			Gemm(Matmul[float32]{M: 3, N: 5, K: 7, Alpha: 1, A: zeros(21), LDA: 7, B: zeros(35), LDB: 5, C: zeros(15), LDC: 5})
		}},
	} {
		before := meter.Work()
		work.do(New[float32]())
		if got := meter.Work() - before; got != work.want {
			t.Errorf("%s: counted %d operations, want %d", work.name, got, work.want)
		}
	}
}
