package ops

import (
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// Project is Linear with a weight that is stored the other way round, [in, out]: y = x·w + bias, as the experts of gpt-oss have it.
//
// x is [N, in], bias is [out], y is [N, out]. Gradients: dx = dy·wᵀ, dw = xᵀ·dy, dbias = the column sums of dy.
func Project(x, w, bias *gorgonia.Node) (*gorgonia.Node, error) {
	const name = "project"
	if err := check(name, operand{"x", x, 2}, operand{"w", w, 2}, operand{"bias", bias, 1}); err != nil {
		return nil, err
	}
	n, in, out := x.Shape()[0], x.Shape()[1], w.Shape()[1]
	if w.Shape()[0] != in {
		return nil, fmt.Errorf("ops: %s: x is %v and w is %v: want w [%d, out]", name, x.Shape(), w.Shape(), in)
	}
	if bias.Shape()[0] != out {
		return nil, fmt.Errorf("ops: %s: bias has %d elements and w is %v: want %d", name, bias.Shape()[0], w.Shape(), out)
	}
	p := plan{name: name, in: []*gorgonia.Node{x, w, bias}, out: tensor.Shape{n, out}}
	return build(p, project[float32]{}, project[float64]{})
}

type project[T Float] struct{}

func (project[T]) forward(p *pass[T]) error {
	x, w, bias, y := p.in[0], p.in[1], p.in[2].data, p.out
	eachBlock(y.rows(), y.width(), func(from, to int) {
		for i := from; i < to; i++ {
			copy(y.row(i), bias)
		}
	})
	cpu.Gemm(matmul(y, x, w, cpu.Matmul[T]{Beta: 1}))
	return nil
}

func (project[T]) backward(p *pass[T]) error {
	x, w, dy := p.in[0], p.in[1], p.dOut
	cpu.Gemm(matmul(p.grad(0), dy, w, cpu.Matmul[T]{TransB: true}))
	cpu.Gemm(matmul(p.grad(1), x, dy, cpu.Matmul[T]{TransA: true, Beta: p.beta(1)}))
	sumRows(p.grad(2).data, p.beta(2), dy.rows(), func(row int, acc []float64) { cpu.Accumulate(acc, dy.row(row)) })
	return nil
}

func (project[T]) adds(i int) bool { return i > 0 }
