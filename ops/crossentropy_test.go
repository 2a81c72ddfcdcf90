package ops_test

import (
	"errors"
	"math"
	"runtime"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops"
)

// loss is a compiled CrossEntropy with its labels at hand.
func loss[T ops.Float](t testing.TB, n, width, vocabulary int) (*graph[T], *ops.Labels) {
	labels := ops.NewLabels(n)
	c := opCase{
		shapes: []tensor.Shape{{n, width}, {vocabulary, width}}, out: tensor.ScalarShape(),
		build: func(in []*gorgonia.Node) (*gorgonia.Node, error) { return ops.CrossEntropy(in[0], in[1], labels) },
	}
	return compile[T](t, c), labels
}

func TestLossesOfRowsAreReadableAfterTheRun(t *testing.T) {
	const n, width, vocabulary = 7, 3, 5
	g, labels := loss[float32](t, n, width, vocabulary)
	ids := []int32{4, -100, 0, 2, -1, 3, 1}
	if err := labels.Set(ids); err != nil {
		t.Fatal(err)
	}
	labels.Scale = 1.0 / 64
	c := opCase{shapes: []tensor.Shape{{n, width}, {vocabulary, width}}}
	in := c.randomInputs(1)
	got := g.run(t, in, []float64{1})
	want := denseLosses(in[0], in[1], ids, width)
	wantNear(t, "NLL", labels.NLL(), want, 1e-6)
	sum := 0.0
	for _, l := range labels.NLL() {
		sum += l
	}
	if labels.Count() != 5 || labels.Sum() != sum || got.out[0] != float64(float32(sum/64)) {
		t.Errorf("count %d, sum %v, loss %v: want 5, %v, %v", labels.Count(), labels.Sum(), got.out[0], sum, sum/64)
	}
}

// Logits near ±4000 would overflow an exponential without the row's own maximum taken off, and a large first row must not
// spoil a small second one.
func TestHotLogitsStayFinite(t *testing.T) {
	g, labels := loss[float32](t, 2, 1, 3)
	if err := labels.Set([]int32{2, 1}); err != nil {
		t.Fatal(err)
	}
	got := g.run(t, [][]float64{{2000, -2000}, {2, -2, 1}}, []float64{1})
	wantNear(t, "NLL", labels.NLL(), []float64{2000, 0}, 1e-7)
	wantNear(t, "dx", got.grads[0], []float64{1, 0}, 1e-6) // (p - onehot)·w = 2 - 1 in row 0, nothing in row 1
}

func TestForwardOnlyGivesTheSameLossesAndNoBackward(t *testing.T) {
	g, labels := loss[float64](t, 3, 2, 4)
	if err := labels.Set([]int32{1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	c := opCase{shapes: []tensor.Shape{{3, 2}, {4, 2}}}
	in := c.randomInputs(2)
	want := g.run(t, in, []float64{1}).out[0]

	labels.ForwardOnly = true
	err := g.machine.RunAll()
	if err == nil || !strings.Contains(err.Error(), "ForwardOnly to false") {
		t.Errorf("backward of a forward-only run: got error %v", err)
	}
	if labels.Sum() != want {
		t.Errorf("the forward-only loss is %v, want %v", labels.Sum(), want)
	}
}

// The logits of 3000 rows over 20,000 tokens are 240 MB in float32; a chunk of them is 17.
func TestAllLogitsNeverExist(t *testing.T) {
	const n, vocabulary = 3000, 20_000
	labels := ops.NewLabels(n)
	if err := labels.Set(make([]int32, n)); err != nil {
		t.Fatal(err)
	}
	g := gorgonia.NewGraph()
	x, w := node[float32](g, "x", tensor.Shape{n, 1}), node[float32](g, "w", tensor.Shape{vocabulary, 1})
	let[float32](t, x, make([]float64, n))
	let[float32](t, w, make([]float64, vocabulary))
	labels.ForwardOnly = true // the memory is the same, and the test is quicker
	if _, err := ops.CrossEntropy(x, w, labels); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	runAll(t, g)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
		t.Errorf("the run has allocated %d bytes", got)
	}
	if want := n * math.Log(vocabulary); math.Abs(labels.Sum()-want) > 1e-6*want {
		t.Errorf("the loss of equal logits is %v, want %v", labels.Sum(), want)
	}
}

func TestLabelOutsideTheVocabularyIsNamed(t *testing.T) {
	g, labels := loss[float32](t, 2, 2, 4)
	if err := labels.Set([]int32{1, 4}); err != nil {
		t.Fatal(err)
	}
	let[float32](t, g.in[0], make([]float64, 4))
	let[float32](t, g.in[1], make([]float64, 8))
	let[float32](t, g.dOut, []float64{1})
	err := g.machine.RunAll()
	if err == nil || !strings.Contains(err.Error(), "row 1 has label 4, the vocabulary has 4") || !errors.Is(ops.Cause(err), ops.ErrToken) {
		t.Errorf("got error %v", err)
	}
}
