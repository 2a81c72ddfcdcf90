package cpu

import "math"

// expSteps is the number of parts of an octave that exp32 has in its table.
const expSteps = 32

// exp2Table holds the bits of 2^(j/expSteps).
var exp2Table = func() (table [expSteps]uint64) {
	for j := range table {
		table[j] = math.Float64bits(math.Exp2(float64(j) / expSteps))
	}
	return table
}()

// exp32 is e^x to one unit in the last place (0.51 units off at most). With n = 32k+j the integer nearest to 32·x·log2 e,
// e^x = 2^k · 2^(j/32) · e^r with |r| <= ln 2/64, where a polynomial of degree 3 does. It computes in float64: scalar code is
// as fast as in float32, and neither the reduction of the argument nor the rounding of the polynomial costs a thought.
func exp32(x float32) float32 {
	// Beyond these bounds the result is +Inf or 0 in float32 and still a plain number in float64.
	if x > 89 {
		x = 89
	} else if x < -105 {
		x = -105
	}
	const (
		shift = 0x1.8p52 // added, it rounds to an integer, which then stands in the low bits
		c1    = math.Ln2 / expSteps
		c2    = c1 * c1 / 2
		c3    = c1 * c1 * c1 / 6
	)
	t := float64(x) * (expSteps * math.Log2E)
	k := t + shift
	r := t - (k - shift)
	n := math.Float64bits(k)
	power := math.Float64frombits(exp2Table[n%expSteps] + n/expSteps<<52)
	return float32(power * (1 + r*(c1+r*(c2+r*c3))))
}
