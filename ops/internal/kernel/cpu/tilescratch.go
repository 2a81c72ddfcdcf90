package cpu

import "github.com/ringgrad/ringgrad/ops/internal/kernel"

// tileScratch is one task's working memory; its size depends on the tile and the head dims alone.
type tileScratch[T kernel.Float] struct {
	memory         *scratch[T]
	qT, dOutT      []T // [D, queries], [Dv, queries]
	scores, dProbs []T // [keys, queries]
	dOut, dqSums   []T // [queries, Dv], [queries, D]
	ref, sum, high []T // [queries]
	zeros, sums    []T // of hiddenLeaks
}

func borrowTileScratch[T kernel.Float](dim, valueDim int) tileScratch[T] {
	const p, k = panelRows, tileKeys
	wider := roundUp(max(dim, valueDim), 16)
	memory := borrow[T](2*p*dim + 2*p*valueDim + 2*p*k + 3*p + k + wider)
	rest := memory.data
	take := func(n int) []T {
		part := rest[:n:n]
		rest = rest[n:]
		return part
	}
	s := tileScratch[T]{
		memory: memory,
		scores: take(p * k), dProbs: take(p * k),
		qT: take(p * dim), dOutT: take(p * valueDim), dOut: take(p * valueDim), dqSums: take(p * dim),
		ref: take(p), sum: take(p), high: take(p),
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

// addScaled adds factor·x to a row.
func addScaled[T kernel.Float](row []T, factor T, x []T) {
	for i, a := range x {
		row[i] += factor * a
	}
}
