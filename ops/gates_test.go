package ops_test

import (
	"fmt"
	"math"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops"
)

// zeroCenteredCase is rmsnormCase with 1 added to every weight.
func zeroCenteredCase(n, width, groups int) opCase {
	c := rmsnormCase(n, width, groups)
	plain := c.reference
	c.name = "zero-centered " + c.name
	c.build = func(x []*gorgonia.Node) (*gorgonia.Node, error) {
		return ops.ZeroCenteredRMSNorm(x[0], x[1], 1e-5, groups)
	}
	c.reference = func(x [][]float64) []float64 {
		var weight []float64
		for _, w := range x[1] {
			weight = append(weight, 1+w)
		}
		return plain([][]float64{x[0], weight})
	}
	return c
}

func projectCase(n, in, out int) opCase {
	return opCase{
		name:   fmt.Sprintf("project %dx%dx%d", n, in, out),
		shapes: []tensor.Shape{{n, in}, {in, out}, {out}}, out: tensor.Shape{n, out},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) { return ops.Project(x[0], x[1], x[2]) },
		reference: func(x [][]float64) []float64 {
			y := make([]float64, n*out)
			for i := range y {
				y[i] = x[2][i%out]
				for k := range in {
					y[i] += x[0][i/out*in+k] * x[1][k*out+i%out]
				}
			}
			return y
		},
	}
}

func gegluCase(n, width int) opCase {
	return opCase{
		name:   fmt.Sprintf("geglu %dx%d", n, width),
		shapes: []tensor.Shape{{n, width}, {n, width}}, out: tensor.Shape{n, width},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) { return ops.GeGLU(x[0], x[1]) },
		reference: func(x [][]float64) []float64 {
			y := make([]float64, n*width)
			for i, g := range x[0] {
				y[i] = 0.5 * g * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(g+0.044715*g*g*g))) * x[1][i]
			}
			return y
		},
	}
}

// clampedCase has numbers on both sides of small limits, none as near to one as differences by hand reach.
func clampedCase(n, width int, limit float64) opCase {
	const alpha = 1.702
	return opCase{
		name:   fmt.Sprintf("clampedswiglu %dx%d limit %v", n, width, limit),
		shapes: []tensor.Shape{{n, 2 * width}}, out: tensor.Shape{n, width},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) { return ops.ClampedSwiGLU(x[0], alpha, limit) },
		reference: func(x [][]float64) []float64 {
			y := make([]float64, n*width)
			for i := range y {
				gate, up := min(x[0][2*i], limit), max(min(x[0][2*i+1], limit), -limit)
				y[i] = (up + 1) * gate / (1 + math.Exp(-alpha*gate))
			}
			return y
		},
	}
}

func softcapCase(n, width int) opCase {
	const limit = 1.5
	return opCase{
		name:   fmt.Sprintf("softcap %dx%d", n, width),
		shapes: []tensor.Shape{{n, width}}, out: tensor.Shape{n, width},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) { return ops.Softcap(x[0], limit) },
		reference: func(x [][]float64) []float64 {
			y := make([]float64, n*width)
			for i, v := range x[0] {
				y[i] = limit * math.Tanh(v/limit)
			}
			return y
		},
	}
}

// TestGatesOfAnySizeStayFinite lets exponentials and cubes overflow.
func TestGatesOfAnySizeStayFinite(t *testing.T) {
	const big = 1e30
	gates := []float64{-big, -100, 0, 100, big}
	up := []float64{2, 2, 2, 2, 2}
	g := compile[float32](t, gegluCase(1, 5))
	got := g.run(t, [][]float64{gates, up}, []float64{1, 1, 1, 1, 1})
	wantNear(t, "geglu", got.out[:4], []float64{0, 0, 0, 200}, 1e-6)
	wantNear(t, "gradient of gate", got.grads[0], []float64{0, 0, 1, 2, 2}, 1e-6)
	c := compile[float32](t, clampedCase(1, 3, 7))
	got = c.run(t, [][]float64{{-big, big, big, -big, 7, -7}}, []float64{1, 1, 1})
	wantNear(t, "clampedswiglu", got.out, []float64{0, -42, -42}, 1e-4)
	wantNear(t, "its gradient", got.grads[0], []float64{0, 0, 0, 0, -6, 7}, 1e-3) // a number that equals its limit has one
}
