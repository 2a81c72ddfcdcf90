package ops

import (
	"fmt"

	"gorgonia.org/gorgonia"
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
	p := plan{name: name, in: []*gorgonia.Node{a, b}, out: a.Shape().Clone()}
	return build(p, add[float32]{}, add[float64]{})
}

type add[T Float] struct{}

func (add[T]) forward(p *pass[T]) error {
	a, b, y := p.in[0].data, p.in[1].data, p.out.data
	eachBlock(len(y), 1, func(from, to int) {
		b, y := b[from:to], y[from:to]
		for i, v := range a[from:to] {
			y[i] = v + b[i]
		}
	})
	return nil
}

func (add[T]) backward(p *pass[T]) error {
	da, db, dy := p.grad(0).data, p.grad(1).data, p.dOut.data
	eachBlock(len(dy), 1, func(from, to int) {
		copy(da[from:to], dy[from:to])
		copy(db[from:to], dy[from:to])
	})
	return nil
}
