package ops

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// SwiGLU is the gate of a Llama feed-forward layer: y = silu(gate)·up with silu(g) = g/(1+e^-g), element by element
// (Shazeer 2020, arXiv 2002.05202). gate, up and y are [N, width].
func SwiGLU(gate, up *gorgonia.Node) (*gorgonia.Node, error) {
	const name = "swiglu"
	if err := check(name, operand{"gate", gate, 2}, operand{"up", up, 2}); err != nil {
		return nil, err
	}
	if !gate.Shape().Eq(up.Shape()) {
		return nil, fmt.Errorf("ops: %s: gate is %v and up is %v: want one shape", name, gate.Shape(), up.Shape())
	}
	p := plan{name: name, in: []*gorgonia.Node{gate, up}, out: gate.Shape().Clone()}
	return build(p, swiglu[float32]{}, swiglu[float64]{})
}

type swiglu[T Float] struct{}

func (swiglu[T]) forward(p *pass[T]) error {
	gate, up, y := p.in[0].data, p.in[1].data, p.out.data
	eachBlock(len(y), 1, func(from, to int) { cpu.SwiGLU(y[from:to], gate[from:to], up[from:to]) })
	return nil
}

func (swiglu[T]) backward(p *pass[T]) error {
	gate, up, dy := p.in[0].data, p.in[1].data, p.dOut.data
	dGate, dUp := p.grad(0).data, p.grad(1).data
	eachBlock(len(dy), 1, func(from, to int) {
		cpu.SwiGLUGrad(dGate[from:to], dUp[from:to], gate[from:to], up[from:to], dy[from:to])
	})
	return nil
}
