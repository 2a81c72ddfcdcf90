package cpu

import (
	"math"
	"math/bits"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Backward computes the gradients of one block as attention's Backward does, by the same tasks. dQᵀ is summed over the keys of a task:
//
//	dV += Pᵀ·dO    dPᵀ = V·dOᵀ    dS = P∘(dP - delta)    dK += scale·dSᵀ·Q    dQᵀ += scale·Kᵀ·dS
func (a pairAttention) Backward(g kernel.Gradients[float32], in kernel.Inputs[float32], b kernel.Block) {
	geo := newGeometry(b)
	defer geo.release()
	if geo.empty() {
		g.Nothing()
		return
	}
	n := len(geo.cols)
	runs := keyRuns(b.KVHeads, n)
	dq := shareQueries(geo, g, runs)
	defer dq.giveBack()
	keys, values, columns := rowsOf(in.K, b.KVHeads*n, b.Dim), rowsOf(in.V, b.KVHeads*n, b.ValueDim), a.turned(in.K, b.KVHeads, n, b.Dim)
	defer keys.giveBack()
	defer values.giveBack()
	defer columns.giveBack()
	spread(geo.work(), len(runs)*b.KVHeads, func(task int) {
		w := pairBackward{
			pairAttention: a, geometry: geo, pairScratch: borrowPairScratch(b, true), in: in, run: task / b.KVHeads, kv: task % b.KVHeads,
			shared: dq, k: keys, v: values, columns: columns,
		}
		defer w.giveBack()
		w.keys(runs[w.run], g)
	})
	dq.addCopies()
}

// pairBackward is one run of keys of one KV head against all queries of its group.
type pairBackward struct {
	pairAttention
	*geometry
	pairScratch
	in      kernel.Inputs[float32]
	run, kv int
	shared  sharedQueries[float32]
	k, v    pairRows
	columns turnedTiles // of K
	dk, dv  []float32   // [keys of the run, roundUp(D)] and [.., roundUp(Dv)]
	finite  bool        // the panel's rows
}

// keys goes over the queries of the KV head for the keys of r.
func (w *pairBackward) keys(r keyRun, g kernel.Gradients[float32]) {
	d, dv := roundUp(w.Dim, lanes), roundUp(w.ValueDim, lanes)
	sums := borrow[float32](r.n * (d + dv))
	defer sums.giveBack()
	clear(sums.data)
	w.dk, w.dv = sums.data[:r.n*d], sums.data[r.n*d:]
	for head := w.kv * w.group; head < (w.kv+1)*w.group; head++ {
		for panel := range w.panels {
			w.panel(head, panel, r)
		}
	}
	at := w.kv*len(w.cols) + r.from
	addRows(g.DK[at*w.Dim:], w.shared.factors, w.dk, paddedRows{r.n, w.Dim, d}, g.Fresh)
	addRows(g.DV[at*w.ValueDim:], w.shared.valueFactor, w.dv, paddedRows{r.n, w.ValueDim, dv}, g.Fresh)
}

// paddedRows are rows of width elements that lie stride apart.
type paddedRows struct{ rows, width, stride int }

// addRows adds factor[0] times the rows of src to dst [rows, width], or sets a fresh dst to them.
func addRows(dst, factor, src []float32, p paddedRows, fresh bool) {
	if p.width == p.stride {
		addTo(dst[:p.rows*p.width], factor, src[:p.rows*p.width], fresh)
		return
	}
	for i := range p.rows {
		addTo(dst[i*p.width:][:p.width], factor, src[i*p.stride:][:p.width], fresh)
	}
}

// panel goes over the run's keys for one panel of queries.
func (w *pairBackward) panel(head, panel int, r keyRun) {
	row := panel * panelRows
	n := min(panelRows, len(w.rows)-row)
	begun, pairs := false, 0
	from, to := w.sight(panel, r.from, r.from+r.n)
	for col := from / tileKeys * tileKeys; col < to; col += tileKeys {
		t, some := w.trimmed(&w.state.tile, panel, col)
		if !some {
			continue
		}
		if !begun {
			w.begin(head, row, n)
			begun = true
		}
		w.add(&t, t.col-r.from, head)
		pairs += t.pairs()
	}
	w.worked(5 * pairs)
	dq := w.shared.start(w.run, head, panel, w.dq)
	if begun {
		d := roundUp(w.Dim, lanes)
		w.turn(wordsOf(w.staged), d, wordsOf(w.sums), panelRows, d, panelRows)
		for i := range n {
			copy(dq[i*w.Dim:][:w.Dim], w.staged[i*d:])
		}
	}
	w.shared.finish(head, panel, dq)
}

// begin arranges the n rows of a panel from row on.
func (w *pairBackward) begin(head, row, n int) {
	at := head*len(w.rows) + row
	w.prepare(w.geometry, head, w.rows[row:][:n])
	w.q.load(w.pairPrimitives, w.in.Q[at*w.Dim:][:n*w.Dim], n)
	if w.Scale < 0 {
		w.q.negate()
	}
	w.dOut.load(w.pairPrimitives, w.in.DOut[at*w.ValueDim:][:n*w.ValueDim], n)
	clear(w.ref[n:])
	clear(w.delta[n:])
	copy(w.delta, w.in.Delta[at:][:n])
	if w.drops() {
		Scale(w.delta[:n], float32(1/w.Dropout.Scale())) // see backward
	}
	for j := range n {
		w.ref[j] = w.reference(at + j)
	}
	clear(w.sums)
	w.finite = finite(w.q.rows) && finite(w.dOut.rows)
}

// reference is what P = 2^(exponent·S + reference) takes for row i. A row that saw no key has -Inf: P = 0.
func (w *pairBackward) reference(i int) float32 {
	lse := float64(w.in.LSE[i])
	if math.IsInf(lse, -1) {
		return float32(lse)
	}
	if w.in.LSELow != nil {
		lse += float64(w.in.LSELow[i])
	}
	return float32(-lse * math.Log2E)
}

// add does the five products of one tile, whose keys begin at key of the run.
func (w *pairBackward) add(t *trimmed, key, head int) {
	x, dp := w.x[:t.even*t.width], w.dp[:t.even*t.width]
	row := w.kv*len(w.cols) + t.col
	// 1. Scores, -Inf where there is no pair, and dP = dO·Vᵀ.
	for _, s := range t.steps() {
		n, at := t.columns(s), t.offset(s)
		w.product(x[at:], t.width, w.k.row(row+s.key), w.k.stride, w.q.turned[s.from:], panelRows, s.keys, n, words(w.Dim), false)
		w.product(dp[at:], t.width, w.v.row(row+s.key), w.v.stride, w.dOut.turned[s.from:], panelRows, s.keys, n, words(w.ValueDim), false)
	}
	w.modify(w.geometry, t, head)
	t.hideScores(x) // of dP what is hidden may be anything
	w.slope(t, dp, head)
	// 2. P = 2^(exponent·S + ref), dS = P∘(dP - delta).
	w.gradients(w.p, w.ds, w.pairs, x, dp, w.ref[t.skip:], w.delta[t.skip:], t.width, float32(w.exponent))
	if w.drops() {
		w.drop(t)
	}
	// 3. The sums.
	d, dv := roundUp(w.Dim, lanes), roundUp(w.ValueDim, lanes)
	if t.ragged() && !(w.finite && w.columns.isFinite(w.kv, t.col)) {
		w.addVisible(t, key)
		return
	}
	for _, s := range t.steps() {
		n, at, to := t.columns(s)/2, t.offset(s)/2, key+s.key
		w.product(w.dv[to*dv:], dv, w.p[at:], t.width/2, w.dOut.zipped[s.from/2*dv:], dv, s.keys, dv, n, true)
		w.product(w.dk[to*d:], d, w.ds[at:], t.width/2, w.q.zipped[s.from/2*d:], d, s.keys, d, n, true)
	}
	w.product(w.sums[t.skip:], panelRows, w.columns.of(w.kv, t.col), tilePairs, w.pairs, t.width, w.Dim, t.width, t.even/2, true)
}

// slope is backward's, for a tile of dP.
func (w *pairBackward) slope(t *trimmed, dp []float32, head int) {
	if w.drops() {
		w.state.draw(w.geometry, head)
		sift(dp, tilePart{t.width, t.keys, t.width}, w.state.kept[:t.keys], t.skip, 0)
	}
	if w.Softcap == 0 {
		return
	}
	for _, s := range t.steps() {
		at := t.offset(s)
		flatten(dp[at:], w.tanh[at:], tilePart{t.width, s.keys, t.columns(s)}, w.delta[s.from:])
	}
}

// drop writes 0 over the probabilities that dropout does not keep, for dV.
func (w *pairBackward) drop(t *trimmed) {
	p := halves(w.p)
	for key := range t.keys {
		for dropped := w.dropped(t, key); dropped != 0; dropped &= dropped - 1 {
			p[key*t.width+bits.TrailingZeros64(dropped)] = 0
		}
	}
}

// addVisible goes over the visible pairs one by one.
func (w *pairBackward) addVisible(t *trimmed, key int) {
	d, dv := roundUp(w.Dim, lanes), roundUp(w.ValueDim, lanes)
	p, ds, first := halves(w.p), halves(w.ds), w.kv*len(w.cols)+t.col
	for i, j := range t.visible() {
		j -= t.skip
		weight, dS := fromBFloat16(p[i*t.width+j]), fromBFloat16(ds[i*t.width+j])
		addScaledHalves(w.dv[(key+i)*dv:], weight, w.dOut.row(t.skip+j))
		addScaledHalves(w.dk[(key+i)*d:], dS, w.q.row(t.skip+j))
		for c, x := range halves(w.k.row(first + i))[:w.Dim] {
			w.sums[c*panelRows+t.skip+j] += dS * fromBFloat16(x)
		}
	}
}

// row is row i of the panel, in bfloat16.
func (p pairPanel) row(i int) []uint16 { return halves(p.rows[i*p.stride():])[:p.width] }

// addScaledHalves adds factor·x to dst.
func addScaledHalves(dst []float32, factor float32, x []uint16) {
	for i, a := range x {
		dst[i] += factor * fromBFloat16(a)
	}
}
