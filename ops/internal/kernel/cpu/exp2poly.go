package cpu

// The minimax polynomial of 2^f on [0,1], least relative error with the
// constant fixed at 1 so that exp2(0) is exactly 1: its error, 2e-9, is far
// below float32's rounding. asm/exp.go holds the same numbers as bits, for AVX2,
// beside shorter ones for AVX-512, whose registers hold a table of sixteenths.
var exp2Poly32 = [...]float32{
	1,
	0.693147044443366555,
	0.240229305551738541,
	0.0554852806201827848,
	0.00967545156521704052,
	0.00124678464507734926,
	0.000216129149695573438,
}
