package ops

import (
	"fmt"
	"math"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// ClampedSwiGLU is the gate of a gpt-oss expert: with g the even and u the odd columns of gateUp,
//
//	y = (clamp(u, -limit, limit) + 1) · g' · sigmoid(alpha·g'),   g' = min(g, limit)
//
// gateUp is [N, 2·width] and y is [N, width]. As in PyTorch, a clamped value has no gradient, one that is equal to its limit has.
func ClampedSwiGLU(gateUp *gorgonia.Node, alpha, limit float64) (*gorgonia.Node, error) {
	const name = "clampedswiglu"
	if err := check(name, operand{"gateUp", gateUp, 2}); err != nil {
		return nil, err
	}
	n, width := gateUp.Shape()[0], gateUp.Shape()[1]
	if width%2 != 0 {
		return nil, fmt.Errorf("ops: %s: gateUp has %d columns: want gate and up in turn, so an even number", name, width)
	}
	if !(limit > 0) || math.IsNaN(alpha) || math.IsInf(alpha, 0) {
		return nil, fmt.Errorf("ops: %s: alpha is %v and limit %v: want a finite alpha and a positive limit", name, alpha, limit)
	}
	p := plan{name: name, in: []*gorgonia.Node{gateUp}, out: tensor.Shape{n, width / 2}}
	return build(p, clampedSwiGLU[float32]{alpha, limit}, clampedSwiGLU[float64]{alpha, limit})
}

// clampedSwiGLU computes in float64 whatever T: a row of the matrix products around it costs hundreds of times as much.
type clampedSwiGLU[T Float] struct{ alpha, limit float64 }

func (c clampedSwiGLU[T]) forward(p *pass[T]) error {
	in, y := p.in[0].data, p.out.data
	eachBlock(len(y), 1, func(from, to int) {
		for i := from; i < to; i++ {
			gate, up := min(float64(in[2*i]), c.limit), min(max(float64(in[2*i+1]), -c.limit), c.limit)
			y[i] = T((up + 1) * gate * sigmoid(c.alpha*gate))
		}
	})
	return nil
}

// backward is, with s the sigmoid: dup = dy·g'·s and dgate = dy·(up+1)·(s + alpha·g'·s·(1-s)), each 0 beyond its limit.
func (c clampedSwiGLU[T]) backward(p *pass[T]) error {
	in, dy, dIn := p.in[0].data, p.dOut.data, p.grad(0).data
	eachBlock(len(dy), 1, func(from, to int) {
		for i := from; i < to; i++ {
			gate, up := float64(in[2*i]), float64(in[2*i+1])
			g, u, d := min(gate, c.limit), min(max(up, -c.limit), c.limit), float64(dy[i])
			s := sigmoid(c.alpha * g)
			dIn[2*i], dIn[2*i+1] = 0, 0
			if g == gate {
				dIn[2*i] = T(d * (u + 1) * (s + c.alpha*g*s*(1-s)))
			}
			if u == up {
				dIn[2*i+1] = T(d * g * s)
			}
		}
	})
	return nil
}
