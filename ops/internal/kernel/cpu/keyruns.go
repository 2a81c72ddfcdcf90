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
	dq     []T
	copies *scratch[T] // [runs, len(dq)]; nil for one run
	runs   int
}

func shareQueries[T kernel.Float](dq []T, runs int) sharedQueries[T] {
	s := sharedQueries[T]{dq: dq, runs: runs}
	if runs > 1 {
		s.copies = borrow[T](runs * len(dq))
	}
	return s
}

func (s sharedQueries[T]) giveBack() {
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

// finish takes over a panel that was summed outside of the copies.
func (s sharedQueries[T]) finish(at int, panel []T) {
	if s.copies == nil {
		addTo(s.dq[at:][:len(panel)], panel)
	}
}

// addCopies adds the copies to dQ, in the order of their runs.
func (s sharedQueries[T]) addCopies() {
	if s.copies == nil {
		return
	}
	const chunk = 1 << 13
	spread(s.runs*len(s.dq)*copyWork, ceilDiv(len(s.dq), chunk), func(i int) {
		from := i * chunk
		n := min(chunk, len(s.dq)-from)
		sumRows(s.dq[from:][:n], s.copies.data[from:], len(s.dq), s.runs)
	})
}

// sumRows adds the given number of rows of x, stride apart, to dst, one after the other.
func sumRows[T kernel.Float](dst, x []T, stride, rows int) {
	tileNN(dst, len(dst), ones[T]()[:rows], rows, x, stride, 1, len(dst), rows, true)
}

// addTo adds src to dst.
func addTo[T kernel.Float](dst, src []T) { sumRows(dst, src, len(dst), 1) }
