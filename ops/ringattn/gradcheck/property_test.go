package gradcheck

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"pgregory.net/rapid"
)

// drawProblem draws shapes, options and numbers.
func drawProblem(t *rapid.T) ringattn.DenseInputs {
	in := ringattn.DenseInputs{
		Batch: rapid.IntRange(1, 2).Draw(t, "batch"), Tokens: rapid.IntRange(1, 24).Draw(t, "tokens"), KVHeads: rapid.SampledFrom([]int{1, 2}).Draw(t, "KV heads"),
		Dim: rapid.IntRange(1, 6).Draw(t, "dim"), ValueDim: rapid.IntRange(1, 6).Draw(t, "value dim"), Causal: rapid.Bool().Draw(t, "causal"),
	}
	in.Heads = in.KVHeads * rapid.IntRange(1, 2).Draw(t, "group")
	some := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label) == 0 }
	if some("windowed") {
		side := rapid.IntRange(-1, in.Tokens)
		in.Window = &mask.Window{Left: side.Draw(t, "left"), Right: side.Draw(t, "right")}
	}
	if some("packed") {
		in.Batch, in.CuSeqlens = 1, drawDocuments(t, in.Tokens)
	}
	if some("with rectangles") {
		for range rapid.IntRange(1, 4).Draw(t, "rectangles") {
			in.Mask = append(in.Mask, drawRectangle(t, in.Tokens))
		}
	}
	if some("capped") {
		in.Softcap = rapid.Float64Range(0.5, 5).Draw(t, "softcap")
	}
	if some("ALiBi") {
		in.ALiBiSlopes = slopes(in.Heads)
	}
	if some("sinks") {
		in.Sinks = sinks(in.Heads)
	}
	if some("dropping") {
		in.Dropout, in.DropoutSeed = rapid.Float64Range(0.01, 0.9).Draw(t, "dropout"), rapid.Uint64().Draw(t, "seed of dropout")
		in.Step, in.Layer = rapid.Uint64Range(0, 3).Draw(t, "step"), rapid.IntRange(0, 3).Draw(t, "layer")
	}
	if some("in chunks") {
		offset := rapid.IntRange(0, in.Tokens-1).Draw(t, "offset")
		in.Chunk = &ringattn.Chunk{Offset: offset, Len: rapid.IntRange(1, in.Tokens-offset).Draw(t, "queries")}
	}
	return random(rapid.Uint64().Draw(t, "seed"), in, 1)
}

func drawDocuments(t *rapid.T, tokens int) []int {
	cu := append([]int{0}, rapid.SliceOfN(rapid.IntRange(0, tokens), 0, 5).Draw(t, "bounds")...)
	slices.Sort(cu)
	return append(cu, tokens)
}

func drawRectangle(t *rapid.T, tokens int) mask.Rectangle {
	bound := rapid.IntRange(0, tokens)
	q, k := []int{bound.Draw(t, "query"), bound.Draw(t, "query")}, []int{bound.Draw(t, "key"), bound.Draw(t, "key")}
	slices.Sort(q)
	slices.Sort(k)
	return mask.Rectangle{QueryFrom: q[0], QueryTo: q[1], KeyFrom: k[0], KeyTo: k[1], Kind: rapid.SampledFrom(mask.Kinds()).Draw(t, "kind")}
}

// drawSetup draws a ring that suits a problem.
func drawSetup(t *rapid.T, in ringattn.DenseInputs) setup {
	s := setup{Ring: rapid.IntRange(1, 8).Draw(t, "ring"), Layout: rapid.SampledFrom(shard.Layouts()).Draw(t, "layout"), DType: Float64}
	s.Travel = rapid.SampledFrom(ring.Travels()).Draw(t, "travel")
	var fitting []Way
	for _, w := range Ways([]ring.Travel{s.Travel}, []int{1, 2}, []int{1, 2, 3, 4}) {
		if w.fits(s.Ring, in) {
			fitting = append(fitting, w)
		}
	}
	s.Way = rapid.SampledFrom(fitting).Draw(t, "way")
	return s
}

// attended is the problem's result by the op in a drawn setup, with which rows that see nothing agree.
func attended(t *rapid.T, in ringattn.DenseInputs) ringattn.DenseResult {
	s := drawSetup(t, in)
	r, _, err := attend(t.Context(), in, s)
	if err != nil {
		t.Fatalf("%s: %v", describe(in, s), err)
	}
	requireNothing(t, in, r)
	return r
}

// requireNothing wants nothing of queries that see no key, and of keys that no query sees: out and gradients are 0 to the bit.
func requireNothing(t *rapid.T, in ringattn.DenseInputs, r ringattn.DenseResult) {
	queries, visible, sees, seen := in.Queries(), in.Visible(), make([]bool, in.Queries()), make([]bool, in.Tokens)
	for i := range queries {
		for j := range in.Tokens {
			if visible(i, j) {
				sees[i], seen[j] = true, true
			}
		}
	}
	zero := func(name string, x []float64, is []bool, width int) {
		for b := range in.Batch {
			for i, some := range is {
				row := x[(b*len(is)+i)*width:][:width]
				if !some && slices.ContainsFunc(row, func(v float64) bool { return v != 0 }) {
					t.Fatalf("%s of row %d, which sees nothing or is not seen, is %v", name, i, row)
				}
			}
		}
	}
	zero("out", r.Out, sees, in.Heads*in.ValueDim)
	zero("dq", r.DQ, sees, in.Heads*in.Dim)
	zero("dk", r.DK, seen, in.KVHeads*in.Dim)
	zero("dv", r.DV, seen, in.KVHeads*in.ValueDim)
	for n, lse := range r.LSE {
		if math.IsInf(lse, -1) == sees[n%queries] {
			t.Fatalf("lse of query %d is %v, that it sees a key is %t", n%queries, lse, sees[n%queries])
		}
	}
}

// requireNear wants two results to be the same up to rounding, gradients by the largest of them all: a small problem has gradients
// that cancel.
func requireNear(t *rapid.T, got, want ringattn.DenseResult) {
	gradient := max(magnitude(want.DQ), magnitude(want.DK), magnitude(want.DV), magnitude(want.DSinks))
	g, w := tensors(got), tensors(want)
	if len(g) != len(w) {
		t.Fatalf("%d tensors, want %d", len(g), len(w))
	}
	for i, name := range names[:len(w)] {
		top := max(magnitude(w[i]), 1)
		if name[0] == 'd' {
			top = max(gradient, 1e-3)
		}
		if e := difference(g[i], w[i]); !(e <= 1e-12*top) {
			t.Fatalf("%s is off by %.3g of %.3g", name, e, top)
		}
	}
}

func TestAnyProblemEqualsDenseOnAnyRing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawProblem(t)
		requireNear(t, attended(t, in), ringattn.Dense(in))
	})
}

func TestAnyProblemIsTheSameOnAnyTwoRings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawProblem(t)
		requireNear(t, attended(t, in), attended(t, in))
	})
}

func TestDocumentsAreIndependentOfTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawProblem(t)
		in.Batch, in.Mask, in.Chunk, in.Dropout, in.CuSeqlens = 1, nil, nil, 0, drawDocuments(t, in.Tokens)
		in = random(rapid.Uint64().Draw(t, "seed"), in, 1)
		// from[i] is the row that stands at i when the documents are in another order
		order := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "order"))).Perm(len(in.CuSeqlens) - 1)
		var from []int
		other := in
		other.CuSeqlens = []int{0}
		for _, d := range order {
			for i := in.CuSeqlens[d]; i < in.CuSeqlens[d+1]; i++ {
				from = append(from, i)
			}
			other.CuSeqlens = append(other.CuSeqlens, len(from))
		}
		h, kv := in.Heads, in.KVHeads
		other.Q, other.DOut = moved(in.Q, from, h*in.Dim), moved(in.DOut, from, h*in.ValueDim)
		other.K, other.V = moved(in.K, from, kv*in.Dim), moved(in.V, from, kv*in.ValueDim)
		want := attended(t, in)
		want.Out, want.DQ = moved(want.Out, from, h*in.ValueDim), moved(want.DQ, from, h*in.Dim)
		want.DK, want.DV = moved(want.DK, from, kv*in.Dim), moved(want.DV, from, kv*in.ValueDim)
		var lse []float64
		for h := range in.Heads {
			lse = append(lse, moved(want.LSE[h*in.Tokens:][:in.Tokens], from, 1)...)
		}
		want.LSE = lse
		requireNear(t, attended(t, other), want)
	})
}

// moved has row from[i] of x at i.
func moved(x []float64, from []int, width int) (out []float64) {
	for _, i := range from {
		out = append(out, x[i*width:][:width]...)
	}
	return out
}

// constant writes the first row of each sequence to all rows.
func constant(x []float64, batch, width int) {
	n := len(x) / batch
	for b := range batch {
		for i := range n {
			x[b*n+i] = x[b*n+i%width]
		}
	}
}

// The scores of equal keys have gradients that add up to 0 (dS = P∘(dP-delta)), so moving the query changes nothing: dQ = (Σ dS)·k = 0.
func TestEqualKeysGiveQueriesNoGradient(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawProblem(t)
		in.Sinks = nil // a sink is another key
		constant(in.K, in.Batch, in.KVHeads*in.Dim)
		r := attended(t, in)
		if e := magnitude(r.DQ); !(e <= 1e-12*max(magnitude(r.DK), magnitude(r.DV), 1)) {
			t.Fatalf("dq is up to %g", e)
		}
	})
}

func TestEqualValuesAreTheOutput(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawProblem(t)
		in.Sinks, in.Dropout = nil, 0
		constant(in.V, in.Batch, in.KVHeads*in.ValueDim)
		r, queries := attended(t, in), in.Queries()
		for n, got := range r.Out {
			d, h := n%in.ValueDim, n/in.ValueDim%in.Heads
			row := n / in.ValueDim / in.Heads
			b, i := row/queries, row%queries
			want := in.V[(b*in.Tokens*in.KVHeads+h/(in.Heads/in.KVHeads))*in.ValueDim+d]
			if math.IsInf(r.LSE[(b*in.Heads+h)*queries+i], -1) {
				want = 0
			}
			if !(math.Abs(got-want) <= 1e-13*max(1, math.Abs(want))) {
				t.Fatalf("query %d of head %d has %g in its output, the values %g", i, h, got, want)
			}
		}
	})
}

func TestAConstantInAllScoresChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawProblem(t)
		in.Sinks, in.Softcap, in.Scale = nil, 0, 0.7
		c := rapid.Float64Range(-20, 20).Draw(t, "constant")
		more := in
		more.Dim++
		more.Q, more.K = widened(in.Q, in.Dim, 1), widened(in.K, in.Dim, c/in.Scale)
		want, got := attended(t, in), attended(t, more)
		for i := range want.LSE {
			want.LSE[i] += c
		}
		got.DQ, got.DK = narrowed(got.DQ, more.Dim), narrowed(got.DK, more.Dim)
		requireNear(t, got, want)
	})
}

// widened has one more number behind each row.
func widened(x []float64, width int, last float64) (out []float64) {
	for row := range slices.Chunk(x, width) {
		out = append(append(out, row...), last)
	}
	return out
}

// narrowed has one number less in each row.
func narrowed(x []float64, width int) (out []float64) {
	for row := range slices.Chunk(x, width) {
		out = append(out, row[:width-1]...)
	}
	return out
}
