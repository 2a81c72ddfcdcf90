package meter

import "sync/atomic"

var work atomic.Uint64

// Worked counts floating-point operations that are done, a multiplication and an addition as two: those of matrix products and of
// attention, whose backward counts 2.5 times its forward. Kernels call it every few hundred microseconds of work, on or off.
func Worked(flops int) { work.Add(uint64(flops)) }

// Work is the sum of what was Worked since the process began, over all ranks and threads. Of two readings only the difference means
// something.
func Work() uint64 { return work.Load() }
