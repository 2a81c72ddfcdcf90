package ptx

import (
	"errors"
	"fmt"
	"math/bits"
)

// Fault is an error of the kernel under test: where it was and what was wrong.
type Fault struct {
	Kernel string
	CTA    [3]int
	Thread int // linear index in the CTA; -1 when the fault belongs to no thread
	Line   int // of the PTX text; 0 when the fault belongs to no instruction
	Text   string
	Reason string
}

// Error names kernel, CTA, thread, line and instruction.
func (f *Fault) Error() string {
	s := fmt.Sprintf("ptx: kernel %s, cta (%d,%d,%d)", f.Kernel, f.CTA[0], f.CTA[1], f.CTA[2])
	if f.Thread >= 0 {
		s += fmt.Sprintf(", thread %d", f.Thread)
	}
	if f.Line > 0 {
		s += fmt.Sprintf(", line %d %q", f.Line, f.Text)
	}
	return s + ": " + f.Reason
}

// fail records the first fault of a warp; the run loop stops at it. lane < 0 blames the first lane of the warp.
func (w *warp) fail(lane int, format string, args ...any) {
	if w.c.fault != nil {
		return
	}
	in := &w.c.f.code[w.pc]
	w.c.fault = &Fault{
		Kernel: w.c.f.name, CTA: w.c.id, Thread: w.index*32 + max(lane, 0),
		Line: in.line, Text: in.text, Reason: fmt.Sprintf(format, args...),
	}
}

// failMask blames the lowest lane of a mask.
func (w *warp) failMask(m uint32, format string, args ...any) {
	w.fail(bits.TrailingZeros32(m)&31, format, args...)
}

// IsFault tells whether an error is a fault of the kernel, not of the caller.
func IsFault(err error) bool {
	_, ok := errors.AsType[*Fault](err)
	return ok
}
