package ops

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// Add is the residual connection y = a + b of two nodes of one shape [N, width].
//
// gorgonia's own Add may write the sum into the memory of a or b. This one never does, forward or backward.
func Add(a, b *gorgonia.Node) (*gorgonia.Node, error) {
	const name = "add"
	if err := check(name, operand{"a", a, 2}, operand{"b", b, 2}); err != nil {
		return nil, err
	}
	if !a.Shape().Eq(b.Shape()) {
		return nil, fmt.Errorf("ops: %s: a is %v and b is %v: want one shape", name, a.Shape(), b.Shape())
	}
	return addAll(name, gorgonia.Nodes{a, b})
}

// addAll adds two or more nodes of one shape and dtype, in order.
func addAll(name string, nodes gorgonia.Nodes) (*gorgonia.Node, error) {
	p := plan{name: name, in: nodes, out: nodes[0].Shape().Clone()}
	return build(p, add[float32]{}, add[float64]{})
}

type add[T Float] struct{}

func (add[T]) forward(p *pass[T]) error {
	y := p.out.data
	eachBlock(len(y), 1, func(from, to int) {
		y, sum := y[from:to], p.in[0].data[from:to]
		for _, term := range p.in[1:] {
			cpu.Add(y, sum, term.data[from:to])
			sum = y
		}
	})
	return nil
}

func (add[T]) backward(p *pass[T]) error {
	for i := range p.in { // allocated here, for blocks run at once
		p.grad(i)
	}
	dy := p.dOut.data
	eachBlock(len(dy), 1, func(from, to int) {
		for i := range p.in {
			copy(p.grad(i).data[from:to], dy[from:to])
		}
	})
	return nil
}
