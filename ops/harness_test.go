package ops_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops"
)

// opCase is one op at one size, with its mathematics written down a second time.
type opCase struct {
	name      string
	shapes    []tensor.Shape // of the inputs
	out       tensor.Shape
	build     func(in []*gorgonia.Node) (*gorgonia.Node, error)
	reference func(in [][]float64) []float64
}

func (c opCase) randomInputs(seed uint64) [][]float64 {
	rng := rand.New(rand.NewPCG(seed, 7))
	var in [][]float64
	for _, s := range c.shapes {
		in = append(in, normals(rng, s.TotalSize()))
	}
	return in
}

// randomDOut is a gradient of the output.
func (c opCase) randomDOut(seed uint64) []float64 {
	return normals(rand.New(rand.NewPCG(seed, 11)), c.out.TotalSize())
}

func normals(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// result is what a run yields, as float64.
type result struct {
	out   []float64
	grads [][]float64
}

// graph is an op with its backward, compiled.
type graph[T ops.Float] struct {
	in      []*gorgonia.Node
	out     *gorgonia.Node
	dOut    *gorgonia.Node
	grads   gorgonia.Nodes
	machine gorgonia.VM
}

func compile[T ops.Float](t testing.TB, c opCase) *graph[T] {
	t.Helper()
	g := &graph[T]{}
	err := ops.Build(func() (err error) {
		e := gorgonia.NewGraph()
		for i, s := range c.shapes {
			g.in = append(g.in, node[T](e, fmt.Sprint("in", i), s))
		}
		if g.out, err = c.build(g.in); err != nil {
			return err
		}
		g.dOut = node[T](e, "dOut", c.out)
		if g.grads, err = ops.Backpropagate(gorgonia.Nodes{g.out}, gorgonia.Nodes{g.dOut}, g.in); err != nil {
			return err
		}
		if err := ops.Lint(e); err != nil {
			return err
		}
		g.machine = gorgonia.NewTapeMachine(e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.machine.Close() })
	return g
}

// run binds the values, runs the program and checks that it left its inputs alone.
func (g *graph[T]) run(t testing.TB, in [][]float64, dOut []float64) result {
	t.Helper()
	nodes := append(slices.Clone(g.in), g.dOut)
	given := append(slices.Clone(in), dOut)
	for i, n := range nodes {
		let[T](t, n, given[i])
	}
	if err := g.machine.RunAll(); err != nil {
		t.Fatal(err)
	}
	for i, n := range nodes {
		if !slices.Equal(read(n.Value()), rounded[T](given[i])) {
			t.Fatalf("the run has overwritten its input %v", n)
		}
	}
	r := result{out: read(g.out.Value())}
	for _, n := range g.grads {
		r.grads = append(r.grads, read(n.Value()))
	}
	g.machine.Reset()
	return r
}

func dtypeOf[T ops.Float]() tensor.Dtype {
	if _, ok := any(*new(T)).(float32); ok {
		return tensor.Float32
	}
	return tensor.Float64
}

// node is a new input node.
func node[T ops.Float](g *gorgonia.ExprGraph, name string, s tensor.Shape) *gorgonia.Node {
	if s.IsScalar() {
		return gorgonia.NewScalar(g, dtypeOf[T](), gorgonia.WithName(name))
	}
	return gorgonia.NewTensor(g, dtypeOf[T](), s.Dims(), gorgonia.WithShape(s...), gorgonia.WithName(name))
}

// let binds a copy of x, rounded to T.
func let[T ops.Float](t testing.TB, n *gorgonia.Node, x []float64) {
	t.Helper()
	data := make([]T, len(x))
	for i, v := range x {
		data[i] = T(v)
	}
	var value any
	if n.Shape().IsScalar() {
		value = data[0]
	} else {
		value = tensor.New(tensor.WithShape(n.Shape().Clone()...), tensor.WithBacking(data))
	}
	if err := gorgonia.Let(n, value); err != nil {
		t.Fatal(err)
	}
}

func rounded[T ops.Float](x []float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(T(v))
	}
	return out
}

// read copies a value as float64.
func read(v gorgonia.Value) []float64 {
	if v.Shape().TotalSize() == 0 && !v.Shape().IsScalar() {
		return nil
	}
	var out []float64
	switch d := v.Data().(type) {
	case float32:
		return []float64{float64(d)}
	case float64:
		return []float64{d}
	case []float32:
		for _, x := range d {
			out = append(out, float64(x))
		}
	case []float64:
		return slices.Clone(d)
	}
	return out
}

// wantNear fails unless got equals want to tol times the largest magnitude in want.
func wantNear(t testing.TB, what string, got, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s has %d elements, want %d", what, len(got), len(want))
	}
	largest := 1e-3
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	for i := range want {
		if d := math.Abs(got[i] - want[i]); !(d <= tol*largest) {
			t.Fatalf("%s[%d] = %v, want %v: off by %.2g of the largest entry", what, i, got[i], want[i], d/largest)
		}
	}
}

// numericGradients is the derivative of sum(dOut∘reference(in)) by central differences.
func (c opCase) numericGradients(in [][]float64, dOut []float64) [][]float64 {
	weigh := func() float64 {
		s := 0.0
		for i, y := range c.reference(in) {
			s += y * dOut[i]
		}
		return s
	}
	const h = 1e-5
	var grads [][]float64
	for _, x := range in {
		g := make([]float64, len(x))
		for i, v := range x {
			x[i] = v + h
			up := weigh()
			x[i] = v - h
			g[i] = (up - weigh()) / (2 * h)
			x[i] = v
		}
		grads = append(grads, g)
	}
	return grads
}
