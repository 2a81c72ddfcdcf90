package ptx

import "math"

// fromBF16 widens a bfloat16: it is the upper half of a float32.
func fromBF16(h uint32) float32 { return math.Float32frombits(h << 16) }

// toBF16 rounds to nearest even; a NaN becomes the canonical one.
func toBF16(f float32) uint32 {
	u := math.Float32bits(f)
	if u&0x7fffffff > 0x7f800000 {
		return 0x7fff
	}
	return (u + 0x7fff + u>>16&1) >> 16
}

// fromF16 widens an IEEE half: the exponent is rebiased by a multiplication, which also normalises denormals.
func fromF16(h uint32) float32 {
	sign := h & 0x8000 << 16
	u := math.Float32bits(math.Float32frombits(h&0x7fff<<13) * 0x1p112)
	if h&0x7c00 == 0x7c00 {
		u |= 0x7f800000
	}
	return math.Float32frombits(sign | u)
}

// toF16 rounds to nearest even; a NaN becomes the canonical one.
func toF16(f float32) uint32 {
	u := math.Float32bits(f)
	sign := u >> 16 & 0x8000
	u &= 0x7fffffff
	switch {
	case u > 0x7f800000:
		return 0x7fff
	case u >= 0x477ff000: // 65520 and above round to infinity
		return sign | 0x7c00
	case u < 0x38800000: // below the smallest normal half: a multiple of 2^-24, rounded by an addition in float32
		return sign | math.Float32bits(math.Float32frombits(u)+0.5) - 0x3f000000
	}
	u += 0xfff + u>>13&1
	return sign | (u-0x38000000)>>13
}

// widen and narrow convert one half of the type.
func (t scalar) widen(h uint32) float32 {
	if t.class == bfloatClass {
		return fromBF16(h)
	}
	if t.ftz {
		h = flush16(h)
	}
	return fromF16(h)
}

func (t scalar) narrow(f float32) uint32 {
	if t.class == bfloatClass {
		return toBF16(f)
	}
	if t.ftz {
		return flush16(toF16(f))
	}
	return toF16(f)
}

// flush16 makes a denormal half a zero of its sign.
func flush16(h uint32) uint32 {
	if h&0x7c00 == 0 {
		return h & 0x8000
	}
	return h
}

// perHalf applies f to every element of a register; packed types have two.
func (t scalar) perHalf(f func(shift int) uint32) uint32 {
	out := f(0)
	if t.packed == 2 {
		out |= f(16) << 16
	}
	return out
}

func (t scalar) half1(op func(float32) float32) func(d, a *lanes32) {
	return lift1(func(a uint32) uint32 {
		return t.perHalf(func(s int) uint32 { return t.narrow(op(t.widen(a >> s & 0xffff))) })
	})
}

func (t scalar) half2(op func(a, b float32) float32) func(d, a, b *lanes32) {
	return lift2(func(a, b uint32) uint32 {
		return t.perHalf(func(s int) uint32 {
			return t.narrow(op(t.widen(a>>s&0xffff), t.widen(b>>s&0xffff)))
		})
	})
}

// halfFMA rounds once: the product of two halves is exact in float64, and rounding the sum to odd first keeps the
// final rounding right.
func (t scalar) halfFMA(relu bool) func(d, a, b, c *lanes32) {
	return lift3(func(a, b, c uint32) uint32 {
		return t.perHalf(func(s int) uint32 {
			p := float64(t.widen(a>>s&0xffff)) * float64(t.widen(b>>s&0xffff))
			q := float64(t.widen(c >> s & 0xffff))
			sum := float32Odd(roundToOdd(p, q, p+q))
			if relu && !(sum > 0) && sum == sum {
				sum = 0
			}
			return t.narrow(sum)
		})
	})
}

// float32Odd rounds to float32 with the odd neighbour when inexact.
func float32Odd(x float64) float32 {
	f := float32(x)
	if float64(f) == x || x != x || math.IsInf(float64(f), 0) {
		return f
	}
	u := math.Float32bits(f)
	if u&1 == 1 {
		return f
	}
	if (float64(f) < x) == (x > 0) {
		return math.Float32frombits(u + 1)
	}
	return math.Float32frombits(u - 1)
}
