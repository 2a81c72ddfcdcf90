package ops_test

import (
	"errors"
	"hash"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops"
)

// These tests show what gorgonia v0.9.18 does wrong and ops is built around. One that fails is good news: the trap is gone, and
// with it the reason for the rule of Lint or of the scaffold that its comment names.

// matrix is a new float64 input node with its value bound.
func matrix(t testing.TB, g *gorgonia.ExprGraph, name string, rows int, x ...float64) *gorgonia.Node {
	n := node[float64](g, name, tensor.Shape{rows, len(x) / rows})
	let[float64](t, n, x)
	return n
}

func runAll(t testing.TB, g *gorgonia.ExprGraph) {
	t.Helper()
	m := gorgonia.NewTapeMachine(g)
	t.Cleanup(func() { _ = m.Close() })
	if err := m.RunAll(); err != nil {
		t.Fatal(err)
	}
}

// gorgonia's tensors assert at start that they know the Go runtime, and the version they require panics on any Go since 1.21.
// That this test binary runs at all is half of the test; the other half is the pin that makes it so for whoever imports us.
func TestPinThatLetsGorgoniaStartIsInPlace(t *testing.T) {
	g := gorgonia.NewGraph()
	y := gorgonia.Must(gorgonia.Square(matrix(t, g, "x", 1, 3)))
	runAll(t, g)
	if got := read(y.Value()); got[0] != 9 {
		t.Fatalf("3² = %v", got)
	}
	const module, oldest = "go4.org/unsafe/assume-no-moving-gc", "v0.0.0-20230525183740-e7c30c78aeb2"
	file, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(file)) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == module {
			if f[1] < oldest {
				t.Fatalf("go.mod requires %s %s: want %s or later", module, f[1], oldest)
			}
			return
		}
	}
	t.Fatalf("go.mod does not require %s: want %s or later", module, oldest)
}

// Lint refuses Reshape.
func TestTrapReshapeLetsAddDestroyTheInput(t *testing.T) {
	g := gorgonia.NewGraph()
	x := matrix(t, g, "x", 2, 1, 2, 3, 4)
	flat := gorgonia.Must(gorgonia.Reshape(x, tensor.Shape{1, 4}))
	gorgonia.Must(gorgonia.Add(flat, matrix(t, g, "c", 1, 10, 10, 10, 10)))
	runAll(t, g)
	if got := read(x.Value()); slices.Equal(got, []float64{1, 2, 3, 4}) {
		t.Fatal("the user's x is intact: Reshape no longer aliases, drop the rule from Lint")
	}
}

// Lint refuses Slice bounds from 256 on.
func TestTrapSlicesAreOneNodeModulo256(t *testing.T) {
	g := gorgonia.NewGraph()
	x := node[float64](g, "x", tensor.Shape{512, 1})
	a := gorgonia.Must(gorgonia.Slice(x, gorgonia.S(0, 256)))
	b := gorgonia.Must(gorgonia.Slice(x, gorgonia.S(256, 512)))
	if a != b {
		t.Fatal("x[0:256] and x[256:512] are two nodes: drop the rule from Lint")
	}
}

// Lint refuses SoftMax and LogSoftMax; CrossEntropy and ringattn have their own.
func TestTrapSoftMaxSubtractsAnotherMaximum(t *testing.T) {
	g := gorgonia.NewGraph()
	y := gorgonia.Must(gorgonia.SoftMax(matrix(t, g, "x", 2, 0, 0, -1000, -1000)))
	runAll(t, g)
	if got := read(y.Value()); got[2] == 0.5 && got[3] == 0.5 {
		t.Fatal("softmax(-1000, -1000) is right: drop the rule from Lint")
	}
}

// Lint refuses InverseSqrt; RMSNorm has its own.
func TestTrapInverseSqrtHasAWrongGradient(t *testing.T) {
	g := gorgonia.NewGraph()
	x := matrix(t, g, "x", 1, 4, 4)
	cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.InverseSqrt(x))))
	grads, err := gorgonia.Grad(cost, x)
	if err != nil {
		t.Fatal(err)
	}
	runAll(t, g)
	if got := read(grads[0].Value())[0]; math.Abs(got-(-1.0/16)) < 1e-9 {
		t.Fatal("d/dx x^-1/2 at 4 is -1/16: drop the rule from Lint")
	}
}

// Lint refuses LogSumExp; CrossEntropy has its own.
func TestTrapLogSumExpAddsTheMaximumInsideTheLogarithm(t *testing.T) {
	g := gorgonia.NewGraph()
	x := node[float64](g, "x", tensor.Shape{2})
	let[float64](t, x, []float64{5, 5})
	y, err := gorgonia.LogSumExp(x, 0)
	if err != nil {
		return // it does not even build
	}
	m := gorgonia.NewTapeMachine(g)
	t.Cleanup(func() { _ = m.Close() })
	if m.RunAll() == nil && math.Abs(read(y.Value())[0]-(5+math.Ln2)) < 1e-9 {
		t.Fatal("log(e^5+e^5) is right: drop the rule from Lint")
	}
}

// Lint refuses equal hashes; the graph of one layer has few enough nodes that none are to be expected.
func TestTrapNodesOfOneHashAreMerged(t *testing.T) {
	g := gorgonia.NewGraph()
	a, b := collidingNodes(t, g)
	sum := gorgonia.Must(gorgonia.Add(a, b))
	runAll(t, g)
	if got := read(sum.Value())[0]; got == 11 {
		t.Fatal("1 + 10 = 11: drop the rule from Lint")
	}
}

func collidingNodes(t testing.TB, g *gorgonia.ExprGraph) (a, b *gorgonia.Node) {
	a = gorgonia.NewScalar(g, tensor.Float64, gorgonia.WithName("layers.412789.weight"))
	b = gorgonia.NewScalar(g, tensor.Float64, gorgonia.WithName("layers.649192.weight"))
	let[float64](t, a, []float64{1})
	let[float64](t, b, []float64{10})
	return a, b
}

// The scaffold writes an instance id into every hash, because ops that keep state must never be merged.
func TestTrapEqualOpsOnEqualInputsAreOneNode(t *testing.T) {
	g := gorgonia.NewGraph()
	x := matrix(t, g, "x", 1, 1, 2)
	first, second := gorgonia.Must(gorgonia.Square(x)), gorgonia.Must(gorgonia.Square(x))
	if first != second {
		t.Fatal("x² and x² are two nodes: the instance id has become idle")
	}
}

// ops.Add never works in place, so that what is read after a run is what the node says.
func TestTrapAddOverwritesWhatTheUserReads(t *testing.T) {
	g := gorgonia.NewGraph()
	x := matrix(t, g, "x", 1, 3, 3)
	y := gorgonia.Must(gorgonia.Square(x))
	gorgonia.Must(gorgonia.Add(y, x))
	runAll(t, g)
	if got := read(y.Value()); got[0] == 9 {
		t.Fatal("y is still 9 after z = y + x")
	}
}

// Backpropagate adds gradients with ops.Add because of this: a rank may hold no row.
func TestTrapAddOfNoRowsPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("gorgonia's tensors of no rows can be added")
		}
	}()
	empty := func() *tensor.Dense {
		return tensor.New(tensor.WithShape(0, 4), tensor.WithBacking([]float32{}))
	}
	_, _ = tensor.Add(empty(), empty(), tensor.WithReuse(empty()))
}

// failing is an op of the test's own whose Do returns an error or panics.
type failing struct{ err error }

func (failing) Arity() int { return 1 }
func (failing) Type() hm.Type {
	m := gorgonia.TensorType{Dims: 2, Of: hm.TypeVariable('a')}
	return hm.NewFnType(m, m)
}
func (failing) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) { return tensor.Shape{1, 1}, nil }
func (failing) ReturnsPtr() bool                                      { return true }
func (failing) CallsExtern() bool                                     { return false }
func (failing) OverwritesInput() int                                  { return -1 }
func (failing) WriteHash(h hash.Hash)                                 { _, _ = h.Write([]byte("failing")) }
func (failing) Hashcode() uint32                                      { return 1 }
func (failing) String() string                                        { return "failing" }
func (f failing) Do(...gorgonia.Value) (gorgonia.Value, error) {
	if f.err == nil {
		panic("the op panics")
	}
	return nil, f.err
}

func runFailing(t testing.TB, f failing) error {
	g := gorgonia.NewGraph()
	if _, err := gorgonia.ApplyOp(f, matrix(t, g, "x", 1, 1)); err != nil {
		t.Fatal(err)
	}
	m := gorgonia.NewTapeMachine(g)
	t.Cleanup(func() { _ = m.Close() })
	return m.RunAll()
}

// Cause exists because of this.
func TestTrapErrorsIsDoesNotSeeThroughTheMachine(t *testing.T) {
	sentinel := errors.New("sentinel")
	err := runFailing(t, failing{sentinel})
	if errors.Is(err, sentinel) {
		t.Error("errors.Is sees the sentinel: Cause has become idle")
	}
	if !errors.Is(ops.Cause(err), sentinel) {
		t.Errorf("Cause(%v) does not lead to the sentinel", err)
	}
}

// The scaffold recovers inside Do because of this.
func TestTrapPanicInAnOpKillsTheProcess(t *testing.T) {
	const child = "RINGGRAD_TEST_PANIC"
	if os.Getenv(child) != "" {
		defer func() {
			if recover() != nil {
				os.Exit(0)
			}
		}()
		_ = runFailing(t, failing{})
		os.Exit(0)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestTrapPanicInAnOpKillsTheProcess$")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the op panics") {
		t.Fatalf("the caller's recover saw the panic: the scaffold's may go (%v)\n%s", err, out)
	}
}
