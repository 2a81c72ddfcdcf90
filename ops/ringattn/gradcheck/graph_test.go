package gradcheck

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// input is a node with random positive values.
func input(g *gorgonia.ExprGraph, name string, shape ...int) *gorgonia.Node {
	r := rand.New(rand.NewPCG(1, uint64(len(name))))
	data := make([]float64, tensor.Shape(shape).TotalSize())
	for i := range data {
		data[i] = 0.5 + r.Float64()
	}
	return gorgonia.NewTensor(g, tensor.Float64, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name),
		gorgonia.WithValue(tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))))
}

func TestGraphAcceptsRightGradients(t *testing.T) {
	g := gorgonia.NewGraph()
	x, w := input(g, "x", 5, 6), input(g, "w", 6, 12)
	h := gorgonia.Must(gorgonia.Tanh(gorgonia.Must(gorgonia.Mul(x, w))))
	out, err := ringattn.Attention(h, h, h, ringattn.Config{NumHeads: 3, Causal: true, Devices: 2, Layout: shard.Zigzag})
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(x.Value().Data().([]float64))
	r, err := Graph(t.Context(), GraphCheck{Inputs: gorgonia.Nodes{x, w}, Output: out})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK || len(r.Inputs) != 2 || r.Inputs[0].Checked != 30 || r.Inputs[1].Checked != 72 {
		t.Errorf("%+v", r)
	}
	if !slices.Equal(x.Value().Data().([]float64), before) {
		t.Error("the check has changed the bound value")
	}
}

func TestGraphTakesAScalarOutput(t *testing.T) {
	g := gorgonia.NewGraph()
	x := input(g, "x", 3, 4)
	r, err := Graph(t.Context(), GraphCheck{Inputs: gorgonia.Nodes{x}, Output: gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(x))))})
	if err != nil || !r.OK {
		t.Errorf("%+v %v", r, err)
	}
}

// InverseSqrt of gorgonia has a wrong gradient.
func TestGraphCatchesAWrongGradientOfGorgonia(t *testing.T) {
	g := gorgonia.NewGraph()
	x := input(g, "x", 3, 4)
	r, err := Graph(t.Context(), GraphCheck{Inputs: gorgonia.Nodes{x}, Output: gorgonia.Must(gorgonia.InverseSqrt(x))})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK || r.Inputs[0].MaxRel < 0.1 {
		t.Errorf("not caught: %+v", r)
	}
}

// Reshape of gorgonia aliases its input, and Add works in place: the run writes into x itself.
func TestGraphCatchesAnInputThatTheRunOverwrites(t *testing.T) {
	g := gorgonia.NewGraph()
	x, y := input(g, "x", 3, 4), input(g, "yy", 12, 1)
	flat := gorgonia.Must(gorgonia.Reshape(x, tensor.Shape{12, 1}))
	out := gorgonia.Must(gorgonia.Add(flat, y))
	r, err := Graph(t.Context(), GraphCheck{Inputs: gorgonia.Nodes{x, y}, Output: out})
	if err != nil {
		t.Fatal(err)
	}
	if r.OK || len(r.Problems) == 0 || !strings.Contains(r.Problems[0], "written into the input x") {
		t.Errorf("not caught: %+v", r)
	}
}

func TestGraphRefusesWhatItCannotCheck(t *testing.T) {
	g, other := gorgonia.NewGraph(), gorgonia.NewGraph()
	x := input(g, "x", 3, 4)
	unbound := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(3, 4), gorgonia.WithName("u"))
	single := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithShape(3, 4), gorgonia.WithName("s"))
	out := gorgonia.Must(gorgonia.Add(x, unbound))
	for _, c := range []struct {
		check GraphCheck
		want  string
	}{
		{GraphCheck{Output: out}, "at least one of Inputs"},
		{GraphCheck{Output: out, Inputs: gorgonia.Nodes{unbound}}, "bind a contiguous float64"},
		{GraphCheck{Output: out, Inputs: gorgonia.Nodes{nil}}, "an input is nil"},
		{GraphCheck{Output: single, Inputs: gorgonia.Nodes{x}}, "build the graph in float64"},
		{GraphCheck{Output: out, Inputs: gorgonia.Nodes{input(other, "o", 3, 4)}}, "another graph"},
	} {
		if _, err := Graph(t.Context(), c.check); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
