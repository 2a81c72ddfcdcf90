package cpu

import (
	"math"

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
	s, n, panels := len(g.rows), len(g.cols), len(g.rowSpans)
	keys, values := rowsOf(k, b.KVHeads*n, b.Dim), a.turned(v, b.KVHeads, n, b.ValueDim)
	defer keys.giveBack()
	defer values.giveBack()
	spread(g.work(), b.Heads*panels, func(task int) {
		h, panel := task/panels, panels-1-task%panels // see attention's Forward
		at, queries := h*s+panel*panelRows, min(panelRows, s-panel*panelRows)
		f := pairForward{
			pairAttention: a, geometry: g, pairScratch: borrowPairScratch(b, false), panel: panel, queries: queries,
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
	panel, queries, kv int
	keys               pairRows
	values             turnedTiles
	packedV            []uint16 // [K,N,Dv]
	q32                []float32
	o, m, l            []float32 // the carry's rows
}

func (f *pairForward) run() {
	begun := false
	for run := range f.colSpans {
		t, some := f.trimmed(f.panel, run)
		if !some {
			continue
		}
		if !begun {
			f.begin()
			begun = true
		}
		f.fold(&t)
	}
	if begun {
		f.end()
	}
}

// begin arranges the queries and transposes O.
func (f *pairForward) begin() {
	f.q.load(f.pairPrimitives, f.q32, f.queries)
	if f.Scale < 0 {
		f.q.negate()
	}
	w := roundUp(f.ValueDim, lanes)
	clear(f.staged)
	for i := range f.queries {
		copy(f.staged[i*w:], f.o[i*f.ValueDim:][:f.ValueDim])
	}
	f.turn(wordsOf(f.sums), panelRows, wordsOf(f.staged), w, panelRows, w)
}

// end transposes O back.
func (f *pairForward) end() {
	w := roundUp(f.ValueDim, lanes)
	f.turn(wordsOf(f.staged), w, wordsOf(f.sums), panelRows, w, panelRows)
	for i := range f.queries {
		copy(f.o[i*f.ValueDim:][:f.ValueDim], f.staged[i*w:])
	}
}

// fold takes one tile into the carry.
func (f *pairForward) fold(t *trimmed) {
	// 1. Scores, -Inf where there is no pair.
	x := f.x[:t.even*t.width]
	row := f.kv*len(f.cols) + t.col
	f.product(x, t.width, f.keys.row(row), f.keys.stride, f.q.turned[t.skip:], panelRows, t.keys, t.width, words(f.Dim), false)
	f.hideScores(x, t)
	// 2. P = 2^(exponent·(S - M)), with M raised first where a row has none or too low a one; L += P's sum over keys.
	if !f.known(t) || !f.exponentials(t, x) {
		f.raise(t, x)
		f.exponentials(t, x)
	}
	l := f.l[t.skip:][:t.queries]
	for j, sum := range f.sum[:t.queries] {
		l[j] += sum
	}
	// 3. Oᵀ += Vᵀ·P.
	oT := f.sums[t.skip:]
	if t.ragged(f.geometry) && !f.values.isFinite(f.kv, t.col) {
		f.addVisible(t, oT)
		return
	}
	f.product(oT, panelRows, f.values.of(f.kv, t.col), tilePairs, f.p, t.width, f.ValueDim, t.width, t.even/2, true)
}

// known reports whether every row of the tile has a reference, or is NaN already and needs none.
func (f *pairForward) known(t *trimmed) bool {
	l := f.l[t.skip:]
	for j, m := range f.m[t.skip:][:t.queries] {
		if math.IsInf(float64(m), -1) && l[j] == 0 {
			return false
		}
	}
	return true
}

// exponentials makes the tile's probabilities, relative to M, and sums them by row; false if a reference is too low.
func (f *pairForward) exponentials(t *trimmed, x []float32) bool {
	ref, sum := f.ref[:t.width], f.sum[:t.width]
	clear(ref)
	clear(sum)
	exponent := float32(f.exponent)
	for j, m := range f.m[t.skip:][:t.queries] {
		if !math.IsInf(float64(m), -1) {
			ref[j] = -m * exponent
		}
	}
	f.weights(f.p, x, ref, sum, t.width, exponent)
	for _, s := range sum[:t.queries] {
		if s >= largeSum {
			return false
		}
	}
	return true
}

// raise sets every row's reference to the larger of itself and the tile's maximum and rescales what the row has summed.
func (f *pairForward) raise(t *trimmed, x []float32) {
	high, m, l := f.high[:t.width], f.m[t.skip:], f.l[t.skip:]
	copy(high, m[:t.queries])
	columnMax(x, tilePart{t.width, t.even, t.width}, high)
	for j, top := range high[:t.queries] {
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
	}
}

// addVisible goes over the visible pairs one by one.
func (f *pairForward) addVisible(t *trimmed, oT []float32) {
	p, first := halves(f.p), f.kv*len(f.cols)+t.col
	for i, j := range f.visible(t.tile) {
		weight := fromBFloat16(p[(i/2*t.width+j)*2+i%2])
		for d, v := range f.packedV[(first+i)*f.ValueDim:][:f.ValueDim] {
			oT[d*panelRows+j] += weight * fromBFloat16(v)
		}
	}
}
