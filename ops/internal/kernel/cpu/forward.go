package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// largeSum is when a row's reference lies so far below its scores that it must be raised.
const largeSum = 1 << 24

// Forward folds one block of keys into the carry. Scores stay unscaled, s = ±q·k, and so does M.
//
// A row's reference M is the largest score of the first tile it sees, and stays: that saves the pass over the scores that a running
// maximum takes. Only if a tile's sum of exponentials shows that the reference has become far too low is the tile done again, M
// raised to the true maximum and the row rescaled. O and L are sums over keys in the order in which they come, whatever the cut
// into blocks, so the cut adds no rounding.
func (attention[T]) Forward(c kernel.Carry[T], q, k, v []T, b kernel.Block) {
	g := newGeometry(b)
	defer g.release()
	if g.empty() {
		return
	}
	s, n, panels := len(g.rows), len(g.cols), len(g.rowSpans)
	spread(g.work(), b.Heads*panels, func(task int) {
		// Panels of one head follow one another, because they share its keys; of these the last see the most under a causal mask,
		// and go first, so that the call ends on short tasks.
		h, panel := task/panels, panels-1-task%panels
		at := h*s + panel*panelRows
		f := forward[T]{geometry: g, tileScratch: borrowTileScratch[T](b.Dim, b.ValueDim), panel: panel}
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
	panel, queries int
	q, k, v        []T
	o, m, l        []T // the carry's rows
}

func (f *forward[T]) run() {
	prepared := false
	for run := range f.colSpans {
		t, some := f.tile(f.panel, run)
		if !some {
			continue
		}
		if !prepared {
			f.prepareScores(f.geometry, f.q, f.queries)
			prepared = true
		}
		f.fold(t)
	}
}

// fold takes one tile into the carry.
func (f *forward[T]) fold(t tile) {
	// 1. P = exp(scale·(S - M)), with M raised first where a row has none or too low a one.
	f.score(t)
	known := f.known(t)
	if !known || !f.exponentials(t) {
		if known {
			f.score(t) // the attempt overwrote the scores
		}
		f.raise(t)
		f.exponentials(t)
	}
	// 2. L += P's sum over keys.
	l := f.l[t.skip:]
	for j, sum := range f.sum[:t.queries] {
		l[j] += sum
	}
	// 3. O += Pᵀ·V.
	n, dv := t.queries, f.ValueDim
	o, v := f.o[t.skip*dv:], f.v[t.col*dv:][:t.keys*dv]
	if t.partial && f.hiddenLeaks(v, t.keys, dv) {
		for i, j := range f.visible(t) {
			addScaled(o[j*dv:][:dv], f.scores[i*n+j], v[i*dv:][:dv])
		}
		return
	}
	tileTN(o, dv, f.scores, n, v, dv, n, dv, t.keys, true)
}

// score computes the tile's scores, -Inf where the mask hides a pair.
func (f *forward[T]) score(t tile) {
	tileNN(f.scores, t.queries, f.k[t.col*f.Dim:], f.Dim, f.qT[t.skip:], f.queries, t.keys, t.queries, f.Dim, false)
	if t.partial {
		hide(f.geometry, f.scores, t, T(math.Inf(-1)))
	}
}

// known reports whether every row of the tile has a reference, or is NaN already and needs none.
func (f *forward[T]) known(t tile) bool {
	l := f.l[t.skip:]
	for j, m := range f.m[t.skip:] {
		if math.IsInf(float64(m), -1) && l[j] == 0 {
			return false
		}
	}
	return true
}

// exponentials turns scores into probabilities relative to M and sums them by row; false if a reference is too low. Where a score is NaN so is the
// sum: no other reference would help it.
func (f *forward[T]) exponentials(t tile) bool {
	ref := f.ref[:t.queries]
	for j, m := range f.m[t.skip:] {
		ref[j] = m
		if math.IsInf(float64(m), -1) {
			ref[j] = 0 // the row has seen nothing, or nothing but NaN
		}
	}
	f.probabilities(f.geometry, f.scores[:t.keys*t.queries], ref, f.zeros[:t.queries])
	for _, s := range f.sum[:t.queries] {
		if s >= largeSum {
			return false
		}
	}
	return true
}

// raise sets every row's reference to the larger of itself and the tile's maximum and rescales what the row has summed. A NaN is no
// maximum; it reaches the row's sum whatever the reference.
func (f *forward[T]) raise(t tile) {
	high, m, l := f.high[:t.queries], f.m[t.skip:], f.l[t.skip:]
	copy(high, m)
	columnMax(f.scores[:t.keys*t.queries], t.queries, high)
	for j, top := range high {
		if !(top > m[j]) {
			continue
		}
		if l[j] != 0 {
			factor := T(math.Exp2((float64(m[j]) - float64(top)) * f.exponent))
			l[j] *= factor
			o := f.o[(t.skip+j)*f.ValueDim:][:f.ValueDim]
			for d := range o {
				o[d] *= factor
			}
		}
		m[j] = top
	}
}
