package cpu

import (
	"math"
	"math/bits"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Forward folds one block of keys into the carry as attention's Forward does: the same tiles, the same references. Oᵀ, not O, is
// summed over the tiles of a panel, because the pairs of P lie along the keys:
//
//	Sᵀ = K·Qᵀ    P = 2^(exponent·(S - M))    Oᵀ += Vᵀ·P
func (a pairAttention) Forward(c kernel.Carry[float32], q, k, v []float32, b kernel.Block) {
	g := newGeometry(b)
	defer g.release()
	if g.empty() {
		return
	}
	s, n, panels := len(g.rows), len(g.cols), g.panels
	keys, values := rowsOf(k, b.KVHeads*n, b.Dim), a.turned(v, b.KVHeads, n, b.ValueDim)
	defer keys.giveBack()
	defer values.giveBack()
	spread(g.work(), b.Heads*panels, func(task int) {
		h, panel := task/panels, panels-1-task%panels // see attention's Forward
		at, queries := h*s+panel*panelRows, min(panelRows, s-panel*panelRows)
		f := pairForward{
			pairAttention: a, geometry: g, pairScratch: borrowPairScratch(b, false), head: h, panel: panel, queries: queries,
			kv: h / g.group, keys: keys, values: values, packedV: halves(wordsOf(v)),
			q32: q[at*b.Dim:][:queries*b.Dim], o: c.O[at*b.ValueDim:][:queries*b.ValueDim],
			m: c.M[at:][:queries], l: c.L[at:][:queries],
		}
		defer f.giveBack()
		f.run()
	})
}

// pairForward is one panel of queries of one head against all keys of the block.
type pairForward struct {
	pairAttention
	*geometry
	pairScratch
	head, panel, queries, kv int
	keys                     pairRows
	values                   turnedTiles
	packedV                  []uint16 // [K,N,Dv]
	q32                      []float32
	o, m, l                  []float32 // the carry's rows
	known                    bool      // all rows have a reference, or are NaN already and need none
}

func (f *pairForward) run() {
	begun, pairs := false, 0
	from, to := f.sight(f.panel, 0, len(f.cols))
	first, n := from/tileKeys, ceilDiv(to, tileKeys)-from/tileKeys
	nearest := f.nearest(f.panel, n, func(tile int) int { return (first + tile) * tileKeys })
	for i := range n {
		t, some := f.trimmed(&f.state.tile, f.panel, (first+nearest.turn(i))*tileKeys)
		if !some {
			continue
		}
		if !begun {
			f.begin()
			begun = true
		}
		f.fold(&t)
		pairs += t.pairs()
	}
	f.worked(2 * pairs)
	if begun {
		f.end()
	}
}

// begin arranges the queries, takes over the references, and transposes O.
func (f *pairForward) begin() {
	f.q.load(f.pairPrimitives, f.q32, f.queries)
	f.prepare(f.geometry, f.head, f.rows[f.panel*panelRows:][:f.queries])
	if f.Scale < 0 {
		f.q.negate()
	}
	clear(f.ref)
	f.known = true
	fresh := true
	for j := range f.m {
		f.refer(j)
		f.known = f.known && (f.l[j] != 0 || !math.IsInf(float64(f.m[j]), -1))
		fresh = fresh && f.l[j] == 0
	}
	if fresh {
		clear(f.sums)
		return
	}
	w := roundUp(f.ValueDim, lanes)
	clear(f.staged)
	for i := range f.queries {
		copy(f.staged[i*w:], f.o[i*f.ValueDim:][:f.ValueDim])
	}
	f.turn(wordsOf(f.sums), panelRows, wordsOf(f.staged), w, panelRows, w)
}

// refer takes row j's reference as the exponentials take it: 0 in rows that have seen nothing, or nothing but NaN.
func (f *pairForward) refer(j int) {
	f.ref[j] = 0
	if m := f.m[j]; !math.IsInf(float64(m), -1) {
		f.ref[j] = -m * float32(f.exponent)
	}
}

// end transposes O back.
func (f *pairForward) end() {
	w := roundUp(f.ValueDim, lanes)
	if w == f.ValueDim && f.queries == panelRows {
		f.turn(wordsOf(f.o), w, wordsOf(f.sums), panelRows, w, panelRows)
		return
	}
	f.turn(wordsOf(f.staged), w, wordsOf(f.sums), panelRows, w, panelRows)
	for i := range f.queries {
		copy(f.o[i*f.ValueDim:][:f.ValueDim], f.staged[i*w:])
	}
}

// fold takes one tile into the carry.
func (f *pairForward) fold(t *trimmed) {
	// 1. P = 2^(exponent·(S - M)), with M raised first where a row has none or too low a one; L += P's sum over keys.
	f.score(t)
	if !f.known || !f.exponentials(t) {
		f.raise(t)
		f.exponentials(t)
	}
	l := f.l[t.skip:][:t.left]
	for j, sum := range f.sum[:t.left] {
		l[j] += sum
	}
	// 2. Oᵀ += Vᵀ·P, of the pairs that dropout keeps.
	if f.drops() {
		f.state.draw(f.geometry, f.head)
		f.drop(t)
	}
	oT := f.sums[t.skip:]
	if t.ragged() && !f.values.isFinite(f.kv, t.col) {
		f.addVisible(t, oT)
		return
	}
	f.product(oT, panelRows, f.values.of(f.kv, t.col), tilePairs, f.p, t.width, f.ValueDim, t.width, t.even/2, true)
}

// score computes the tile's scores, -Inf where there is no pair.
func (f *pairForward) score(t *trimmed) {
	row := f.kv*len(f.cols) + t.col
	for _, s := range t.steps() {
		x := f.x[t.offset(s):]
		f.product(x, t.width, f.keys.row(row+s.key), f.keys.stride, f.q.turned[s.from:], panelRows, s.keys, t.columns(s), words(f.Dim), false)
	}
	f.modify(f.geometry, t, f.head)
	t.hideScores(f.x)
}

// exponentials turns scores into probabilities, relative to M, and sums them by row; false if a reference is too low.
func (f *pairForward) exponentials(t *trimmed) bool {
	sum := f.sum[:t.width]
	clear(sum)
	f.weights(f.p, f.x[:t.even*t.width], f.ref[t.skip:], sum, t.width, float32(f.exponent))
	for _, s := range sum[:t.left] {
		if s >= largeSum {
			return false
		}
	}
	return true
}

// raise sets every row's reference to the larger of itself and the tile's maximum and rescales what the row has summed.
func (f *pairForward) raise(t *trimmed) {
	high, m, l := f.high[:t.width], f.m[t.skip:], f.l[t.skip:]
	copy(high, m[:t.left])
	columnMax(f.x, tilePart{t.width, t.even, t.width}, high)
	for j, top := range high[:t.left] {
		if !(top > m[j]) {
			continue
		}
		if l[j] != 0 {
			factor := float32(math.Exp2((float64(m[j]) - float64(top)) * f.exponent))
			l[j] *= factor
			for d := range f.ValueDim {
				f.sums[d*panelRows+t.skip+j] *= factor
			}
		}
		m[j] = top
		f.refer(t.skip + j)
	}
	f.known = true
	for j, m := range f.m {
		f.known = f.known && (f.l[j] != 0 || !math.IsInf(float64(m), -1))
	}
}

// drop writes 0 over the probabilities that dropout does not keep.
func (f *pairForward) drop(t *trimmed) {
	p := halves(f.p)
	for key := range t.keys {
		pairs := p[key/2*t.width*2+key%2:]
		for dropped := f.dropped(t, key); dropped != 0; dropped &= dropped - 1 {
			pairs[2*bits.TrailingZeros64(dropped)] = 0
		}
	}
}

// addVisible goes over the visible pairs one by one.
func (f *pairForward) addVisible(t *trimmed, oT []float32) {
	p, first := halves(f.p), f.kv*len(f.cols)+t.col
	for i, j := range t.visible() {
		j -= t.skip
		weight := fromBFloat16(p[(i/2*t.width+j)*2+i%2])
		for d, v := range f.packedV[(first+i)*f.ValueDim:][:f.ValueDim] {
			oT[d*panelRows+j] += weight * fromBFloat16(v)
		}
	}
}
