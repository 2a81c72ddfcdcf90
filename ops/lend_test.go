package ops_test

import (
	"math"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops"
)

// weighted are the ops that can add to lent memory, with the inputs that are weights.
var weighted = []struct {
	opCase
	weights []int
}{
	{opCase{
		name: "linear", shapes: []tensor.Shape{{5, 3}, {4, 3}, {4}}, out: tensor.Shape{5, 4},
		build: func(in []*gorgonia.Node) (*gorgonia.Node, error) { return ops.Linear(in[0], in[1], in[2]) },
	}, []int{1, 2}},
	{projectCase(5, 3, 4), []int{1, 2}},
	{zeroCenteredCase(5, 4, 1), []int{1}},
	{opCase{
		name: "rmsnorm", shapes: []tensor.Shape{{5, 4}, {4}}, out: tensor.Shape{5, 4},
		build: func(in []*gorgonia.Node) (*gorgonia.Node, error) { return ops.RMSNorm(in[0], in[1], 1e-6, 1) },
	}, []int{1}},
}

// TestLentMemoryGetsTheSumOfTwoRuns and is the caller's again afterwards.
func TestLentMemoryGetsTheSumOfTwoRuns(t *testing.T) {
	for _, c := range weighted {
		g := compile[float64](t, c.opCase)
		one := g.run(t, c.randomInputs(1), c.randomDOut(1))
		two := g.run(t, c.randomInputs(2), c.randomDOut(2))
		for _, i := range c.weights {
			sum := make([]float64, c.shapes[i].TotalSize())
			lend(t, g.grads[i], sum)
			g.run(t, c.randomInputs(1), c.randomDOut(1))
			g.run(t, c.randomInputs(2), c.randomDOut(2))
			lend[float64](t, g.grads[i], nil)
			after := g.run(t, c.randomInputs(1), c.randomDOut(1))
			for j := range sum {
				if want := one.grads[i][j] + two.grads[i][j]; math.Abs(sum[j]-want) > 1e-14*math.Abs(want)+1e-15 {
					t.Errorf("%s: entry %d of gradient %d is %v, want %v", c.name, j, i, sum[j], want)
				}
				if after.grads[i][j] != one.grads[i][j] {
					t.Errorf("%s: entry %d of gradient %d is %v once nothing is lent, want %v", c.name, j, i, after.grads[i][j], one.grads[i][j])
				}
			}
		}
	}
}

func lend[T ops.Float](t *testing.T, n *gorgonia.Node, memory []T) {
	t.Helper()
	if err := ops.Lend(n, memory); err != nil {
		t.Fatal(err)
	}
}

// TestLentMemoryOfTheHeadGetsTheSumOfTwoRuns is that of CrossEntropy, whose forward computes the gradients.
func TestLentMemoryOfTheHeadGetsTheSumOfTwoRuns(t *testing.T) {
	g := gorgonia.NewGraph()
	x, w := node[float64](g, "x", tensor.Shape{3, 2}), node[float64](g, "w", tensor.Shape{4, 2})
	labels := ops.NewLabels(3)
	cost, err := ops.CrossEntropy(x, w, labels)
	if err != nil {
		t.Fatal(err)
	}
	grads, err := gorgonia.Grad(cost, x, w)
	if err != nil {
		t.Fatal(err)
	}
	machine := gorgonia.NewTapeMachine(g)
	t.Cleanup(func() { _ = machine.Close() })
	step := func(ids ...int32) []float64 {
		t.Helper()
		let[float64](t, x, []float64{1, -1, 0.5, 2, -1, 1})
		let[float64](t, w, []float64{1, 2, 3, -1, 0.5, 0, -2, 1})
		if err := labels.Set(ids); err != nil {
			t.Fatal(err)
		}
		if err := machine.RunAll(); err != nil {
			t.Fatal(err)
		}
		defer machine.Reset()
		return read(grads[1].Value())
	}
	one := append([]float64(nil), step(0, 3, 2)...)
	two := append([]float64(nil), step(1, -100, 0)...)
	sum := make([]float64, 8)
	lend(t, grads[1], sum)
	step(0, 3, 2)
	step(1, -100, 0)
	for i := range sum {
		if math.Abs(sum[i]-one[i]-two[i]) > 1e-14 {
			t.Errorf("entry %d is %v, want %v", i, sum[i], one[i]+two[i])
		}
	}
}

// TestLendingWhatCannotBeAddedUpIsRefused by name.
func TestLendingWhatCannotBeAddedUpIsRefused(t *testing.T) {
	g := compile[float64](t, weighted[0].opCase)
	for want, err := range map[string]error{
		"cannot add up its gradient 0":  ops.Lend(g.grads[0], make([]float64, 15)),
		"11 elements for a gradient of": ops.Lend(g.grads[1], make([]float64, 11)),
		"not the gradient of one op":    ops.Lend(g.out, make([]float64, 20)),
		"is not the gradient of":        ops.Lend(g.grads[1], make([]float32, 12)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
