package cpu

import "github.com/ringgrad/ringgrad/ops/internal/kernel"

// keyRun is the keys from..from+n that one task of Backward owns, dK and dV included.
type keyRun struct{ from, n int }

// keyRuns cuts the keys, at multiples of tileKeys, where there are too few KV heads to keep the processors busy. The cut depends on
// the shape alone, so the bits do not depend on the number of threads.
func keyRuns(kvHeads, keys int) []keyRun {
	const enough = 4 // tasks; each run takes a copy of dQ
	tiles := ceilDiv(keys, tileKeys)
	runs := make([]keyRun, min(ceilDiv(enough, kvHeads), tiles))
	for i := range runs {
		from, to := tiles*i/len(runs)*tileKeys, min(tiles*(i+1)/len(runs)*tileKeys, keys)
		runs[i] = keyRun{from, to - from}
	}
	return runs
}

// runSpan is the runs first..end-1, outside of which a panel sees nothing.
type runSpan struct{ first, end int }

// sharedQueries is the dQ that several runs add to. A panel that sees keys of one run is summed beside and added by that run; of a panel
// that sees more every run has a copy, and they are added in the end.
type sharedQueries[T kernel.Float] struct {
	*geometry
	dq          []T
	fresh       bool        // dQ is overwritten
	numbers     *scratch[T] // factors and valueFactor
	factors     []T         // [runs], all the softmax scale, which the sums dS·K and dSᵀ·Q take at the end
	valueFactor []T         // [1], what the sums Pᵀ·dO take at the end
	copies      *scratch[T] // [runs, len(dq)]; nil for one run
}

func shareQueries[T kernel.Float](geo *geometry, g kernel.Gradients[T], runs []keyRun) sharedQueries[T] {
	s := sharedQueries[T]{geometry: geo, dq: g.DQ, fresh: g.Fresh, numbers: borrow[T](len(runs) + 1)}
	s.factors, s.valueFactor = s.numbers.data[:len(runs)], s.numbers.data[len(runs):]
	if len(runs) > 1 {
		s.copies = borrow[T](len(runs) * len(g.DQ))
	}
	kept := geo.Dropout.Scale()
	setAll(s.factors, T(geo.Scale*kept))
	s.valueFactor[0] = T(kept)
	geo.runs = geo.runs[:0]
	for panel := range geo.panels {
		span := runSpan{len(runs), 0}
		for i, r := range runs {
			if from, to := geo.sight(panel, r.from, r.from+r.n); from < to {
				span = runSpan{min(span.first, i), i + 1}
			}
		}
		geo.runs = append(geo.runs, span)
	}
	return s
}

func (s sharedQueries[T]) giveBack() {
	s.numbers.giveBack()
	if s.copies != nil {
		s.copies.giveBack()
	}
}

// place is where a panel of a head lies in dQ: its first element, and how many there are.
func (s sharedQueries[T]) place(head, panel int) (at, n int) {
	row := panel * panelRows
	return (head*len(s.rows) + row) * s.Dim, min(panelRows, len(s.rows)-row) * s.Dim
}

// start returns zeros where the sums of a run for a panel belong: in its copy, or in beside; nil for a panel that sees nothing of the run.
func (s sharedQueries[T]) start(run, head, panel int, beside []T) []T {
	span := s.runs[panel]
	if run < span.first || run >= span.end {
		return nil
	}
	at, n := s.place(head, panel)
	sums := beside[:n]
	if span.end-span.first > 1 {
		sums = s.copies.data[run*len(s.dq)+at:][:n]
	}
	clear(sums)
	return sums
}

// finish takes over what start returned, if it was beside.
func (s sharedQueries[T]) finish(head, panel int, sums []T) {
	if span := s.runs[panel]; sums != nil && span.end-span.first == 1 {
		at, n := s.place(head, panel)
		addTo(s.dq[at:][:n], s.factors, sums, s.fresh)
	}
}

// addCopies adds the copies to dQ, in the order of their runs, and clears what is fresh and was seen by none.
func (s sharedQueries[T]) addCopies() {
	spread(len(s.dq)*copyWork, s.Heads*s.panels, func(task int) {
		head, panel := task/s.panels, task%s.panels
		at, n := s.place(head, panel)
		span := s.runs[panel]
		switch runs := span.end - span.first; {
		case runs > 1:
			tileNN(s.dq[at:], n, s.factors, len(s.factors), s.copies.data[span.first*len(s.dq)+at:], len(s.dq), 1, n, runs, !s.fresh)
		case runs < 1 && s.fresh:
			clear(s.dq[at:][:n])
		}
	})
}

// addTo adds factor[0]·src to dst, or sets a fresh dst to it.
func addTo[T kernel.Float](dst, factor, src []T, fresh bool) {
	tileNN(dst, len(dst), factor, 1, src, len(src), 1, len(dst), 1, !fresh)
}
