// Package meter adds up the time that goes into the parts of a training step, over all ranks of the process. Parts lie inside each
// other: a program of gorgonia runs ops, an op of package ops computes products.
//
//	program   [ op  attention     op           op      ]
//	op          [ ]             [ product ]  [ product ]
//
// It is one for the process, as a profiler is: ops are called by gorgonia, which hands them values and nothing else. Off, which it
// is until Enable, a span costs the look at a flag.
package meter

import (
	"sync/atomic"
	"time"
)

// Part is what time goes into.
type Part int

// The parts.
const (
	Program   Part = iota // a gorgonia program: its ops and what gorgonia does between them
	Op                    // an op of package ops, forward or backward, its matrix products included
	Attention             // an attention op, forward or backward, its waiting for other ranks included
	Product               // a matrix product
	Update                // the optimizer with the norm of the gradients; once for all ranks of a process
	parts
)

var (
	enabled atomic.Bool
	totals  [parts]atomic.Int64 // nanoseconds
)

// Times are sums over all ranks and threads of control, by part.
type Times [parts]time.Duration

// Enable switches the meter on or off. The sums stay.
func Enable(on bool) { enabled.Store(on) }

// Take returns the sums since the last Take and begins anew.
func Take() Times {
	var t Times
	for p := range totals {
		t[p] = time.Duration(totals[p].Swap(0))
	}
	return t
}

// Span is a stretch of time that goes into one part; the zero Span goes nowhere.
type Span struct {
	part  Part
	start time.Time
}

// Start begins a span; use it as defer meter.Start(meter.Product).End().
func Start(p Part) Span {
	if !enabled.Load() {
		return Span{}
	}
	return Span{part: p, start: time.Now()}
}

// End adds the span to its part.
func (s Span) End() {
	if !s.start.IsZero() {
		totals[s.part].Add(int64(time.Since(s.start)))
	}
}
