package bench

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

func sum(x []int) (n int) {
	for _, v := range x {
		n += v
	}
	return n
}

func TestFlopsAreThoseOfVisiblePairs(t *testing.T) {
	const d, dv, heads = 16, 8, 3
	base := Attention{Seq: 60, HeadDim: d, ValueDim: dv, Heads: heads, KVHeads: 1}
	for name, c := range map[string]struct {
		change func(a *Attention)
		spec   mask.Spec
	}{
		"documents":        {func(a *Attention) { a.Documents = []int{10, 1, 49} }, mask.Spec{CuSeqlens: []int{0, 10, 11, 60}}},
		"window":           {func(a *Attention) { a.Window = &mask.Window{Left: 7, Right: -1} }, mask.Spec{Window: &mask.Window{Left: 7, Right: -1}}},
		"unbounded window": {func(a *Attention) { a.Window = &mask.Window{Left: -1, Right: -1} }, mask.Spec{}},
		"all": {func(a *Attention) { a.Causal, a.Window, a.Documents = true, &mask.Window{Left: 7}, []int{30, 30} },
			mask.Spec{Causal: true, Window: &mask.Window{Left: 7}, CuSeqlens: []int{0, 30, 60}}},
	} {
		a := base
		c.change(&a)
		pairs := 0.0
		for i := range a.Seq {
			for j := range a.Seq {
				if c.spec.Visible(i, j) {
					pairs++
				}
			}
		}
		forward, backward := a.Flops()
		if forward != 2*pairs*heads*(d+dv) || backward != 2*pairs*heads*(3*d+2*dv) {
			t.Errorf("%s: %v and %v operations for %v pairs", name, forward, backward, pairs)
		}
	}
}

func TestDocumentsFillTheSequence(t *testing.T) {
	equal, err := EqualDocuments(100, 7)
	if err != nil || len(equal) != 7 || sum(equal) != 100 || slices.Max(equal)-slices.Min(equal) > 1 {
		t.Errorf("7 equal documents in 100 tokens: %v, %v", equal, err)
	}
	for _, n := range []int{1, 2, 32, 99, 100} {
		lengths, err := RandomDocuments(100, n, 5)
		if err != nil || len(lengths) != n || sum(lengths) != 100 || slices.Min(lengths) < 1 {
			t.Errorf("%d random documents in 100 tokens: %v, %v", n, lengths, err)
		}
	}
	one, _ := RandomDocuments(1000, 10, 1)
	again, _ := RandomDocuments(1000, 10, 1)
	other, _ := RandomDocuments(1000, 10, 2)
	if !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Errorf("seeds 1, 1 and 2 give %v, %v and %v", one, again, other)
	}
	for _, n := range []int{0, 101} {
		if _, err := EqualDocuments(100, n); err == nil {
			t.Errorf("%d equal documents in 100 tokens", n)
		}
		if _, err := RandomDocuments(100, n, 1); err == nil {
			t.Errorf("%d random documents in 100 tokens", n)
		}
	}
}

func everything() Attention {
	a := small()
	a.Heads, a.KVHeads, a.ValueDim, a.Rings, a.Layout = 4, 2, 16, []int{1, 4}, shard.Balanced
	a.Window, a.Documents = &mask.Window{Left: 40, Right: -1}, []int{100, 1, 155}
	a.Softcap, a.ALiBi, a.Sinks, a.Dropout = 20, true, true, 0.1
	a.Travel, a.Ulysses, a.Inner = ring.Auto, 2, 2
	a.Against = Against{What: AgainstCausal, Seq: 128}
	return a
}

func TestResultsSayTheOptions(t *testing.T) {
	a := everything()
	report, err := a.Measure(t.Context(), quick)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		o := r.AttentionOptions
		if o.ValueDim != 16 || *o.WindowLeft != 40 || *o.WindowRight != -1 || o.Documents != 3 || !slices.Equal(o.DocumentLengths, a.Documents) ||
			o.Softcap != 20 || !o.ALiBi || !o.Sinks || o.Dropout != 0.1 {
			t.Errorf("options %+v", o)
		}
		if ringed := r.Ring > 1; ringed != (o.Travel == ring.KV || o.Travel == ring.Q) || ringed != (o.Ulysses == 2 && o.InnerRing == 2) || ringed != (o.LargestRankOverMean >= 1) {
			t.Errorf("options of a ring of %d: %+v", r.Ring, o)
		}
		if o.ComputedOverVisible < 1 || o.ComputedOverVisible > 4 {
			t.Errorf("%v pairs computed for each visible one", o.ComputedOverVisible)
		}
		if g := r.AgainstFigures; g == nil || !(g.OverCausal > 0) || g.OverKV != 0 || g.Against.Seq != 128 || g.Against.Layout != shard.Zigzag || !(g.Against.BusyMS > 0) {
			t.Errorf("against %+v", g)
		}
	}
}

func TestQueriesAreSetAgainstKeysAndValues(t *testing.T) {
	a := small()
	a.Rings, a.Travel, a.Against.What = []int{3}, ring.Q, AgainstKV
	report, err := a.Measure(t.Context(), quick)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if g := r.AgainstFigures; r.Travel != ring.Q || g == nil || !(g.OverKV > 0) || g.OverCausal != 0 || g.Against.Seq != a.Seq {
			t.Errorf("%+v, against %+v", r.AttentionOptions, g)
		}
	}
}

// The ratio is that of rates, so that the same work at half the rate is 2, whatever its amount.
func TestRatiosAreTakenRoundByRound(t *testing.T) {
	a := Attention{Seq: 8, Against: Against{What: AgainstCausal}}
	own, other := measured{rates: []float64{1, 10, 100}}, measured{rates: []float64{2, 20, 400}}
	if got := a.compare(own, other).OverCausal; got != 2 {
		t.Errorf("ratio %v, want 2", got)
	}
}

// A ring of one and the kernel alone have the same results where all options are set, too: the same pairs are dropped.
func TestTheKernelAloneHasTheOptionsOfARing(t *testing.T) {
	a := everything()
	a.Seq, a.Documents, a.Heads, a.KVHeads, a.Rings = 100, []int{30, 70}, 1, 1, []int{1}
	w, err := newAlone[float64](a)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRanks[float64](a, 1)
	if err != nil {
		t.Fatal(err)
	}
	r.in[0] = ring.Inputs[float64]{Q: w.in.Q, K: w.in.K, V: w.in.V, Sinks: r.in[0].Sinks}
	for _, pass := range []func() error{
		func() error { return w.forward(t.Context()) }, func() error { return w.backward(t.Context()) }, func() error { return r.forward(t.Context()) },
	} {
		if err := pass(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(w.out, r.saved[0].Out()) {
		t.Error("out differs")
	}
	k, err := ring.NewRank[float64](nil, r.call)
	if err != nil {
		t.Fatal(err)
	}
	g, err := k.Backward(t.Context(), r.in[0], r.saved[0], w.in.DOut)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.grads.DQ, g.DQ) || !slices.Equal(w.grads.DK, g.DK) || math.Abs(w.dSinks[0]-g.DSinks[0]) > 1e-12 {
		t.Errorf("gradients differ; of the sink %v and %v", w.dSinks, g.DSinks)
	}
}

func TestMistakesOfMasksAreNamed(t *testing.T) {
	a := everything()
	a.Documents, a.Softcap, a.Dropout, a.Travel, a.Ulysses, a.Against = []int{1, 0}, -1, 1.5, "v", 3, Against{What: "nobody"}
	a.Heads, a.ValueDim = 4, 1000
	for _, want := range []string{"document 1 has 0 tokens", "1 tokens together in a sequence of 256", "softcap -1", "dropout 1.5", `"nobody"`, "value head dim 1000"} {
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s: %v", want, err)
		}
	}
	for want, change := range map[string]func(a *Attention){
		`travel "v"`:              func(a *Attention) { a.Travel = "v" },
		"Ulysses groups of 3":     func(a *Attention) { a.Ulysses = 3 },
		"inner rings of 3":        func(a *Attention) { a.Inner = 3 },
		"window left is -2":       func(a *Attention) { a.Window = &mask.Window{Left: -2} },
		"sequence of -1":          func(a *Attention) { a.Against.Seq = -1 },
		"its length concerns":     func(a *Attention) { a.Against = Against{What: AgainstKV, Seq: 3} },
		"give a size above 1":     func(a *Attention) { a.Rings = []int{1} },
		"inner rings of -1 conce": func(a *Attention) { a.Rings, a.Inner = []int{1}, -1 },
	} {
		a := everything()
		change(&a)
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s: %v", want, err)
		}
	}
}
