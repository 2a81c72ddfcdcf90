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
	dq := shareQueries(g, len(runs), T(b.Scale))
	defer dq.giveBack()
	spread(geo.work(), len(runs)*b.KVHeads, func(task int) {
		w := backward[T]{geometry: geo, tileScratch: borrowTileScratch[T](b.Dim, b.ValueDim), in: in, run: task / b.KVHeads, dq: dq}
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
		for panel := range w.rowSpans {
			w.panel(head, panel, r)
		}
	}
	addTo(g.DK[at*d:][:r.n*d], w.dq.factors, w.dk, g.Fresh)
	addTo(g.DV[at*dv:][:r.n*dv], w.dq.one, w.dv, g.Fresh)
}

// panel goes over the run's keys for one panel of queries.
func (w *backward[T]) panel(head, panel int, r keyRun) {
	row := panel * panelRows
	at, n := head*len(w.rows)+row, min(panelRows, len(w.rows)-row)
	dq, pairs := w.dq.start(w.run, at*w.Dim, w.dqSums[:n*w.Dim]), 0
	var p queryPanel[T]
	for col := r.from; col < r.from+r.n; col += tileKeys {
		t, some := w.tile(panel, col/tileKeys)
		if !some {
			continue
		}
		if p.q == nil {
			p = w.prepare(at, n)
			p.dq = dq
		}
		w.add(&t, t.col-r.from, p)
		pairs += t.queries * t.keys
	}
	w.worked(5 * pairs)
	w.dq.finish(at*w.Dim, dq, p.q != nil)
}

// queryPanel is one panel of one head as add reads it.
type queryPanel[T kernel.Float] struct {
	q, dOut, dq []T // [n, D], [n, Dv], [n, D]
	delta       []T // [n]
}

// prepare transposes the rows of a panel, which begin at row at of all heads, and splits their lse.
func (w *backward[T]) prepare(at, n int) queryPanel[T] {
	d, dv := w.Dim, w.ValueDim
	p := queryPanel[T]{q: w.in.Q[at*d:][:n*d], dOut: w.in.DOut[at*dv:][:n*dv], delta: w.in.Delta[at:][:n]}
	w.references(at, n)
	w.prepareScores(w.geometry, p.q, n)
	transpose(w.dOutT, n, p.dOut, dv, n, dv, 1)
	return p
}

// references splits the lse of n rows: P = exp(scale·S - lse) = 2^(exponent·(S - ref) - low), where ref is lse/scale as far as a T
// holds it and low what it does not hold, which at hot logits is most of the error. A row that saw no key has ref +Inf: P = 0.
func (w *backward[T]) references(at, n int) {
	scale := math.Abs(w.Scale)
	inverse := 1 / scale
	for j, x := range w.in.LSE[at:][:n] {
		lse := float64(x)
		ref := T(lse * inverse)
		if r := float64(ref); math.IsInf(r, 0) || math.IsNaN(r) {
			ref = 0 // scale is 0, or all but 0, or lse is infinite or NaN: low does it all
		}
		rest := math.FMA(-float64(ref), scale, lse)
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
	// 1. P = exp(scale·(S - ref)); its sums are not needed.
	if !w.weights(w.geometry, t, k, w.low) {
		w.product(w.scores, t, k, w.qT, d)
		w.probabilities(w.geometry, t, w.low)
	}
	// 2. dS = P∘(dP - delta), dP = dO·Vᵀ.
	w.product(w.dProbs, t, v, w.dOutT, dv)
	if t.partial {
		hide(w.geometry, w.scores, t, 0)
	}
	for _, s := range t.steps() {
		at, part := t.at(s)
		subMul(w.dProbs[at:], w.scores[at:], part, p.delta[s.blind:])
	}
	if t.partial {
		hide(w.geometry, w.dProbs, t, 0)
	}
	// 3. The sums.
	s := tileSums[T]{
		tile: *t, probs: w.scores, ds: w.dProbs, k: k, q: p.q, dOut: p.dOut, dq: p.dq,
		dk: w.dk[key*d:][:t.keys*d], dv: w.dv[key*dv:][:t.keys*dv],
	}
	if t.partial && (w.hiddenLeaks(k, t.keys, d) || w.hiddenLeaks(p.q, t.queries, d) || w.hiddenLeaks(p.dOut, t.queries, dv)) {
		s.addVisible(w.geometry)
		return
	}
	addKeyRows(s.dv, t, s.probs, s.dOut, dv)
	addKeyRows(s.dk, t, s.ds, s.q, d)
	queryRows(s.dq, t, s.ds, k, d, true)
}

// tileSums is what a tile's P and dS are multiplied with and added to.
type tileSums[T kernel.Float] struct {
	tile
	probs, ds  []T // [keys, queries]
	q, k, dOut []T
	dq, dk, dv []T
}

// addVisible goes over the visible pairs one by one.
func (s tileSums[T]) addVisible(g *geometry) {
	d, dv := g.Dim, g.ValueDim
	for i, j := range g.visible(s.tile) {
		p, dS := s.probs[i*s.queries+j], s.ds[i*s.queries+j]
		addScaled(s.dv[i*dv:][:dv], p, s.dOut[j*dv:][:dv])
		addScaled(s.dk[i*d:][:d], dS, s.q[j*d:][:d])
		addScaled(s.dq[j*d:][:d], dS, s.k[i*d:][:d])
	}
}
