package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Backward adds the gradients of one block (FlashAttention-2, arXiv 2307.08691, algorithm 2), with P = exp(S - lse) recomputed:
//
//	dV += Pᵀ·dO    dP = dO·Vᵀ    dS = P∘(dP - delta)·scale    dK += dSᵀ·Q    dQ += dS·K
//
// Work is cut by KV head and, where there are few of those, by runs of keys; see keyRuns.
func (attention[T]) Backward(g kernel.Gradients[T], in kernel.Inputs[T], b kernel.Block) {
	geo := newGeometry(b)
	defer geo.release()
	if geo.empty() {
		return
	}
	runs := keyRuns(b.KVHeads, len(geo.cols))
	dq := shareQueries(g.DQ, len(runs))
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
	addTo(g.DK[at*d:][:r.n*d], w.dk)
	addTo(g.DV[at*dv:][:r.n*dv], w.dv)
}

// panel goes over the run's keys for one panel of queries.
func (w *backward[T]) panel(head, panel int, r keyRun) {
	row := panel * panelRows
	at, n := head*len(w.rows)+row, min(panelRows, len(w.rows)-row)
	dq := w.dq.start(w.run, at*w.Dim, w.dqSums[:n*w.Dim])
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
		w.add(t, t.col-r.from, p)
	}
	if p.q != nil {
		w.dq.finish(at*w.Dim, dq)
	}
}

// queryPanel is one panel of one head as add reads it.
type queryPanel[T kernel.Float] struct {
	n           int
	q, dOut, dq []T // [n, D], [n, Dv], [n, D]
	ref, delta  []T // [n]
}

// prepare transposes the panel's rows and splits their lse: P = 2^(S - ref) · factor, where ref is log2(e)·lse as far as a T holds
// it and factor is what it does not hold. At hot logits that is a large part of the error, so it goes into dO and delta instead,
// which meet P in every product: dV = Pᵀ·(factor·dO), dS = P∘(factor·dP - factor·delta).
func (w *backward[T]) prepare(at, n int) queryPanel[T] {
	d, dv := w.Dim, w.ValueDim
	p := queryPanel[T]{n: n, ref: w.ref, delta: w.high, q: w.in.Q[at*d:][:n*d], dOut: w.dOut[:n*dv]}
	for j := range n {
		ref, factor := w.reference(at + j)
		p.ref[j], p.delta[j] = ref, T(factor*float64(w.in.Delta[at+j]))
		to := p.dOut[j*dv:][:dv]
		if factor == 0 {
			p.delta[j] = 0
			clear(to) // the row saw no key: its dO may hold anything
			continue
		}
		for x, g := range w.in.DOut[(at+j)*dv:][:dv] {
			to[x] = T(factor * float64(g))
		}
	}
	transpose(w.qT, n, p.q, d, n, d, T(w.Scale*math.Log2E))
	transpose(w.dOutT, n, p.dOut, dv, n, dv, 1)
	return p
}

// reference splits the lse of a row; a row that saw no key has ref +Inf, hence P = 0, and factor 0.
func (w *backward[T]) reference(i int) (ref T, factor float64) {
	lse := float64(w.in.LSE[i])
	if math.IsInf(lse, -1) {
		return T(math.Inf(1)), 0
	}
	const log2ELow = 2.0355273740931033e-17 // log2(e) - math.Log2E
	high := lse * math.Log2E
	low := math.FMA(lse, math.Log2E, -high) + lse*log2ELow
	if w.in.LSELow != nil {
		low += float64(w.in.LSELow[i]) * math.Log2E
	}
	ref = T(high)
	return ref, math.Exp2(float64(ref) - high - low)
}

// add does the five products of one tile, whose keys begin at key of the run.
func (w *backward[T]) add(t tile, key int, p queryPanel[T]) {
	d, dv, n := w.Dim, w.ValueDim, t.queries
	k, v := w.k[key*d:][:t.keys*d], w.v[key*dv:][:t.keys*dv]
	probs, ds := w.scores[:t.keys*n], w.dProbs[:t.keys*n]
	// 1. P = 2^(S - ref); the sums of its rows are not needed.
	tileNN(probs, n, k, d, w.qT[t.skip:], p.n, t.keys, n, d, false)
	expSub(probs, p.ref[t.skip:][:n], n, w.sum[:n])
	// 2. dS = P∘(dP - delta)·scale, dP = dO·Vᵀ.
	tileNN(ds, n, v, dv, w.dOutT[t.skip:], p.n, t.keys, n, dv, false)
	if t.partial {
		hide(w.geometry, probs, t, 0)
	}
	subMul(ds, probs, p.delta[t.skip:][:n], n, T(w.Scale))
	if t.partial {
		hide(w.geometry, ds, t, 0)
	}
	// 3. The sums.
	s := tileSums[T]{
		tile: t, probs: probs, ds: ds, k: k,
		q: p.q[t.skip*d:], dOut: p.dOut[t.skip*dv:], dq: p.dq[t.skip*d:],
		dk: w.dk[key*d:][:t.keys*d], dv: w.dv[key*dv:][:t.keys*dv],
	}
	if t.partial && (w.hiddenLeaks(k, t.keys, d) || w.hiddenLeaks(s.q, n, d) || w.hiddenLeaks(s.dOut, n, dv)) {
		s.addVisible(w.geometry)
		return
	}
	tileNN(s.dv, dv, probs, n, s.dOut, dv, t.keys, dv, n, true)
	tileNN(s.dk, d, ds, n, s.q, d, t.keys, d, n, true)
	tileTN(s.dq, d, ds, n, k, d, n, d, t.keys, true)
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
