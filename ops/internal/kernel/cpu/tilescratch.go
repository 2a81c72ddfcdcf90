package cpu

import (
	"math"
	"sync"

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
	rowAt, colAt   []T // [queries], [keys]: positions from that of the panel's first query on; ALiBi's
	tanh           []T // [keys, queries]: what the softcap made of the scores; nil in the forward pass
	state          *tileState
}

// tileState is the part of a task's memory that is not of type T.
type tileState struct {
	tile
	kept     [tileKeys]uint64  // by key, the queries for which dropout keeps it
	words    [panelRows]uint32 // dropout's, of the panel's queries
	keyWords [tileKeys]uint32  // and of the tile's keys
}

var tileStates = sync.Pool{New: func() any { return new(tileState) }}

func borrowTileScratch[T kernel.Float](b kernel.Block, backward bool) tileScratch[T] {
	const p, k = panelRows, tileKeys
	dim, valueDim, capped := b.Dim, b.ValueDim, 0
	if backward && b.Softcap != 0 {
		capped = p * k
	}
	wider := roundUp(max(dim, valueDim), 16)
	memory := borrow[T](2*p*dim + p*valueDim + 2*p*k + 5*p + 2*k + wider + capped)
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
		zeros: take(k), sums: take(wider), rowAt: take(p), colAt: take(k), tanh: take(capped),
		state: tileStates.Get().(*tileState),
	}
	clear(s.zeros)
	return s
}

func (s *tileScratch[T]) giveBack() {
	s.memory.giveBack()
	tileStates.Put(s.state)
}

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

// prepareScores transposes a panel of queries q [n, D] of a head, whose first is row, for scores. Of the scale only the sign goes in
// here: rounding q·scale would cost as much as all of the product's own rounding.
func (s *tileScratch[T]) prepareScores(g *geometry, q []T, head, row int) {
	n := len(q) / g.Dim
	s.turn(s.qT, q, g.Dim, T(math.Copysign(1, g.Scale)))
	if g.Slopes != nil {
		setDistances(s.rowAt, g.rows[row:][:n], g.rows[row])
	}
	s.state.setWords(g, head, g.rows[row:][:n])
}

// turn transposes rows [n, width] that lie in memory far away. They are fetched first, one after the other, which takes half the time
// that fetching them in the order of the transposition does; dProbs has room for some of them, and nothing else in it yet.
func (s *tileScratch[T]) turn(dst, rows []T, width int, factor T) {
	n, some := len(rows)/width, len(s.dProbs)/width
	for row := 0; row < n; row += some {
		near := s.dProbs[:copy(s.dProbs, rows[row*width:min(row+some, n)*width])]
		transpose(dst[row:], n, near, width, len(near)/width, width, factor)
	}
}

// product computes x [keys, queries] = rows·columns, for rows [keys, width] and columns [width, queries], in the steps of a tile.
func (s *tileScratch[T]) product(x []T, t *tile, rows, columns []T, width int) {
	for _, step := range t.steps() {
		at, p := t.at(step)
		tileNN(x[at:], p.ld, rows[step.key*width:], width, columns[step.from:], t.queries, p.rows, p.width, width, false)
	}
}

// rawScores computes the scores of a tile of a head for the rows of keys, what the mask hides included.
func (s *tileScratch[T]) rawScores(g *geometry, t *tile, keys []T, head int) {
	s.product(s.scores, t, keys, s.qT, g.Dim)
	if g.plain() {
		return
	}
	setDistances(s.colAt, g.cols[t.col:][:t.keys], g.rows[t.row])
	for _, step := range t.steps() {
		at, p := t.at(step)
		modifier[T]{g, head, s.rowAt[step.from:], s.colAt[step.key:]}.apply(s.scores[at:], from(s.tanh, at), p)
	}
}

// modifier applies softcap and ALiBi to scores, which are in natural units from then on.
type modifier[T kernel.Float] struct {
	*geometry
	head         int
	rowAt, colAt []T // positions of the queries and of the keys
}

// apply changes a part of the scores x; in tanh, if there is any, it leaves what the softcap's slope takes.
func (m modifier[T]) apply(x, tanh []T, p tilePart) {
	scale := math.Abs(m.Scale)
	if m.Softcap != 0 {
		softcap(x, tanh, p, T(scale/m.Softcap), T(m.Softcap))
		scale = 1
	}
	if m.Slopes != nil {
		bias(x, p, T(scale), m.rowAt[:p.width], m.colAt[:p.rows], T(m.Slopes[m.head]))
	}
}

// from is x from an element on, or nothing of an empty x.
func from[T kernel.Float](x []T, at int) []T {
	if len(x) == 0 {
		return nil
	}
	return x[at:]
}

// setDistances sets x to positions, counted from an origin near them, so that float32 holds them.
func setDistances[T kernel.Float](x []T, positions []int, origin int) {
	for i, at := range positions {
		x[i] = T(at - origin)
	}
}

// hide writes value over the pairs of a partial tile's steps, in x [keys, queries], that the mask hides.
func hide[T kernel.Float](x []T, t *tile, value T) { siftTile(x, t, t.seen[:], value) }

// siftTile writes value over the pairs of a tile's steps that have no bit in those of their key.
func siftTile[T kernel.Float](x []T, t *tile, bits []uint64, value T) {
	for _, step := range t.steps() {
		at, p := t.at(step)
		sift(x[at:], p, bits[step.key:][:step.keys], step.from, value)
	}
}

// setWords prepares draw for a panel of queries of a head.
func (s *tileState) setWords(g *geometry, head int, rows []int) {
	if g.drops() {
		for j, at := range rows {
			s.words[j] = kernel.QueryWord(g.Dropout.Keys[head], at)
		}
	}
}

// draw lets dropout say which pairs of the tile it keeps, in kept.
func (s *tileState) draw(g *geometry, head int) {
	for i, at := range g.cols[s.col:][:s.keys] {
		s.keyWords[i] = kernel.KeyWord(g.Dropout.Keys[head], at)
	}
	draw(s.kept[:s.keys], s.words[:s.queries], s.keyWords[:s.keys], g.Dropout.Threshold)
}

// addKeyRows adds x·rows to dst [keys, width], for x [keys, queries] in the steps of a tile and rows [queries, width].
func addKeyRows[T kernel.Float](dst []T, t *tile, x, rows []T, width int) {
	for _, step := range t.steps() {
		at, p := t.at(step)
		tileNN(dst[step.key*width:], width, x[at:], p.ld, rows[step.from*width:], width, p.rows, width, p.width, true)
	}
}

// queryRows adds xᵀ·rows to dst [queries, width], for x [keys, queries] in the strips of a tile and rows [keys, width]; without acc it
// overwrites the rows of dst that the strips cover.
func queryRows[T kernel.Float](dst []T, t *tile, x, rows []T, width int, acc bool) {
	for _, s := range t.strips() {
		tileTN(dst[s.from*width:], width, x[s.key*t.queries+s.from:], t.queries, rows[s.key*width:], width, s.to-s.from, width, s.keys, acc)
	}
}

// probabilities turns the scores into 2^(exponent·(score-ref) - low) and sums them by query.
func (s *tileScratch[T]) probabilities(g *geometry, t *tile, low []T) {
	clear(s.sum)
	for _, step := range t.steps() {
		at, p := t.at(step)
		expSub(s.scores[at:], p, s.ref[step.from:], T(g.exponent), low[step.from:], s.sum[step.from:])
	}
}

// weights sets the scores of a whole tile to its probabilities as product and probabilities do, for the rows of keys, in one go; false if
// the tile or the instruction set does not lend itself to that.
func (s *tileScratch[T]) weights(g *geometry, t *tile, keys, low []T) bool {
	n := weighable[T](t.keys, g.Dim)
	if n == 0 || t.queries != panelRows || !t.isWhole() || !g.plain() {
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
