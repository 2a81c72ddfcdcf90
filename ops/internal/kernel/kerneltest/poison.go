package kerneltest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// rowsThatSeeNothingAreZero gives five queries before the first key and five among the keys.
func rowsThatSeeNothingAreZero[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	p := newProblem[T](shape{tokens: 20, heads: 2, kvHeads: 1, dim: 6, valueDim: 4, causal: true}, 1)
	rows := []kernel.Segment{{Start: 0, Stride: 1, Count: 5}, {Start: 12, Stride: 1, Count: 5}}
	cols := []kernel.Segment{{Start: 8, Stride: 1, Count: 12}}
	l := p.rows(rows)
	l.forward(k, p, [][]kernel.Segment{cols}, []int{0})
	g := kernel.Gradients[T]{DQ: l.dq, DK: make([]T, 12*p.dim), DV: make([]T, 12*p.valueDim)}
	l.backward(k, p, cols, g)
	for i := range l.lse {
		blind := i%10 < 5
		if math.IsInf(float64(l.lse[i]), -1) != blind {
			t.Errorf("lse of row %d is %v, row sees nothing: %t", i, l.lse[i], blind)
		}
		if zero(line(l.out, i, p.valueDim)) != blind || zero(line(l.dq, i, p.dim)) != blind {
			t.Errorf("row %d: out %v, dq %v, row sees nothing: %t", i, line(l.out, i, p.valueDim), line(l.dq, i, p.dim), blind)
		}
	}
	for j := range 12 {
		seen := j+8 <= 16
		if zero(line(g.DK, j, p.dim)) == seen || zero(line(g.DV, j, p.valueDim)) == seen {
			t.Errorf("key %d: dk %v, dv %v, key is seen: %t", j, line(g.DK, j, p.dim), line(g.DV, j, p.valueDim), seen)
		}
	}
}

// keysOfTheFutureAreNotTouched: a block whose keys all lie behind the queries changes no bit, whatever it holds.
func keysOfTheFutureAreNotTouched[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	p := newProblem[T](shape{tokens: 150, heads: 2, kvHeads: 1, dim: 6, valueDim: 4, causal: true}, 1)
	blocks := contiguous(p.tokens, 2)
	l := p.rows(blocks[0])
	l.forward(k, p, blocks, []int{0})
	o, lse := slices.Clone(l.carry.O), slices.Clone(l.lse)
	for i := range p.k[75*p.dim:] {
		p.k[75*p.dim+i] = T(math.NaN())
	}
	l.forward(k, p, blocks, []int{1})
	g := kernel.Gradients[T]{DQ: l.dq, DK: make([]T, 75*p.dim), DV: make([]T, 75*p.valueDim)}
	l.backward(k, p, blocks[1], g)
	if !sameBits(o, l.carry.O) || !sameBits(lse, l.lse) || !zero(g.DQ) || !zero(g.DK) || !zero(g.DV) {
		t.Error("a block of keys behind all queries changed the carry or the gradients")
	}
}

// whatNothingSeesMayHoldAnything fills queries before the first key, and keys behind the last query, with NaN and Inf: all other
// results stay what they were but for rounding, and those of the filled ones are exactly nothing.
func whatNothingSeesMayHoldAnything[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	const blind, n = 70, 150 // rows before the first key; rows, and keys from blind on
	p := newProblem[T](shape{tokens: 220, heads: 4, kvHeads: 2, dim: 6, valueDim: 4, causal: true}, 1)
	rows := []kernel.Segment{{Start: 0, Stride: 1, Count: n}}
	blocks := [][]kernel.Segment{{{Start: blind, Stride: 1, Count: 100}}, {{Start: blind + 100, Stride: 1, Count: 50}}}
	run := func() (arrays [][]T) {
		l := p.rows(rows)
		l.forward(k, p, blocks, []int{1, 0})
		arrays = append(arrays, l.out, l.lse, l.dq)
		for _, cols := range blocks {
			g := kernel.Gradients[T]{DQ: l.dq, DK: make([]T, 2*kernel.Len(cols)*p.dim), DV: make([]T, 2*kernel.Len(cols)*p.valueDim)}
			l.backward(k, p, cols, g)
			arrays = append(arrays, g.DK, g.DV)
		}
		return arrays
	}
	clean := run()
	p.spoil(p.q, p.dim, 0, blind)
	p.spoil(p.dOut, p.valueDim, 0, blind)
	p.spoil(p.k, p.dim, n, p.tokens)
	p.spoil(p.v, p.valueDim, n, p.tokens)
	for a, spoilt := range run() {
		name := []string{"out", "lse", "dq", "dk", "dv", "dk of the second block", "dv of the second block"}[a]
		for i, x := range spoilt {
			want := clean[a][i]
			if near := math.Abs(float64(x-want)) < narrowOf(k).near(); x != want && (!near || want == 0) {
				t.Fatalf("%s[%d] is %v; it was %v before NaN and Inf were put where no row sees them", name, i, x, want)
			}
		}
	}
}

// spoil fills the rows from..to of every head.
func (p problem[T]) spoil(x []T, width, from, to int) {
	values := []T{T(math.NaN()), T(math.Inf(1)), T(math.Inf(-1))}
	for head := range len(x) / (p.tokens * width) {
		for i := from; i < to; i++ {
			for d := range width {
				line(x, head*p.tokens+i, width)[d] = values[(i+d)%len(values)]
			}
		}
	}
}

// zero reports whether all of x is 0; NaN is not.
func zero[T kernel.Float](x []T) bool {
	for _, a := range x {
		if a != 0 {
			return false
		}
	}
	return true
}

// nanReachesTheRowsThatSeeIt puts one NaN in turn into every input: it must show in exactly those results that depend on it, which
// under a causal mask leaves the past clean.
func nanReachesTheRowsThatSeeIt[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	for _, causal := range []bool{false, true} {
		s := shape{tokens: 150, heads: 2, kvHeads: 1, dim: 5, valueDim: 6, causal: causal}
		for _, at := range []int{0, 40, 149} {
			for input := range 4 {
				p := newProblem[T](s, 1)
				array, width := [][]T{p.q, p.k, p.v, p.dOut}[input], []int{p.dim, p.dim, p.valueDim, p.valueDim}[input]
				array[at*width+1] = T(math.NaN())
				j := newJudge(k, p, 1)
				for _, c := range selected(t, cut{whole, 1, 1}, cut{layouts[1], 2, -1}, cut{layouts[2], 3, 1}) {
					j.expect(t, k, c, fmt.Sprintf(", NaN in row %d of %s", at, []string{"q", "k", "v", "dOut"}[input]))
				}
			}
		}
	}
}

// infiniteLogitsAreNotHidden: a query whose scores overflow must not come out as a number.
func infiniteLogitsAreNotHidden[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	p := newProblem[T](shape{tokens: 100, heads: 1, kvHeads: 1, dim: 4, valueDim: 4}, 1)
	p.q[0] = T(math.Inf(1))
	r := p.solve(k, cut{layouts[0], 3, 1})
	for _, x := range append([]T{r.lse[0]}, r.out[:p.valueDim]...) {
		if !math.IsNaN(float64(x)) {
			t.Fatalf("a query with +Inf has out %v and lse %v, want NaN", r.out[:p.valueDim], r.lse[0])
		}
	}
}
