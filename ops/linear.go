package ops

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// Linear is torch.nn.Linear: y = x·wᵀ + bias.
//
// x is [N, in], w is [out, in] as Hugging Face files hold it, bias is [out] or nil, y is [N, out]. Gradients: dx = dy·w,
// dw = dyᵀ·x, dbias = the column sums of dy.
func Linear(x, w, bias *gorgonia.Node) (*gorgonia.Node, error) {
	const name = "linear"
	operands := []operand{{"x", x, 2}, {"w", w, 2}}
	if bias != nil {
		operands = append(operands, operand{"bias", bias, 1})
	}
	if err := check(name, operands...); err != nil {
		return nil, err
	}
	n, in, out := x.Shape()[0], x.Shape()[1], w.Shape()[0]
	if w.Shape()[1] != in {
		return nil, fmt.Errorf("ops: %s: x is %v and w is %v: want w [out, %d]", name, x.Shape(), w.Shape(), in)
	}
	p := plan{name: name, in: []*gorgonia.Node{x, w}, out: tensor.Shape{n, out}}
	if bias != nil {
		if bias.Shape()[0] != out {
			return nil, fmt.Errorf("ops: %s: bias has %d elements and w is %v: want %d", name, bias.Shape()[0], w.Shape(), out)
		}
		p.in = append(p.in, bias)
	}
	return build(p, linear[float32]{}, linear[float64]{})
}

type linear[T Float] struct{}

func (linear[T]) forward(p *pass[T]) error {
	x, w, y := p.in[0], p.in[1], p.out
	var beta T
	if len(p.in) == 3 {
		bias := p.in[2].data
		beta = 1
		eachBlock(y.rows(), y.width(), func(from, to int) {
			for i := from; i < to; i++ {
				copy(y.row(i), bias)
			}
		})
	}
	cpu.Gemm(matmul(y, x, w, cpu.Matmul[T]{TransB: true, Beta: beta}))
	return nil
}

func (linear[T]) backward(p *pass[T]) error {
	x, w, dy := p.in[0], p.in[1], p.dOut
	cpu.Gemm(matmul(p.grad(0), dy, w, cpu.Matmul[T]{}))
	cpu.Gemm(matmul(p.grad(1), dy, x, cpu.Matmul[T]{TransA: true, Beta: p.beta(1)}))
	if len(p.in) == 3 {
		sumRows(p.grad(2).data, p.beta(2), dy.rows(), func(row int, acc []float64) { cpu.Accumulate(acc, dy.row(row)) })
	}
	return nil
}

func (linear[T]) adds(i int) bool { return i > 0 }

// matmul is c = op(a)·op(b) + beta·c on whole matrices; m brings the transpositions and beta.
func matmul[T Float](c, a, b array[T], m cpu.Matmul[T]) cpu.Matmul[T] {
	m.M, m.N, m.K = c.rows(), c.width(), a.width()
	if m.TransA {
		m.K = a.rows()
	}
	m.Alpha = 1
	m.A, m.LDA, m.B, m.LDB, m.C, m.LDC = a.data, a.width(), b.data, b.width(), c.data, c.width()
	return m
}
