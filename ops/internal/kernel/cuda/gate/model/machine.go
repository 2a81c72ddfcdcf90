// Package model predicts how fast an attention kernel runs on an H200 from the instructions of its main loop. It knows rates of the
// machine, one number fitted to published kernels, and how blocks fill the machine. It is a prediction: no GPU has confirmed it.
package model

// The machine: an H200 or an H100 SXM, which differ in memory alone. Rates are of one SM and one clock.
const (
	SMs = 132
	// Clock is in Hz: what such a card holds under load, give or take a tenth; the fit of Overlap takes up the difference.
	Clock = 1.75e9

	schedulers = 4 // each issues one instruction of a warp

	// WGMMARate are multiply-adds of 16-bit types: 989 TFLOP/s on the data sheet at 1.83 GHz.
	WGMMARate = 2048
	// MMAShare of that is what mma.sync reaches on Hopper according to microbenchmarks; the fit to References asks for no other.
	MMAShare = 0.62

	floatLanes   = 128 // FFMA, FADD, FMUL
	imadLanes    = 64  // the half of those that multiplies integers
	aluLanes     = 64  // integers, logic, compares, minimum and maximum, selects, packing to 16 bits
	specialLanes = 16  // ex2, lg2, rcp, and conversions of integers
	shuffleLanes = 32
	sharedBytes  = 128 // read or written in shared memory

	hbmRate = 4.8e12 // bytes a second of an H200
	// L2Rate is what all SMs together read in L2, bytes a second: at least this much, for FlashAttention-3 reads 5.1e12 at its published
	// speed, and cuDNN 5.5e12 at 702 TFLOP/s on an H200, if its tiles have 128 queries.
	L2Rate = 5.5e12
)

// Overlap says how the three resources of an SM that a turn of a loop needs share its time: cycles = (a^p + b^p + c^p)^(1/p). At 1 they
// follow one another, at infinity they overlap in full. 1.55 fits the ten published kernels of References to 5 % (root mean square), each
// to 11 %, forward and backward, mma and wgmma alike.
const Overlap = 1.55

// alone is the exponent for one warp per scheduler: while it waits for its own tensor instructions it does nothing else.
const alone = 1
