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

// probabilities turns scores x [keys, queries] into 2^(exponent·(x-ref) - low) and sums them by query. The difference is scaled, not the
// score, so that rounding is relative to the former.
func (s *tileScratch[T]) probabilities(g *geometry, x, ref, low []T) {
	n := len(ref)
	sum := s.sum[:n]
	clear(sum)
	subMul(x, ones[T](), ref, n, T(g.exponent))
	expSub(x, low, n, sum)
}

var (
	ones32 = filled[float32](panelRows*tileKeys, 1)
	ones64 = filled[float64](panelRows*tileKeys, 1)
)

// ones is a tile of ones.
func ones[T kernel.Float]() []T {
	if x, ok := any(ones32).([]T); ok {
		return x
	}
	return any(ones64).([]T)
}

func filled[T kernel.Float](n int, value T) []T {
	x := make([]T, n)
	for i := range x {
		x[i] = value
	}
	return x
}

// addScaled adds factor·x to a row.
func addScaled[T kernel.Float](row []T, factor T, x []T) {
	for i, a := range x {
		row[i] += factor * a
	}
}
