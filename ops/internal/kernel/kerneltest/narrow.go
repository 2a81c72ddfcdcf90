package kerneltest

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// narrow is the type in which a kernel multiplies.
type narrow uint8

const (
	wide     narrow = iota // that of the arrays
	bfloat16               // 8 significant bits, exponents as float32
	float16                // 11 significant bits, 2^-14 to 65504, and multiples of 2^-24
)

// narrowOf asks a Packer what it makes of 1.
func narrowOf[T kernel.Float](k kernel.Attention[T]) narrow {
	p, ok := k.(kernel.Packer[T])
	if !ok {
		return wide
	}
	one := make([]T, p.PackedLen(2))
	p.Pack(one, []T{1, 1})
	if b := rawBytes(one); b[1] == 0x3c {
		return float16
	}
	return bfloat16
}

// epsilon is the unit roundoff.
func (n narrow) epsilon() float64 {
	return [...]float64{wide: epsilon32, bfloat16: 0x1p-9, float16: 0x1p-12}[n]
}

// near is how far results may lie apart that two different orders of work gave.
func (n narrow) near() float64 {
	if n == wide {
		return 1e-5
	}
	return 16 * n.epsilon()
}

// rounded is x as a number of the type, to nearest even.
func rounded[T kernel.Float](n narrow, x T) T {
	fraction, exponent := math.Frexp(float64(x))
	switch n {
	case bfloat16:
		return T(math.Ldexp(math.RoundToEven(fraction*256), exponent-8))
	case float16:
		unit := max(exponent-11, -24)
		y := math.Ldexp(math.RoundToEven(math.Ldexp(float64(x), -unit)), unit)
		if math.Abs(y) > 65504 {
			y *= math.Inf(1)
		}
		return T(y)
	}
	return x
}
