package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Backward's work is cut by KV head and, where there are few of those, by runs of keys: a run owns its part of dK and dV and adds
// to a copy of dQ of its own. The cut depends on the shape alone, so the bits do not depend on the number of threads.
const enoughTasks = 4

// Backward adds the gradients of one block (FlashAttention-2, arXiv 2307.08691, algorithm 2), with P = 2^(score - lse) recomputed:
//
//	dV += Pᵀ·dO    dP = dO·Vᵀ    dS = P∘(dP - delta)·scale    dK += dSᵀ·Q    dQ += dS·K
func (attention[T]) Backward(g kernel.Gradients[T], in kernel.Inputs[T], b kernel.Block) {
	geo := newGeometry(b)
	defer geo.release()
	if len(geo.rows) == 0 || len(geo.cols) == 0 || b.KVHeads == 0 {
		return
	}
	runs := keyRuns(b.KVHeads, len(geo.colSpans))
	dq := queryCopies(g.DQ, len(runs))
	scratches := tilePool[T](b.Dim, b.ValueDim)
	Parallel(len(runs)*b.KVHeads, func(task int) {
		run, kv := task/b.KVHeads, task%b.KVHeads
		w := backward[T]{geometry: geo, tileScratch: scratches.get(), in: in, dq: dq[run], kv: kv, tiles: runs[run]}
		defer scratches.put(w.tileScratch)
		n := len(geo.cols)
		w.k, w.v = in.K[kv*n*b.Dim:][:n*b.Dim], in.V[kv*n*b.ValueDim:][:n*b.ValueDim]
		w.dk, w.dv = g.DK[kv*n*b.Dim:][:n*b.Dim], g.DV[kv*n*b.ValueDim:][:n*b.ValueDim]
		for head := kv * geo.group; head < (kv+1)*geo.group; head++ {
			for panel := range geo.rowSpans {
				w.panel(head, panel)
			}
		}
	})
	addCopies(g.DQ, dq[1:])
}

// tileRun is the tiles from up to to.
type tileRun struct{ from, to int }

func keyRuns(kvHeads, tiles int) []tileRun {
	n := 1
	if kvHeads < enoughTasks {
		n = max(1, min((enoughTasks+kvHeads-1)/kvHeads, tiles))
	}
	runs := make([]tileRun, n)
	for i := range runs {
		runs[i] = tileRun{tiles * i / n, tiles * (i + 1) / n}
	}
	return runs
}

// queryCopies gives every run its own dQ: the first one the caller's.
func queryCopies[T kernel.Float](dq []T, runs int) [][]T {
	copies := [][]T{dq}
	for range runs - 1 {
		copies = append(copies, make([]T, len(dq)))
	}
	return copies
}

// addCopies adds the runs' dQ to the caller's, in order.
func addCopies[T kernel.Float](dq []T, copies [][]T) {
	if len(copies) == 0 {
		return
	}
	const chunk = 1 << 14
	Parallel((len(dq)+chunk-1)/chunk, func(i int) {
		from, to := i*chunk, min((i+1)*chunk, len(dq))
		for _, c := range copies {
			for j, x := range c[from:to] {
				dq[from+j] += x
			}
		}
	})
}

// backward is one run of keys of one KV head against all queries of its group.
type backward[T kernel.Float] struct {
	*geometry
	*tileScratch[T]
	in     kernel.Inputs[T]
	dq     []T
	kv     int
	tiles  tileRun
	k, v   []T
	dk, dv []T
}

// queryPanel is one panel of one head as Backward reads it.
type queryPanel[T kernel.Float] struct {
	q, dOut, dq []T // [queries, D], [queries, Dv], [queries, D]
	delta       []T
	n           int
}

func (w *backward[T]) panel(head, panel int) {
	s, row := len(w.rows), panel*panelRows
	at := head*s + row
	p := queryPanel[T]{n: min(panelRows, s-row)}
	p.q = w.in.Q[at*w.Dim:][:p.n*w.Dim]
	p.dq = w.dq[at*w.Dim:][:p.n*w.Dim]
	p.dOut = w.in.DOut[at*w.ValueDim:][:p.n*w.ValueDim]
	p.delta = w.in.Delta[at:][:p.n]
	w.leaveOutUnseen(&p, w.in.LSE[at:][:p.n])
	prepared := false
	for i := w.tiles.from; i < w.tiles.to; i++ {
		kind := classify(w.Causal, w.rowSpans[panel], w.colSpans[i])
		if kind == tileEmpty {
			continue
		}
		if !prepared {
			transpose(w.qT, p.n, p.q, w.Dim, p.n, w.Dim, T(w.Scale*math.Log2E))
			transpose(w.dOutT, p.n, p.dOut, w.ValueDim, p.n, w.ValueDim, 1)
			prepared = true
		}
		w.addTile(w.tile(panel, i, kind), kind, &p)
	}
}

// leaveOutUnseen sets the base-2 reference of every row; a row that saw no key (lse -Inf) gets +Inf, hence P = 0, and its dO, which
// may hold anything, is replaced by zeros.
func (w *backward[T]) leaveOutUnseen(p *queryPanel[T], lse []T) {
	unseen := false
	for j, x := range lse {
		w.ref[j] = T(float64(x) * math.Log2E)
		if math.IsInf(float64(x), -1) {
			w.ref[j], unseen = T(math.Inf(1)), true
		}
	}
	if !unseen {
		return
	}
	copy(w.dOut, p.dOut)
	copy(w.high, p.delta)
	for j, x := range lse {
		if math.IsInf(float64(x), -1) {
			clear(w.dOut[j*w.ValueDim:][:w.ValueDim])
			w.high[j] = 0
		}
	}
	p.dOut, p.delta = w.dOut[:len(p.dOut)], w.high[:p.n]
}

// addTile does the five products of one tile.
func (w *backward[T]) addTile(t tile, kind tileKind, p *queryPanel[T]) {
	d, dv, n := w.Dim, w.ValueDim, t.queries
	k, v := w.k[t.col*d:], w.v[t.col*dv:]
	probs, ds := w.scores[:t.keys*n], w.dProbs[:t.keys*n]

	tileNN(probs, n, k, d, w.qT, n, t.keys, n, d, false)
	expSub(probs, w.ref[:n], n, w.sum[:n])
	tileNN(ds, n, v, dv, w.dOutT, n, t.keys, n, dv, false)
	subMul(ds, probs, p.delta, n, T(w.Scale))

	if kind == tilePartial {
		hide(w.geometry, probs, t, 0)
		hide(w.geometry, ds, t, 0)
		if !(w.finite(k, t.keys, d) && w.finite(p.q, n, d) && w.finite(p.dOut, n, dv)) {
			visibleProduct[T]{w.geometry, t, probs}.addToKeys(w.dv[t.col*dv:], p.dOut, dv)
			visibleProduct[T]{w.geometry, t, ds}.addToKeys(w.dk[t.col*d:], p.q, d)
			visibleProduct[T]{w.geometry, t, ds}.addToQueries(p.dq, k, d)
			return
		}
	}
	tileNN(w.dv[t.col*dv:], dv, probs, n, p.dOut, dv, t.keys, dv, n, true)
	tileNN(w.dk[t.col*d:], d, ds, n, p.q, d, t.keys, d, n, true)
	tileTN(p.dq, d, ds, n, k, d, n, d, t.keys, true)
}
