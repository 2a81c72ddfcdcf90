package ops

import (
	"fmt"
	"math"

	"gorgonia.org/gorgonia"
)

// Softcap is y = limit·tanh(x/limit), element by element: numbers well below the limit stay, and none goes beyond it (Gemma 2, arXiv
// 2408.00118). x and y are [N, width].
func Softcap(x *gorgonia.Node, limit float64) (*gorgonia.Node, error) {
	const name = "softcap"
	if err := check(name, operand{"x", x, 2}); err != nil {
		return nil, err
	}
	if !(limit > 0) || math.IsInf(limit, 0) {
		return nil, fmt.Errorf("ops: %s: the limit is %v: want a finite positive number", name, limit)
	}
	p := plan{name: name, in: []*gorgonia.Node{x}, out: x.Shape().Clone()}
	return build(p, softcap[float32]{limit}, softcap[float64]{limit})
}

type softcap[T Float] struct{ limit float64 }

func (s softcap[T]) forward(p *pass[T]) error {
	x, y := p.in[0].data, p.out.data
	eachBlock(len(y), 1, func(from, to int) { capAll(y[from:to], x[from:to], s.limit, nil) })
	return nil
}

// backward is dx = dy·(1 - tanh²(x/limit)).
func (s softcap[T]) backward(p *pass[T]) error {
	x, dy, dx := p.in[0].data, p.dOut.data, p.grad(0).data
	eachBlock(len(dy), 1, func(from, to int) {
		for i := from; i < to; i++ {
			t := math.Tanh(float64(x[i]) / s.limit)
			dx[i] = T(float64(dy[i]) * (1 - t*t))
		}
	})
	return nil
}

// capAll sets y to limit·tanh(x/limit), and slope, where there is one, to the derivative 1 - tanh². y may be x.
func capAll[T Float](y, x []T, limit float64, slope []T) {
	for i, v := range x {
		t := math.Tanh(float64(v) / limit)
		y[i] = T(limit * t)
		if slope != nil {
			slope[i] = T(1 - t*t)
		}
	}
}
