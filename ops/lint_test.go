package ops_test

import (
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops"
)

func TestLintNamesTheNodeAndTheRemedy(t *testing.T) {
	for _, c := range []struct {
		op, remedy string
		build      func(x *gorgonia.Node) (*gorgonia.Node, error)
	}{
		{"Reshape", "the final shape from the start", func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return gorgonia.Reshape(x, tensor.Shape{6, 300})
		}},
		{"0:256", "nodes of their own", func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return gorgonia.Slice(x, nil, gorgonia.S(0, 256))
		}},
		{"256:300", "nodes of their own", func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return gorgonia.Slice(x, nil, gorgonia.S(256, 300))
		}},
		{"Softmax{-1, false}", "ops.CrossEntropy or ringattn.Attention", func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return gorgonia.SoftMax(x)
		}},
		{"Softmax{-1, true}", "ops.CrossEntropy or ringattn.Attention", func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return gorgonia.LogSoftMax(x)
		}},
		{"InverseSqrt", "Inverse(Sqrt(x))", func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.InverseSqrt(x) }},
	} {
		g := gorgonia.NewGraph()
		x := node[float32](g, "x", tensor.Shape{3, 600})
		y, err := c.build(x)
		if err != nil {
			t.Fatal(err)
		}
		cost := gorgonia.Must(gorgonia.Sum(y))
		if _, err := gorgonia.Grad(cost, x); err != nil {
			t.Fatal(err)
		}
		got := ops.Lint(g)
		if got == nil || !strings.Contains(got.Error(), c.op) || !strings.Contains(got.Error(), c.remedy) ||
			!strings.Contains(got.Error(), "ops: lint: node ") || strings.Contains(got.Error(), "Reshape(1, 1)") {
			t.Errorf("%s: Lint says %v", c.op, got)
		}
	}
}

func TestLintRefusesLogSumExp(t *testing.T) {
	g := gorgonia.NewGraph()
	if _, err := gorgonia.LogSumExp(node[float32](g, "x", tensor.Shape{7}), 0); err != nil {
		t.Fatal(err)
	}
	if err := ops.Lint(g); err == nil || !strings.Contains(err.Error(), "LogSumExp") {
		t.Errorf("Lint says %v", err)
	}
}

func TestLintRefusesEqualHashes(t *testing.T) {
	g := gorgonia.NewGraph()
	collidingNodes(t, g)
	err := ops.Lint(g)
	for _, want := range []string{"layers.412789.weight", "layers.649192.weight", "one hash", "rename"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Lint says %v, want %q in it", err, want)
		}
	}
}

func TestLintAcceptsWhatIsSound(t *testing.T) {
	g := gorgonia.NewGraph()
	x, w := node[float32](g, "x", tensor.Shape{3, 300}), node[float32](g, "w", tensor.Shape{300, 300})
	y := gorgonia.Must(gorgonia.Mul(x, w))
	y = gorgonia.Must(gorgonia.Slice(y, nil, gorgonia.S(0, 255)))
	y = gorgonia.Must(gorgonia.Log(gorgonia.Must(gorgonia.Exp(y))))
	if _, err := gorgonia.Grad(gorgonia.Must(gorgonia.Sum(y)), x, w); err != nil {
		t.Fatal(err)
	}
	if err := ops.Lint(g); err != nil {
		t.Errorf("Lint says %v", err)
	}
	if err := ops.Lint(nil); err == nil {
		t.Error("Lint takes a nil graph for sound")
	}
}
