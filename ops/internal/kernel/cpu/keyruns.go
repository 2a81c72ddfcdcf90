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

// sharedQueries is the dQ that several runs add to. Each has a copy of its own; a single run adds panel by panel instead.
type sharedQueries[T kernel.Float] struct {
	dq          []T
	fresh       bool        // dQ is overwritten
	numbers     *scratch[T] // factors and one
	factors     []T         // [runs], all the softmax scale, which the sums dS·K and dSᵀ·Q take at the end
	valueFactor []T         // [1], what the sums Pᵀ·dO take at the end
	copies      *scratch[T] // [runs, len(dq)]; nil for one run
}

func shareQueries[T kernel.Float](g kernel.Gradients[T], runs int, scale, valueFactor T) sharedQueries[T] {
	s := sharedQueries[T]{dq: g.DQ, fresh: g.Fresh, numbers: borrow[T](runs + 1)}
	s.factors, s.valueFactor = s.numbers.data[:runs], s.numbers.data[runs:]
	if runs > 1 {
		s.copies = borrow[T](runs * len(g.DQ))
	}
	setAll(s.factors, scale)
	s.valueFactor[0] = valueFactor
	return s
}

func (s sharedQueries[T]) giveBack() {
	s.numbers.giveBack()
	if s.copies != nil {
		s.copies.giveBack()
	}
}

// start returns zeros where the sums of a run for the panel at element at belong: in its copy, or in panel if there are none.
func (s sharedQueries[T]) start(run, at int, panel []T) []T {
	if s.copies != nil {
		panel = s.copies.data[run*len(s.dq)+at:][:len(panel)]
	}
	clear(panel)
	return panel
}

// finish takes over a panel that was summed outside of the copies, if anything was.
func (s sharedQueries[T]) finish(at int, panel []T, some bool) {
	switch dq := s.dq[at:][:len(panel)]; {
	case s.copies != nil:
	case some:
		addTo(dq, s.factors, panel, s.fresh)
	case s.fresh:
		clear(dq)
	}
}

// addCopies adds the copies to dQ, in the order of their runs.
func (s sharedQueries[T]) addCopies() {
	if s.copies == nil {
		return
	}
	const chunk = 1 << 13
	spread(len(s.copies.data)*copyWork, ceilDiv(len(s.dq), chunk), func(i int) {
		from := i * chunk
		n := min(chunk, len(s.dq)-from)
		tileNN(s.dq[from:], n, s.factors, len(s.factors), s.copies.data[from:], len(s.dq), 1, n, len(s.factors), !s.fresh)
	})
}

// addTo adds factor[0]·src to dst, or sets a fresh dst to it.
func addTo[T kernel.Float](dst, factor, src []T, fresh bool) {
	tileNN(dst, len(dst), factor, 1, src, len(src), 1, len(dst), 1, !fresh)
}
