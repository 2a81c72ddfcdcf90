package cpu

import (
	"math"
	"slices"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// largeSum is when a row's reference lies so far below its scores that it must be raised.
const largeSum = 1 << 24

// Forward folds one block of keys into the carry. Scores stay unscaled, s = ±q·k, and so does M.
//
// A row's reference M is the largest score of the first tile it sees, and stays: that saves the pass over the scores that a running
// maximum takes. Only if a tile's sum of exponentials shows that the reference has become far too low is the tile done again, M
// raised to the true maximum and the row rescaled. O and L are sums over tiles, each a sum over keys, in the order in which they
// come: a cut into blocks moves the tiles' edges and adds at most a tile to sum.
func (attention[T]) Forward(c kernel.Carry[T], q, k, v []T, b kernel.Block) {
	g := newGeometry(b)
	defer g.release()
	if g.empty() {
		return
	}
	s, n, panels := len(g.rows), len(g.cols), g.panels
	spread(g.work(), b.Heads*panels, func(task int) {
		// Panels of one head follow one another, because they share its keys; of these the last see the most under a causal mask,
		// and go first, so that the call ends on short tasks.
		h, panel := task/panels, panels-1-task%panels
		at := h*s + panel*panelRows
		f := forward[T]{geometry: g, tileScratch: borrowTileScratch[T](b, false), head: h, panel: panel}
		defer f.giveBack()
		f.queries = min(panelRows, s-panel*panelRows)
		f.q = q[at*b.Dim:][:f.queries*b.Dim]
		f.o = c.O[at*b.ValueDim:][:f.queries*b.ValueDim]
		f.m, f.l = c.M[at:][:f.queries], c.L[at:][:f.queries]
		kv := h / g.group
		f.k, f.v = k[kv*n*b.Dim:][:n*b.Dim], v[kv*n*b.ValueDim:][:n*b.ValueDim]
		f.run()
	})
}

// forward is one panel of queries of one head against all keys of the block.
type forward[T kernel.Float] struct {
	*geometry
	tileScratch[T]
	head, panel, queries int
	q, k, v              []T
	o, m, l              []T  // the carry's rows
	known                bool // all rows have a reference
	fresh                bool // no row has seen anything, and o is not written yet
}

func (f *forward[T]) run() {
	prepared, pairs, t := false, 0, &f.state.tile
	tiles := f.keyTiles(f.panel, 0, len(f.cols))
	nearest := f.nearest(f.panel, tiles.n, tiles.col)
	for i := range tiles.n {
		col, keys := tiles.at(nearest.turn(i))
		if !f.tile(t, f.panel, col, keys) {
			continue
		}
		if !prepared {
			f.prepareScores(f.geometry, f.q, f.head, t.row)
			f.prepareReferences()
			f.fresh = !slices.ContainsFunc(f.l, func(l T) bool { return l != 0 })
			prepared = true
		}
		f.fold(t)
		pairs += t.pairs()
	}
	f.worked(2 * pairs)
}

// fold takes one tile into the carry.
func (f *forward[T]) fold(t *tile) {
	// 1. P = exp(scale·(S - M)), with M raised first where a row has none or too low a one.
	if !f.knows(t) || !f.attempt(t) {
		f.score(t)
		f.raise(t)
		f.exponentials(t)
	}
	// 2. L += P's sum over keys.
	Add(f.l[:t.queries], f.l[:t.queries], f.sum[:t.queries])
	// 3. O += Pᵀ·V, of the pairs that dropout keeps.
	if f.drops() {
		f.state.draw(f.geometry, f.head)
		siftTile(f.scores, t, f.state.kept[:], 0)
	}
	dv := f.ValueDim
	v := f.v[t.col*dv:][:t.keys*dv]
	if t.partial && f.hiddenLeaks(v, t.keys, dv) {
		f.begin(nil)
		for i, j := range t.visible() {
			addScaled(f.o[j*dv:][:dv], f.scores[i*t.queries+j], v[i*dv:][:dv])
		}
		return
	}
	queryRows(f.o, t, f.scores, v, dv, !f.fresh)
	f.begin(t.strips())
}

// begin makes the rows of a fresh O zero that the panel's first tile does not write, all but those of its strips.
func (f *forward[T]) begin(written []strip) {
	if !f.fresh {
		return
	}
	f.fresh = false
	from := 0
	for _, s := range written {
		clear(f.o[from*f.ValueDim : s.from*f.ValueDim])
		from = s.to
	}
	clear(f.o[from*f.ValueDim:])
}

// knows reports whether all rows that see something of the tile have a reference.
func (f *forward[T]) knows(t *tile) bool {
	if f.known {
		return true
	}
	from, to := t.queriesSeeing()
	for j := from; j < to; j++ {
		if f.l[j] == 0 && math.IsInf(float64(f.m[j]), -1) {
			return false
		}
	}
	return true
}

// prepareReferences copies M as the exponentials take it: 0 in rows that have seen nothing, or nothing but NaN.
func (f *forward[T]) prepareReferences() {
	f.known = true
	for j, m := range f.m {
		f.ref[j] = m
		if math.IsInf(float64(m), -1) {
			f.ref[j] = 0
			f.known = f.known && f.l[j] != 0
		}
	}
}

// attempt computes probabilities relative to M as it is; false if that is too low for some row.
func (f *forward[T]) attempt(t *tile) bool {
	if f.weights(f.geometry, t, f.k[t.col*f.Dim:], f.zeros) {
		return f.bounded(t)
	}
	f.score(t)
	return f.exponentials(t)
}

// exponentials turns scores into probabilities relative to M and sums them by row; false if a reference is too low. Where a score is NaN so is the
// sum: no other reference would help it.
func (f *forward[T]) exponentials(t *tile) bool {
	f.probabilities(f.geometry, t, f.zeros)
	return f.bounded(t)
}

// bounded reports whether no sum is so large that its reference must be raised.
func (f *forward[T]) bounded(t *tile) bool {
	for _, s := range f.sum[:t.queries] {
		if s >= largeSum {
			return false
		}
	}
	return true
}

// raise sets every row's reference to the larger of itself and the tile's maximum and rescales what the row has summed. A NaN is no
// maximum; it reaches the row's sum whatever the reference.
func (f *forward[T]) raise(t *tile) {
	high := f.high[:t.queries]
	copy(high, f.m)
	for _, s := range t.steps() {
		at, p := t.at(s)
		columnMax(f.scores[at:], p, high[s.from:])
	}
	for j, top := range high {
		if !(top > f.m[j]) {
			continue
		}
		if f.l[j] != 0 {
			factor := T(math.Exp2((float64(f.m[j]) - float64(top)) * f.exponent))
			f.l[j] *= factor
			o := f.o[j*f.ValueDim:][:f.ValueDim]
			for d := range o {
				o[d] *= factor
			}
		}
		f.m[j] = top
	}
	f.prepareReferences()
}

// score computes the tile's scores, -Inf where the mask hides a pair.
func (f *forward[T]) score(t *tile) {
	f.rawScores(f.geometry, t, f.k[t.col*f.Dim:], f.head)
	if t.partial {
		hide(f.scores, t, T(math.Inf(-1)))
	}
}
