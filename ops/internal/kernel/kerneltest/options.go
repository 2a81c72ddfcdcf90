package kerneltest

import (
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// options are what a problem may have beyond its shape, by the definition of each.
type options struct {
	name    string
	mask    mask.Spec
	softcap float64
	alibi   bool // slopes as in the paper, arXiv 2108.12409
	sinks   bool
	dropout float64 // probability
}

// slope, sink and dropout are those of a head.
func (o *options) slope(head int) float64 { return math.Exp2(-float64(head + 1)) }
func (o *options) sink(head int) float64  { return float64(head) - 0.5 }

func (o *options) drops(heads int) kernel.Dropout {
	d := kernel.Dropout{Threshold: kernel.NewThreshold(o.dropout)}
	for h := range heads {
		d.Keys = append(d.Keys, kernel.DropoutKey(1, 2, 3, h))
	}
	return d
}

// documents cuts tokens by some bounds, in 1/100, with a document of one token and an empty one among them.
func documents(tokens int) []int {
	cu := []int{0}
	for _, percent := range []int{3, 30, 31, 66, 90} {
		cu = append(cu, max(tokens*percent/100, cu[len(cu)-1]))
	}
	one := min(cu[2]+1, cu[3])
	return append([]int{cu[0], cu[1], cu[2], cu[2], one}, append(cu[3:], tokens)...)
}

// variants are options for a sequence of so many tokens, each alone and all at once.
func variants(tokens int) []*options {
	n := tokens
	shared := []mask.Rectangle{ // a question that two answers share
		{QueryTo: n / 3, KeyTo: n / 3, Kind: mask.Causal},
		{QueryFrom: n / 3, QueryTo: n, KeyTo: n / 3},
		{QueryFrom: n / 3, QueryTo: n / 2, KeyFrom: n / 3, KeyTo: n / 2, Kind: mask.Causal},
		{QueryFrom: n / 2, QueryTo: n, KeyFrom: n / 2, KeyTo: n, Kind: mask.Bidirectional},
		{QueryFrom: n / 4, QueryTo: n / 2, KeyFrom: n / 4, KeyTo: 3 * n / 4, Kind: mask.InverseCausal}, // overlaps others
	}
	docs := documents(tokens)
	return []*options{
		{name: "documents", mask: mask.Spec{CuSeqlens: docs}},
		{name: "causal documents", mask: mask.Spec{Causal: true, CuSeqlens: docs}},
		{name: "left window", mask: mask.Spec{Window: &mask.Window{Left: n / 5, Right: mask.Unbounded}}},
		{name: "causal window", mask: mask.Spec{Causal: true, Window: &mask.Window{Left: n / 3, Right: mask.Unbounded}}},
		{name: "window on both sides", mask: mask.Spec{Window: &mask.Window{Left: n / 3, Right: n / 7}}},
		{name: "window of two", mask: mask.Spec{Window: &mask.Window{Left: 1}}},
		{name: "rectangles", mask: mask.Spec{Rectangles: shared}},
		{name: "nothing", mask: mask.Spec{Rectangles: []mask.Rectangle{}}},
		{name: "softcap", softcap: 1.5, mask: mask.Spec{Causal: true}},
		{name: "alibi", alibi: true, mask: mask.Spec{Causal: true}},
		{name: "sinks", sinks: true, mask: mask.Spec{Causal: true}},
		{name: "dropout", dropout: 0.3, mask: mask.Spec{Causal: true}},
		{name: "dropout and softcap, full", dropout: 0.1, softcap: 2},
		{name: "everything", softcap: 1.5, alibi: true, sinks: true, dropout: 0.2, mask: mask.Spec{
			Window: &mask.Window{Left: n / 3, Right: n / 5}, CuSeqlens: docs, Rectangles: append(shared, mask.Rectangle{QueryTo: n, KeyTo: n}),
		}},
	}
}

// visible is the definition of the problem's mask.
func (s shape) visible(i, j int) bool {
	if s.options != nil {
		return s.options.mask.Visible(i, j)
	}
	return !s.causal || j <= i
}

// compiled is the problem's mask.
func (s shape) compiled() *mask.Mask {
	spec := mask.Spec{Causal: s.causal}
	if s.options != nil {
		spec = s.options.mask
	}
	m, err := mask.New(spec, s.tokens)
	if err != nil {
		panic(err)
	}
	return m
}

func equalsDenseForEveryOption[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	shapes := []shape{
		{tokens: 197, heads: 4, kvHeads: 2, dim: 16, valueDim: 12},
		{tokens: 290, heads: 2, kvHeads: 2, dim: 32, valueDim: 20},
		{tokens: 7, heads: 2, kvHeads: 1, dim: 5, valueDim: 7},
	}
	cuts := []cut{{whole, 1, 1}, {layouts[0], 3, -1}, {layouts[1], 2, 1}, {layouts[2], 3, 1}, {layouts[3], 2, 1}}
	if isLight(t) {
		shapes, cuts = []shape{{tokens: 150, heads: 2, kvHeads: 1, dim: 16, valueDim: 12}}, []cut{cuts[0], cuts[2]}
	}
	for _, s := range shapes {
		for _, s.options = range variants(s.tokens) {
			for _, logits := range []float64{1, 8} {
				some := selected(t, cuts...)
				if len(some) == 0 {
					continue
				}
				j := newJudge(k, newProblem[T](s, logits), logits)
				j.lenient = s.tokens < 10
				for _, c := range some {
					j.expect(t, k, c, ", "+s.options.name)
				}
			}
		}
	}
}

// carriesMerge lets every block of keys have a carry of its own and merges them, the later into the earlier and the other way round.
func carriesMerge[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	s := shape{tokens: 150, heads: 4, kvHeads: 2, dim: 16, valueDim: 12}
	for _, s.options = range append(variants(s.tokens), nil) {
		for _, logits := range []float64{1, 100} {
			j := newJudge(k, newProblem[T](s, logits), logits)
			for _, l := range layouts[:3] {
				for _, backwards := range selected(t, false, true) {
					j.merged(t, k, l.cut(s.tokens, 3), backwards)
				}
			}
		}
	}
}

// merged compares out and lse, which is all that carries are for.
func (j judge[T]) merged(t testing.TB, k kernel.Attention[T], blocks [][]kernel.Segment, backwards bool) {
	r := newResult[T](j.shape)
	for _, rows := range blocks {
		sum := j.rows(rows)
		b := j.block(rows, nil)
		for turn, cols := range blocks {
			part := j.rows(rows)
			part.forward(k, j.problem, [][]kernel.Segment{cols}, []int{0})
			switch {
			case turn == 0:
				sum.carry = part.carry
			case backwards:
				k.Merge(part.carry, sum.carry, b)
				sum.carry = part.carry
			default:
				k.Merge(sum.carry, part.carry, b)
			}
		}
		k.Finish(sum.carry, sum.out, sum.lse, b)
		put(r.out, j.tokens, j.valueDim, positions(rows), sum.out)
		put(r.lse, j.tokens, 1, positions(rows), sum.lse)
	}
	for i, g := range parts(r)[:2] {
		limit, _ := j.tolerance(i)
		if d, at := deviation(g.x, j.want[i].x, 0); !(d <= limit) {
			t.Errorf("%v, logits %v, merged carries (backwards %t): %s[%d] = %v, dense has %v", j.shape, j.logits, backwards, g.name, at, g.x[at], j.want[i].x[at])
		}
	}
}

// hiddenPairsMayHoldAnything puts NaN and Inf into the last of three documents: the results of the others stay what they
// were but for rounding.
func hiddenPairsMayHoldAnything[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	const clean = 130
	for _, causal := range []bool{false, true} {
		s := shape{tokens: 200, heads: 2, kvHeads: 1, dim: 8, valueDim: 6}
		s.options = &options{name: "documents", mask: mask.Spec{Causal: causal, CuSeqlens: []int{0, 50, clean, 200}}}
		p := newProblem[T](s, 1).asTakenBy(k)
		want := p.solve(k, cut{whole, 1, 1})
		spoilt := newProblem[T](s, 1).asTakenBy(k)
		for _, x := range []struct {
			data  []T
			width int
		}{{spoilt.q, p.dim}, {spoilt.k, p.dim}, {spoilt.v, p.valueDim}, {spoilt.dOut, p.valueDim}} {
			spoilt.spoil(x.data, x.width, clean, p.tokens)
		}
		got := spoilt.solve(k, cut{whole, 1, 1})
		for i, g := range parts(got) {
			width := []int{p.valueDim, 1, p.dim, p.dim, p.valueDim}[i]
			for at, w := range parts(want)[i].x {
				near := math.Abs(g.x[at]-w) <= p.narrow.near()*math.Max(1, math.Abs(w))
				if at/width%p.tokens < clean && !near {
					t.Fatalf("causal %t: %s[%d] is %v; it was %v before another document held NaN and Inf", causal, g.name, at, g.x[at], w)
				}
			}
		}
	}
}
