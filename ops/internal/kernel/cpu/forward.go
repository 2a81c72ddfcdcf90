package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// largeSum is when a row's reference lies so far below its scores that it must be raised before anything overflows.
const largeSum = 1 << 60

// Forward folds one block of keys into the carry. Scores are kept in base 2: s = log2(e)·scale·q·k, so M is a base-2 exponent.
//
// A row's reference M is the largest score of the first tile it sees and stays, unless a later tile's sum of exponentials shows
// that it is far too low; then that tile is done again with its true maximum and the row is rescaled. The result does not depend
// on where the keys were cut into blocks, other than in rounding.
func (attention[T]) Forward(c kernel.Carry[T], q, k, v []T, b kernel.Block) {
	g := newGeometry(b)
	defer g.release()
	s, n := len(g.rows), len(g.cols)
	if s == 0 || n == 0 {
		return
	}
	panels := len(g.rowSpans)
	scratches := tilePool[T](b.Dim, b.ValueDim)
	Parallel(b.Heads*panels, func(task int) {
		// The last panels see the most keys under a causal mask: they go first.
		h, row := task%b.Heads, (panels-1-task/b.Heads)*panelRows
		f := forward[T]{geometry: g, tileScratch: scratches.get(), panel: row / panelRows}
		defer scratches.put(f.tileScratch)
		f.queries = min(panelRows, s-row)
		f.q = q[(h*s+row)*b.Dim:][:f.queries*b.Dim]
		f.o = c.O[(h*s+row)*b.ValueDim:][:f.queries*b.ValueDim]
		f.m, f.l = c.M[h*s+row:][:f.queries], c.L[h*s+row:][:f.queries]
		kv := h / g.group
		f.k, f.v = k[kv*n*b.Dim:][:n*b.Dim], v[kv*n*b.ValueDim:][:n*b.ValueDim]
		f.run()
	})
}

// forward is one panel of queries of one head against all keys of the block.
type forward[T kernel.Float] struct {
	*geometry
	*tileScratch[T]
	panel, queries int
	q, k, v        []T
	o, m, l        []T // the carry's rows
}

func (f *forward[T]) run() {
	transpose(f.qT, f.queries, f.q, f.Dim, f.queries, f.Dim, T(f.Scale*math.Log2E))
	for i, cols := range f.colSpans {
		kind := classify(f.Causal, f.rowSpans[f.panel], cols)
		if kind == tileEmpty {
			continue
		}
		t := f.tile(f.panel, i, kind)
		f.score(t, kind)
		if !f.known() || !f.exponentials(t) {
			if f.known() {
				f.score(t, kind) // the attempt overwrote the scores
			}
			f.raise(t)
			f.exponentials(t)
		}
		for j, sum := range f.sum[:t.queries] {
			f.l[j] += sum
		}
		f.addValues(t, kind)
	}
}

// addValues adds Pᵀ·V of the tile to the output.
func (f *forward[T]) addValues(t tile, kind tileKind) {
	dv := f.ValueDim
	v := f.v[t.col*dv:]
	if kind == tilePartial && !f.finite(v, t.keys, dv) {
		visibleProduct[T]{f.geometry, t, f.scores}.addToQueries(f.o, v, dv)
		return
	}
	tileTN(f.o, dv, f.scores, t.queries, v, dv, t.queries, dv, t.keys, true)
}

// score computes the tile's scores and hides what the mask forbids.
func (f *forward[T]) score(t tile, kind tileKind) {
	tileNN(f.scores, t.queries, f.k[t.col*f.Dim:], f.Dim, f.qT, t.queries, t.keys, t.queries, f.Dim, false)
	if kind == tilePartial {
		hide(f.geometry, f.scores, t, T(math.Inf(-1)))
	}
}

// known reports whether every row of the panel has a reference, or is NaN already and needs none.
func (f *forward[T]) known() bool {
	for j, m := range f.m {
		if math.IsInf(float64(m), -1) && f.l[j] == 0 {
			return false
		}
	}
	return true
}

// exponentials turns scores into 2^(score-M) and sums them by row; false if a reference is too low. The sum of a row
// is NaN if one of its scores is: no other reference would help it.
func (f *forward[T]) exponentials(t tile) bool {
	for j, m := range f.m {
		f.ref[j] = m
		if math.IsInf(float64(m), -1) {
			f.ref[j] = 0 // the row has seen nothing, or nothing but NaN
		}
	}
	clear(f.sum[:t.queries])
	expSub(f.scores[:t.keys*t.queries], f.ref[:t.queries], t.queries, f.sum[:t.queries])
	for _, sum := range f.sum[:t.queries] {
		if sum >= largeSum {
			return false
		}
	}
	return true
}

// raise sets every row's reference to the larger of itself and the tile's maximum and rescales what the row has summed. A score
// that is NaN is no maximum; it reaches the row's sum whatever the reference.
func (f *forward[T]) raise(t tile) {
	high := f.high[:t.queries]
	copy(high, f.m)
	columnMax(f.scores[:t.keys*t.queries], t.queries, high)
	for j, m := range f.m {
		if high[j] > m {
			f.m[j] = high[j]
			if f.l[j] != 0 {
				factor := T(math.Exp2(float64(m) - float64(high[j])))
				f.l[j] *= factor
				scale(f.o[j*f.ValueDim:][:f.ValueDim], factor)
			}
		}
	}
}

func scale[T kernel.Float](x []T, factor T) {
	for i := range x {
		x[i] *= factor
	}
}
