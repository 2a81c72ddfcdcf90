package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// tileScratch is one task's working memory; its size depends on the tile and the head dims alone.
type tileScratch[T kernel.Float] struct {
	memory         *scratch[T]
	qT, dOutT      []T // [D, queries], [Dv, queries]
	scores, dProbs []T // [keys, queries]
	dqSums         []T // [queries, D]
	ref, low       []T // [queries]
	sum, high      []T // [queries]
	zeros, sums    []T // [keys], [the wider of D and Dv]; sums is hiddenLeaks'
}

func borrowTileScratch[T kernel.Float](dim, valueDim int) tileScratch[T] {
	const p, k = panelRows, tileKeys
	wider := roundUp(max(dim, valueDim), 16)
	memory := borrow[T](2*p*dim + p*valueDim + 2*p*k + 4*p + k + wider)
	rest := memory.data
	take := func(n int) []T {
		part := rest[:n:n]
		rest = rest[n:]
		return part
	}
	s := tileScratch[T]{
		memory: memory,
		scores: take(p * k), dProbs: take(p * k),
		qT: take(p * dim), dOutT: take(p * valueDim), dqSums: take(p * dim),
		ref: take(p), sum: take(p), high: take(p), low: take(p),
		zeros: take(k), sums: take(wider),
	}
	clear(s.zeros)
	return s
}

func (s *tileScratch[T]) giveBack() { s.memory.giveBack() }

// hiddenLeaks reports whether the zeros that stand for hidden pairs would turn into NaN in a product with the rows of x [n, width],
// because one of them is NaN or infinite. Then the product must go over the visible pairs one by one, lest a NaN in the future
// reaches the past.
func (s *tileScratch[T]) hiddenLeaks(x []T, n, width int) bool {
	sums := s.sums[:width]
	tileNN(sums, width, s.zeros[:n], n, x, width, 1, width, n, false)
	for _, x := range sums {
		if x != 0 {
			return true
		}
	}
	return false
}

// prepareScores transposes a panel of queries q [n, D] for scores. Of the scale only the sign goes in here: rounding q·scale would
// cost as much as all of the product's own rounding.
func (s *tileScratch[T]) prepareScores(g *geometry, q []T, n int) {
	transpose(s.qT, n, q, g.Dim, n, g.Dim, T(math.Copysign(1, g.Scale)))
}

// product computes x [keys, queries] = rows·columns, for rows [keys, width] and columns [width, queries], in the steps of a tile.
func (s *tileScratch[T]) product(x []T, t *tile, rows, columns []T, width int) {
	for _, step := range t.steps() {
		at, p := t.at(step)
		tileNN(x[at:], p.ld, rows[step.key*width:], width, columns[step.blind:], t.queries, p.rows, p.width, width, false)
	}
}

// addKeyRows adds x·rows to dst [keys, width], for x [keys, queries] in the steps of a tile and rows [queries, width].
func addKeyRows[T kernel.Float](dst []T, t *tile, x, rows []T, width int) {
	for _, step := range t.steps() {
		at, p := t.at(step)
		tileNN(dst[step.key*width:], width, x[at:], p.ld, rows[step.blind*width:], width, p.rows, width, p.width, true)
	}
}

// queryRows adds xᵀ·rows to dst [queries, width], for x [keys, queries] in the steps of a tile and rows [keys, width]; without acc it
// overwrites the rows of dst, but for those that the first step is blind to.
func queryRows[T kernel.Float](dst []T, t *tile, x, rows []T, width int, acc bool) {
	for i, step := range t.steps() {
		tileTN(dst[step.blind*width:], width, x[step.blind:], t.queries, rows, width, t.width(i), width, step.key+step.keys, acc)
	}
}

// probabilities turns the scores into 2^(exponent·(score-ref) - low) and sums them by query.
func (s *tileScratch[T]) probabilities(g *geometry, t *tile, low []T) {
	clear(s.sum)
	for _, step := range t.steps() {
		at, p := t.at(step)
		expSub(s.scores[at:], p, s.ref[step.blind:], T(g.exponent), low[step.blind:], s.sum[step.blind:])
	}
}

// weights sets the scores of a whole tile to its probabilities as product and probabilities do, for the rows of keys, in one go; false if
// the tile or the instruction set does not lend itself to that.
func (s *tileScratch[T]) weights(g *geometry, t *tile, keys, low []T) bool {
	n := weighable[T](t.keys, g.Dim)
	if n == 0 || t.queries != panelRows || !t.whole() {
		return false
	}
	clear(s.sum)
	weigh(s.scores, keys, s.qT, n, g.Dim, s.ref, T(g.exponent), low, s.sum)
	if rest := t.keys - n; rest > 0 {
		x := s.scores[n*panelRows:]
		tileNN(x, panelRows, keys[n*g.Dim:], g.Dim, s.qT, panelRows, rest, panelRows, g.Dim, false)
		expSub(x, tilePart{panelRows, rest, panelRows}, s.ref, T(g.exponent), low, s.sum)
	}
	return true
}

// addScaled adds factor·x to a row.
func addScaled[T kernel.Float](row []T, factor T, x []T) {
	for i, a := range x {
		row[i] += factor * a
	}
}
