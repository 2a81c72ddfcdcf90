package ops

import (
	"fmt"
	"math"

	"gorgonia.org/gorgonia"
)

// GeGLU is the gate of a Gemma feed-forward layer: y = gelu(gate)·up, element by element, with the tanh form of gelu (Hendrycks and
// Gimpel 2016, arXiv 1606.08415; Shazeer 2020, arXiv 2002.05202), which transformers calls gelu_pytorch_tanh:
//
//	gelu(g) = g/2 · (1 + tanh(√(2/π)·(g + 0.044715·g³))) = g · sigmoid(2·√(2/π)·(g + 0.044715·g³))
//
// gate, up and y are [N, width].
func GeGLU(gate, up *gorgonia.Node) (*gorgonia.Node, error) {
	const name = "geglu"
	if err := check(name, operand{"gate", gate, 2}, operand{"up", up, 2}); err != nil {
		return nil, err
	}
	if !gate.Shape().Eq(up.Shape()) {
		return nil, fmt.Errorf("ops: %s: gate is %v and up is %v: want one shape", name, gate.Shape(), up.Shape())
	}
	p := plan{name: name, in: []*gorgonia.Node{gate, up}, out: gate.Shape().Clone()}
	return build(p, geglu[float32]{}, geglu[float64]{})
}

// The argument of gelu's sigmoid is geluLinear·g + geluCubic·g³.
const (
	geluLinear = 2 * math.Sqrt2 / (math.SqrtPi)
	geluCubic  = geluLinear * 0.044715
)

// sigmoid is 1/(1+e^-x), also where e^-x overflows.
func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// geglu computes in float64 whatever T: a row of the matrix products around it costs hundreds of times as much.
type geglu[T Float] struct{}

func (geglu[T]) forward(p *pass[T]) error {
	gate, up, y := p.in[0].data, p.in[1].data, p.out.data
	eachBlock(len(y), 1, func(from, to int) {
		for i := from; i < to; i++ {
			g := float64(gate[i])
			y[i] = T(g * sigmoid(g*(geluLinear+geluCubic*g*g)) * float64(up[i]))
		}
	})
	return nil
}

// backward is, with s the sigmoid of z(g): dup = dy·g·s and dgate = dy·up·(s + g·s·(1-s)·z').
func (geglu[T]) backward(p *pass[T]) error {
	gate, up, dy := p.in[0].data, p.in[1].data, p.dOut.data
	dGate, dUp := p.grad(0).data, p.grad(1).data
	eachBlock(len(dy), 1, func(from, to int) {
		for i := from; i < to; i++ {
			g, d := float64(gate[i]), float64(dy[i])
			s := sigmoid(g * (geluLinear + geluCubic*g*g))
			slope := 0.0 // s·(1-s)·z' is 0 long before z' overflows
			if s > 0 && s < 1 {
				slope = g * s * (1 - s) * (geluLinear + 3*geluCubic*g*g)
			}
			dUp[i] = T(d * g * s)
			dGate[i] = T(d * float64(up[i]) * (s + slope))
		}
	})
	return nil
}
