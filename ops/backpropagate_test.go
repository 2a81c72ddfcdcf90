package ops_test

import (
	"fmt"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops"
)

// blockCase is x + down·swiglu(gate·n, up·n) with n the norm of x: x and n have several users, and x's are at different depths.
func blockCase(n, width int) opCase {
	norm, gate, up, down := rmsnormCase(n, width, 1), linearCase(n, width, width, false), linearCase(n, width, width, false), linearCase(n, width, width, false)
	return opCase{
		name:   fmt.Sprintf("block %dx%d", n, width),
		shapes: []tensor.Shape{{n, width}, {width}, {width, width}, {width, width}, {width, width}}, out: tensor.Shape{n, width},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) {
			h := gorgonia.Must(ops.RMSNorm(x[0], x[1], 1e-5, 1))
			h = gorgonia.Must(ops.SwiGLU(gorgonia.Must(ops.Linear(h, x[2], nil)), gorgonia.Must(ops.Linear(h, x[3], nil))))
			return ops.Add(x[0], gorgonia.Must(ops.Linear(h, x[4], nil)))
		},
		reference: func(x [][]float64) []float64 {
			h := norm.reference(x[:2])
			h = swigluCase(n, width).reference([][]float64{gate.reference([][]float64{h, x[2]}), up.reference([][]float64{h, x[3]})})
			return addCase(n, width).reference([][]float64{x[0], down.reference([][]float64{h, x[4]})})
		},
	}
}

func TestBackpropagateAddsTheGradientsOfAllUsers(t *testing.T) {
	for _, c := range []opCase{blockCase(3, 4), blockCase(1, 1)} {
		g := compile[float64](t, c)
		in, dOut := c.randomInputs(1), c.randomDOut(1)
		got := g.run(t, in, dOut)
		for i, want := range c.numericGradients(in, dOut) {
			wantNear(t, fmt.Sprintf("%s: gradient of input %d", c.name, i), got.grads[i], want, 1e-6)
		}
	}
	// No rows: gorgonia's own sum of gradients panics here.
	c := blockCase(0, 4)
	compile[float32](t, c).run(t, c.randomInputs(1), c.randomDOut(1))
}

// The same gradients as gorgonia's, through gorgonia's own ops, for two outputs of which one is the other's input.
func TestBackpropagateEqualsGorgonias(t *testing.T) {
	run := func(backpropagate func(_, _, _ gorgonia.Nodes) (gorgonia.Nodes, error)) [][]float64 {
		g := gorgonia.NewGraph()
		x, w := matrix(t, g, "x", 2, 1, -2, 3, 0.5), matrix(t, g, "w", 2, 2, 1, -1, 0.25)
		y := gorgonia.Must(gorgonia.Tanh(gorgonia.Must(gorgonia.Mul(x, w))))
		z := gorgonia.Must(gorgonia.HadamardProd(gorgonia.Must(gorgonia.Mul(y, x)), y))
		dy, dz := matrix(t, g, "dy", 2, 1, 2, 3, 4), matrix(t, g, "dz", 2, -1, 0, 2, 1)
		grads, err := backpropagate(gorgonia.Nodes{y, z}, gorgonia.Nodes{dy, dz}, gorgonia.Nodes{x, w})
		if err != nil {
			t.Fatal(err)
		}
		runAll(t, g)
		return [][]float64{read(grads[0].Value()), read(grads[1].Value())}
	}
	got := run(ops.Backpropagate)
	// gorgonia's own takes one output at a time; the gradient is the sum over the outputs.
	want := run(func(outs, dOuts, wrt gorgonia.Nodes) (gorgonia.Nodes, error) {
		first := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(outs[0], dOuts[0]))))
		second := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(outs[1], dOuts[1]))))
		return gorgonia.Grad(gorgonia.Must(gorgonia.Add(first, second)), wrt...)
	})
	for i := range want {
		wantNear(t, fmt.Sprint("gradient ", i), got[i], want[i], 1e-13)
	}
}

func TestBackpropagateNamesWhatIsWrong(t *testing.T) {
	g, other := gorgonia.NewGraph(), gorgonia.NewGraph()
	x, lone := matrix(t, g, "x", 1, 1), matrix(t, g, "lone", 1, 1)
	y, stranger := gorgonia.Must(gorgonia.Square(x)), matrix(t, other, "stranger", 1, 1)
	for want, in := range map[string][3]gorgonia.Nodes{
		"1 outputs with 0 gradients": {{y}, {}, {x}},
		"a node is nil":              {{y}, {nil}, {x}},
		"of another graph than":      {{y}, {x}, {stranger}},
		"no output depends on lone":  {{y}, {x}, {lone}},
	} {
		_, err := ops.Backpropagate(in[0], in[1], in[2])
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}
