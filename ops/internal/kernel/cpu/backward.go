package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Backward computes the gradients of one block (FlashAttention-2, arXiv 2307.08691, algorithm 2), with P = exp(S - lse) recomputed:
//
//	dV += Pᵀ·dO    dP = dO·Vᵀ    dS = P∘(dP - delta)    dK += scale·dSᵀ·Q    dQ += scale·dS·K
//
// Work is cut by KV head and, where there are few of those, by runs of keys; see keyRuns.
func (attention[T]) Backward(g kernel.Gradients[T], in kernel.Inputs[T], b kernel.Block) {
	geo := newGeometry(b)
	defer geo.release()
	if geo.empty() {
		g.Nothing()
		return
	}
	runs := keyRuns(b.KVHeads, len(geo.cols))
	dq := shareQueries(geo, g, runs)
	defer dq.giveBack()
	spread(geo.work(), len(runs)*b.KVHeads, func(task int) {
		w := backward[T]{geometry: geo, tileScratch: borrowTileScratch[T](b, true), in: in, run: task / b.KVHeads, dq: dq}
		defer w.giveBack()
		w.keys(runs[w.run], task%b.KVHeads, g)
	})
	dq.addCopies()
}

// backward is one run of keys of one KV head against all queries of its group.
type backward[T kernel.Float] struct {
	*geometry
	tileScratch[T]
	in     kernel.Inputs[T]
	run    int
	dq     sharedQueries[T]
	k, v   []T
	dk, dv []T
}

// keys goes over the queries of one KV head for the keys of r. All sums of a call start from zero and are added to what the caller
// has at the end: then the rounding error does not grow with the number of calls.
func (w *backward[T]) keys(r keyRun, kv int, g kernel.Gradients[T]) {
	d, dv := w.Dim, w.ValueDim
	sums := borrow[T](r.n * (d + dv))
	defer sums.giveBack()
	clear(sums.data)
	w.dk, w.dv = sums.data[:r.n*d], sums.data[r.n*d:]
	at := kv*len(w.cols) + r.from
	w.k, w.v = w.in.K[at*d:][:r.n*d], w.in.V[at*dv:][:r.n*dv]
	for head := kv * w.group; head < (kv+1)*w.group; head++ {
		for panel := range w.panels {
			w.panel(head, panel, r)
		}
	}
	addTo(g.DK[at*d:][:r.n*d], w.dq.factors, w.dk, g.Fresh)
	addTo(g.DV[at*dv:][:r.n*dv], w.dq.valueFactor, w.dv, g.Fresh)
}

// panel goes over the run's keys for one panel of queries.
func (w *backward[T]) panel(head, panel int, r keyRun) {
	row := panel * panelRows
	n := min(panelRows, len(w.rows)-row)
	dq, pairs := w.dq.start(w.run, head, panel, w.dqSums), 0
	if dq == nil {
		return
	}
	var p queryPanel[T]
	t := &w.state.tile
	tiles := w.keyTiles(panel, r.from, r.from+r.n)
	for i := range tiles.n {
		if col, keys := tiles.at(i); !w.tile(t, panel, col, keys) {
			continue
		}
		if p.q == nil {
			p = w.prepare(head, row, n)
			p.dq = dq
		}
		w.add(t, t.col-r.from, p)
		pairs += t.pairs()
	}
	w.worked(5 * pairs)
	w.dq.finish(head, panel, dq)
}

// queryPanel is one panel of one head as add reads it.
type queryPanel[T kernel.Float] struct {
	head        int
	q, dOut, dq []T // [n, D], [n, Dv], [n, D]
	delta       []T // [n]
}

// prepare transposes the n rows of a panel from row on, and splits their lse.
func (w *backward[T]) prepare(head, row, n int) queryPanel[T] {
	d, dv, at := w.Dim, w.ValueDim, head*len(w.rows)+row
	p := queryPanel[T]{head: head, q: w.in.Q[at*d:][:n*d], dOut: w.in.DOut[at*dv:][:n*dv], delta: w.in.Delta[at:][:n]}
	if w.drops() {
		// dP counts as much more as dropout makes it, and so should delta less: all of dS does at the end.
		p.delta = w.high[:n]
		copy(p.delta, w.in.Delta[at:][:n])
		Scale(p.delta, T(1/w.Dropout.Scale()))
	}
	w.references(at, n)
	w.prepareScores(w.geometry, p.q, head, row)
	w.turn(w.dOutT, p.dOut, dv, 1)
	return p
}

// references splits the lse of n rows: P = exp(unit·S - lse) = 2^(exponent·(S - ref) - low), where ref is lse/unit as far as a T
// holds it and low what it does not hold, which at hot logits is most of the error. A row that saw no key has ref +Inf: P = 0.
func (w *backward[T]) references(at, n int) {
	inverse := 1 / w.unit
	for j, x := range w.in.LSE[at:][:n] {
		lse := float64(x)
		ref := T(lse * inverse)
		if r := float64(ref); math.IsInf(r, 0) || math.IsNaN(r) {
			ref = 0 // unit is 0, or all but 0, or lse is infinite or NaN: low does it all
		}
		rest := math.FMA(-float64(ref), w.unit, lse)
		if w.in.LSELow != nil {
			rest += float64(w.in.LSELow[at+j])
		}
		w.ref[j], w.low[j] = ref, T(rest*math.Log2E)
		if math.IsInf(lse, -1) {
			w.ref[j], w.low[j] = T(math.Inf(1)), 0
		}
	}
}

// add does the five products of one tile, whose keys begin at key of the run.
func (w *backward[T]) add(t *tile, key int, p queryPanel[T]) {
	d, dv := w.Dim, w.ValueDim
	k, v := w.k[key*d:][:t.keys*d], w.v[key*dv:][:t.keys*dv]
	// 1. P = exp(unit·(S - ref)); its sums are not needed.
	if !w.weights(w.geometry, t, k, w.low) {
		w.rawScores(w.geometry, t, k, p.head)
		w.probabilities(w.geometry, t, w.low)
	}
	// 2. dS = P∘(dP - delta), dP = dO·Vᵀ.
	w.product(w.dProbs, t, v, w.dOutT, dv)
	w.slope(t, p)
	if t.partial {
		hide(w.scores, t, 0)
	}
	for _, s := range t.steps() {
		at, part := t.at(s)
		subMul(w.dProbs[at:], w.scores[at:], part, p.delta[s.from:])
	}
	if t.partial {
		hide(w.dProbs, t, 0)
	}
	if w.drops() {
		siftTile(w.scores, t, w.state.kept[:], 0) // dV is of what dropout keeps
	}
	// 3. The sums.
	s := tileSums[T]{
		tile: t, probs: w.scores, ds: w.dProbs, k: k, q: p.q, dOut: p.dOut, dq: p.dq,
		dk: w.dk[key*d:][:t.keys*d], dv: w.dv[key*dv:][:t.keys*dv],
	}
	if t.partial && (w.hiddenLeaks(k, t.keys, d) || w.hiddenLeaks(p.q, t.queries, d) || w.hiddenLeaks(p.dOut, t.queries, dv)) {
		s.addVisible(d, dv)
		return
	}
	addKeyRows(s.dv, t, s.probs, s.dOut, dv)
	addKeyRows(s.dk, t, s.ds, s.q, d)
	queryRows(s.dq, t, s.ds, k, d, true)
}

// slope makes of dP what P∘(dP - delta) wants where dropout and softcap come between: 0 where a pair is dropped, and the difference to
// delta times the softcap's slope, 1 - tanh².
func (w *backward[T]) slope(t *tile, p queryPanel[T]) {
	if w.drops() {
		w.state.draw(w.geometry, p.head)
		siftTile(w.dProbs, t, w.state.kept[:], 0)
	}
	if w.Softcap == 0 {
		return
	}
	for _, s := range t.steps() {
		at, part := t.at(s)
		flatten(w.dProbs[at:], w.tanh[at:], part, p.delta[s.from:])
	}
}

// tileSums is what a tile's P and dS are multiplied with and added to.
type tileSums[T kernel.Float] struct {
	*tile
	probs, ds  []T // [keys, queries]
	q, k, dOut []T
	dq, dk, dv []T
}

// addVisible goes over the visible pairs one by one.
func (s tileSums[T]) addVisible(d, dv int) {
	for i, j := range s.visible() {
		p, dS := s.probs[i*s.queries+j], s.ds[i*s.queries+j]
		addScaled(s.dv[i*dv:][:dv], p, s.dOut[j*dv:][:dv])
		addScaled(s.dk[i*d:][:d], dS, s.q[j*d:][:d])
		addScaled(s.dq[j*d:][:d], dS, s.k[i*d:][:d])
	}
}
