package ops

import "math"

// exp32 is e^x to 0.6 units in the last place. It computes 2^(x·log2 e) = 2^k·2^r, |r| <= 1/2, in float64, where scalar code
// is as fast as in float32 and neither the argument's reduction nor the polynomial's rounding costs a thought.
func exp32(x float32) float32 {
	// Beyond these bounds the result is +Inf or 0 in float32 and still a plain number in float64.
	if x > 89 {
		x = 89
	} else if x < -105 {
		x = -105
	}
	// Adding 1.5·2^52 rounds to the nearest integer, which then stands in the low bits.
	const shift = 0x1.8p52
	t := float64(x) * math.Log2E
	k := t + shift
	r := t - (k - shift)
	scale := math.Float64frombits((math.Float64bits(k) + 1023) << 52)
	return float32(scale * exp2Poly(r))
}

// exp2Poly is the Taylor polynomial of degree 7 of 2^r; for |r| <= 1/2 it is right to 8e-9 of the value.
func exp2Poly(r float64) float64 {
	const (
		c1 = math.Ln2
		c2 = c1 * math.Ln2 / 2
		c3 = c2 * math.Ln2 / 3
		c4 = c3 * math.Ln2 / 4
		c5 = c4 * math.Ln2 / 5
		c6 = c5 * math.Ln2 / 6
		c7 = c6 * math.Ln2 / 7
	)
	r2 := r * r
	return (1 + c1*r) + r2*((c2+c3*r)+r2*((c4+c5*r)+r2*(c6+c7*r)))
}

// sigmoids writes 1/(1+e^-x) of every x. dst may be x.
func sigmoids[T Float](dst, x []T) {
	switch x := any(x).(type) {
	case []float32:
		dst := any(dst).([]float32)[:len(x)]
		for i, v := range x {
			dst[i] = 1 / (1 + exp32(-v))
		}
	case []float64:
		dst := any(dst).([]float64)[:len(x)]
		for i, v := range x {
			dst[i] = 1 / (1 + math.Exp(-v))
		}
	}
}

// expSum replaces every x by e^(x-shift) and returns their sum, in float64 and in order.
func expSum[T Float](x []T, shift T) float64 {
	sum := 0.0
	switch x := any(x).(type) {
	case []float32:
		s := float32(shift)
		for i, v := range x {
			e := exp32(v - s)
			x[i] = e
			sum += float64(e)
		}
	case []float64:
		s := float64(shift)
		for i, v := range x {
			e := math.Exp(v - s)
			x[i] = e
			sum += e
		}
	}
	return sum
}
