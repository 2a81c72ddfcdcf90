package cuda

import (
	"math"
	"math/rand/v2"
	"testing"
)

// value is what 16 bits of a format stand for, by the definition of its fields.
func value(h uint16, f Format) float64 {
	mantissa, bias := 7, 127
	if f == Float16 {
		mantissa, bias = 10, 15
	}
	exponent := int(h&0x7fff) >> mantissa
	fraction := float64(h&(1<<mantissa-1)) / float64(int(1)<<mantissa)
	sign := 1 - 2*float64(h>>15)
	switch {
	case exponent == 0:
		return sign * math.Ldexp(fraction, 1-bias)
	case exponent == 1<<(15-mantissa)-1 && fraction == 0:
		return math.Inf(int(sign))
	case exponent == 1<<(15-mantissa)-1:
		return math.NaN()
	}
	return sign * math.Ldexp(1+fraction, exponent-bias)
}

func narrowed(x float32, f Format) uint16 {
	var h [1]uint16
	narrow(h[:], []float32{x}, f)
	return h[0]
}

func TestNarrowKeepsWhatTheFormatHas(t *testing.T) {
	for _, f := range []Format{BFloat16, Float16} {
		for h := range 1 << 16 {
			x := value(uint16(h), f)
			got := narrowed(float32(x), f)
			if math.IsNaN(x) != math.IsNaN(value(got, f)) || !math.IsNaN(x) && got != uint16(h) {
				t.Fatalf("%v: %#04x is %v and comes back as %#04x", f, h, x, got)
			}
		}
	}
}

func TestNarrowRoundsToTheNearestEven(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, f := range []Format{BFloat16, Float16} {
		top := map[Format]uint16{BFloat16: 0x7f7f, Float16: 0x7bff}[f]
		for h := range top {
			low, high := value(h, f), value(h+1, f)
			half := low + (high-low)/2
			even := h + h&1
			for x, want := range map[float64]uint16{half: even, low + (high-low)*(0.5+r.Float64()/2.01): h + 1, low + (high-low)*r.Float64()/2.01: h} {
				y := float32(x)
				if float64(y) != x && (float64(y) < half) != (x < half) || float64(y) == half {
					want = even // float32 has no such number near
				}
				if got := narrowed(y, f); got != want {
					t.Fatalf("%v: %v between %v and %v becomes %#04x, want %#04x", f, y, low, high, got, want)
				}
				if got := narrowed(-y, f); got != want|0x8000 {
					t.Fatalf("%v: %v becomes %#04x, want %#04x", f, -y, got, want|0x8000)
				}
			}
		}
	}
	for x, want := range map[float32]uint16{65519.9: 0x7bff, 65520: 0x7c00, 1e10: 0x7c00} {
		if got := narrowed(x, Float16); got != want {
			t.Errorf("%v becomes %#04x in float16, want %#04x", x, got, want)
		}
	}
}
