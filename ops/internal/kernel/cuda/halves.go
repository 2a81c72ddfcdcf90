package cuda

import (
	"math"
	"unsafe"
)

// narrow rounds to a 16-bit format, to nearest even.
func narrow(dst []uint16, src []float32, f Format) {
	round := toBFloat16
	if f == Float16 {
		round = toFloat16
	}
	for i, x := range src {
		dst[i] = round(x)
	}
}

func toBFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	if x != x {
		return uint16(b>>16) | 0x40 // stays a NaN
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// toFloat16 has the bits of float32 as 0x3f000000 for 1/2, in whose binade numbers lie as far apart as the denormals of float16, and
// 0x38000000 for the difference of the two formats' exponents.
func toFloat16(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case x != x:
		return sign | 0x7e00
	case b >= 0x477ff000: // 65520, halfway to the next number there would be
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	return sign | uint16((b-0x38000000+0xfff+b>>13&1)>>13)
}

// uint16s is the memory of x as 16-bit elements.
func uint16s(x []float32) []uint16 {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*uint16)(unsafe.Pointer(&x[0])), 2*len(x))
}

// floats is memory as float32; it begins at a multiple of 4.
func floats(b []byte) []float32 {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), len(b)/4)
}
