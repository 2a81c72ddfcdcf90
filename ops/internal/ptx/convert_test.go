package ptx

import (
	"fmt"
	"math"
	"math/big"
	"testing"
)

func TestConvertBetweenIntegers(t *testing.T) {
	var rows []row
	for _, to := range []int{8, 16, 32, 64} {
		for _, from := range []int{8, 16, 32, 64} {
			for _, sign := range []bool{false, true} {
				c := "u"
				if sign {
					c = "s"
				}
				dst, src := max(to, 16), max(from, 16)
				rows = append(rows, row{
					fmt.Sprintf("cvt.%s%d.%s%d %s, %s;", c, to, c, from, reg(dst, 8), reg(src, 4)),
					func(a, _, _ uint64) uint64 {
						v := low(a, from)
						if sign {
							v = uint64(signed(a, from))
						}
						v = low(v, to)
						if sign {
							v = uint64(signed(v, to))
						}
						return low(v, dst)
					},
				})
			}
		}
	}
	rows = append(rows,
		row{"cvt.u64.u32 %rd8, %r4;", func(a, _, _ uint64) uint64 { return low(a, 32) }},
		row{"cvt.s64.s32 %rd8, %r4;", func(a, _, _ uint64) uint64 { return uint64(signed(a, 32)) }},
		row{"cvt.s16.s8 %rs8, %r4;", func(a, _, _ uint64) uint64 { return low(uint64(signed(a, 8)), 16) }},
		row{"cvt.u32.u8 %r8, %r4;", func(a, _, _ uint64) uint64 { return low(a, 8) }},
		row{"cvt.s32.s8 %r8, %rd4;", func(a, _, _ uint64) uint64 { return low(uint64(signed(a, 8)), 32) }},
		row{"cvt.sat.s32.s64 %r8, %rd4;", func(a, _, _ uint64) uint64 {
			return low(uint64(max(math.MinInt32, min(int64(a), math.MaxInt32))), 32)
		}},
		row{"cvt.sat.u64.s64 %rd8, %rd4;", func(a, _, _ uint64) uint64 { return uint64(max(0, int64(a))) }},
		row{"cvt.sat.s64.u64 %rd8, %rd4;", func(a, _, _ uint64) uint64 { return min(a, math.MaxInt64) }},
		row{"cvt.sat.u32.u64 %r8, %rd4;", func(a, _, _ uint64) uint64 { return min(a, math.MaxUint32) }},
		row{"cvt.sat.u8.s32 %r8, %r4;", func(a, _, _ uint64) uint64 { return uint64(max(0, min(signed(a, 32), 255))) }})
	checkRows(t, rows, integers(), nil)
}

// clamped is the integer nearest to x inside [lo, hi]; a NaN gives zero.
func clamped(x float64, n int, sign bool) uint64 {
	if x != x {
		return 0
	}
	lo, hi := new(big.Float), new(big.Float).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(n)))
	if sign {
		hi.Quo(hi, big.NewFloat(2))
		lo.Neg(hi)
	}
	hi.Sub(hi, big.NewFloat(1))
	v := new(big.Float).SetPrec(200).SetFloat64(x)
	if v.Cmp(lo) < 0 {
		v = lo
	}
	if v.Cmp(hi) > 0 {
		v = hi
	}
	i, _ := v.Int(nil)
	return low(new(big.Int).And(i, new(big.Int).SetUint64(math.MaxUint64)).Uint64(), n)
}

func TestConvertFloatToInteger(t *testing.T) {
	var rows []row
	for name, round := range map[string]func(float64) float64{"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil} {
		for _, n := range []int{16, 32, 64} {
			rows = append(rows,
				row{fmt.Sprintf("cvt.%s.s%d.f32 %s, %%r4;", name, n, reg(n, 8)), func(a, _, _ uint64) uint64 {
					return clamped(round(float64(f32(uint32(a)))), n, true)
				}},
				row{fmt.Sprintf("cvt.%s.ftz.u%d.f32 %s, %%r4;", name, n, reg(n, 8)), func(a, _, _ uint64) uint64 {
					return clamped(round(float64(f32(flushed(uint32(a))))), n, false)
				}})
		}
		rows = append(rows, row{"cvt." + name + ".f32.f32 %r8, %r4;", func(a, _, _ uint64) uint64 {
			return uint64(math.Float32bits(float32(round(float64(f32(uint32(a)))))))
		}})
	}
	checkRows(t, rows, floats(), func(got, want uint64) bool { return want>>31 != 0 && sameFloat(got, want) })
}

func TestConvertIntegerToFloat(t *testing.T) {
	exact := func(x *big.Int) uint64 {
		f, _ := new(big.Float).SetPrec(200).SetInt(x).Float32()
		return uint64(math.Float32bits(f))
	}
	var rows []row
	for _, n := range []int{16, 32, 64} {
		rows = append(rows,
			row{fmt.Sprintf("cvt.rn.f32.s%d %%r8, %s;", n, reg(n, 4)), func(a, _, _ uint64) uint64 { return exact(big.NewInt(signed(a, n))) }},
			row{fmt.Sprintf("cvt.rn.f32.u%d %%r8, %s;", n, reg(n, 4)), func(a, _, _ uint64) uint64 { return exact(new(big.Int).SetUint64(low(a, n))) }})
	}
	checkRows(t, rows, integers(), nil)
}

// halfFormat is a 16-bit format of the reference: mantissa bits and exponent bias.
type halfFormat struct{ mantissa, bias int }

var (
	binary16 = halfFormat{10, 15}
	bfloat16 = halfFormat{7, 127}
)

// value decodes by the definition of the format.
func (h halfFormat) value(u uint64) float64 {
	width := 15 - h.mantissa
	e, frac := int(u>>h.mantissa)&(1<<width-1), float64(u&(1<<h.mantissa-1))
	sign := 1.0
	if u>>15&1 != 0 {
		sign = -1
	}
	switch {
	case e == 1<<width-1 && frac != 0:
		return math.NaN()
	case e == 1<<width-1:
		return sign * math.Inf(1)
	case e == 0:
		return sign * math.Ldexp(frac, 1-h.bias-h.mantissa)
	}
	return sign * math.Ldexp(1+frac/float64(int(1)<<h.mantissa), e-h.bias)
}

// nearest encodes by scaling to the unit in the last place and rounding to even.
func (h halfFormat) nearest(x float64) uint64 { return h.encode(x, math.RoundToEven) }

func (h halfFormat) encode(x float64, round func(float64) float64) uint64 {
	sign := uint64(0)
	if math.Signbit(x) {
		sign = 1 << 15
	}
	top := uint64(1)<<15 - 1<<h.mantissa // infinity
	switch {
	case x != x:
		return 0x7fff
	case x == 0:
		return sign
	case math.IsInf(x, 0):
		return sign | top
	}
	_, e := math.Frexp(math.Abs(x))
	ulp := max(e-1, 1-h.bias) - h.mantissa
	steps := uint64(round(math.Ldexp(math.Abs(x), -ulp)))
	// Steps count from the start of the binade; the encoding is contiguous over binades.
	encoded := steps
	if exponent := ulp + h.mantissa + h.bias; steps >= 1<<h.mantissa {
		encoded = steps - 1<<h.mantissa + uint64(exponent)<<h.mantissa
	}
	if encoded >= top {
		if round(0.9) == 0 {
			return sign | (top - 1)
		}
		return sign | top
	}
	return sign | encoded
}

func sameHalf(h halfFormat) func(got, want uint64) bool {
	return func(got, want uint64) bool { return math.IsNaN(h.value(got)) && math.IsNaN(h.value(want)) }
}

func TestConvertToHalf(t *testing.T) {
	f := func(a uint64) float64 { return float64(f32(uint32(a))) }
	relu := func(x float64) float64 {
		if x < 0 {
			return 0
		}
		return x
	}
	for name, h := range map[string]halfFormat{"f16": binary16, "bf16": bfloat16} {
		checkRows(t, []row{
			{"cvt.rn." + name + ".f32 %rs8, %r4;", func(a, _, _ uint64) uint64 { return h.nearest(f(a)) }},
			{"cvt.rz." + name + ".f32 %rs8, %r4;", func(a, _, _ uint64) uint64 { return h.encode(f(a), math.Trunc) }},
			{"cvt.rn.relu." + name + ".f32 %rs8, %r4;", func(a, _, _ uint64) uint64 { return h.nearest(relu(f(a))) }},
		}, floats(), sameHalf(h))
		checkRows(t, []row{
			{"cvt.rn." + name + "x2.f32 %r8, %r4, %r5;", func(a, b, _ uint64) uint64 { return h.nearest(f(a))<<16 | h.nearest(f(b)) }},
		}, floats(), func(got, want uint64) bool {
			same := sameHalf(h)
			return (got>>16 == want>>16 || same(got>>16, want>>16)) && (low(got, 16) == low(want, 16) || same(low(got, 16), low(want, 16)))
		})
	}
}

func TestEveryHalfWidensExactlyAndComesBack(t *testing.T) {
	for u := range uint64(1 << 16) {
		for _, c := range []struct {
			h      halfFormat
			widen  func(uint32) float32
			narrow func(float32) uint32
		}{{binary16, fromF16, toF16}, {bfloat16, fromBF16, toBF16}} {
			want := c.h.value(u)
			got := c.widen(uint32(u))
			if float64(got) != want && want == want {
				t.Fatalf("%#x widens to %g, want %g", u, got, want)
			}
			if want == want && c.narrow(got) != uint32(u) {
				t.Fatalf("%#x comes back as %#x", u, c.narrow(got))
			}
		}
	}
}

func TestHalfArithmeticRoundsOnce(t *testing.T) {
	for name, h := range map[string]halfFormat{"f16": binary16, "bf16": bfloat16} {
		v := func(u uint64) *big.Float { return new(big.Float).SetPrec(600).SetFloat64(h.value(low(u, 16))) }
		ok := func(u ...uint64) bool {
			for _, x := range u {
				if math.IsNaN(h.value(low(x, 16))) || math.IsInf(h.value(low(x, 16)), 0) {
					return false
				}
			}
			return true
		}
		// odd rounds to 60 bits with a sticky last bit, which cannot disturb the second rounding.
		odd := func(x *big.Float) float64 {
			f, acc := new(big.Float).SetMode(big.ToZero).SetPrec(40).Set(x).Float64()
			_ = acc
			if back := new(big.Float).SetFloat64(f); back.Cmp(x) != 0 {
				return math.Float64frombits(math.Float64bits(f) | 1)
			}
			return f
		}
		arith := func(f func(x, y, z *big.Float) *big.Float, plain func(x, y, z float64) float64) func(a, b, c uint64) uint64 {
			return func(a, b, c uint64) uint64 {
				if !ok(a, b, c) {
					return h.nearest(plain(h.value(low(a, 16)), h.value(low(b, 16)), h.value(low(c, 16))))
				}
				if x := f(v(a), v(b), v(c)); x.Sign() != 0 {
					return h.nearest(odd(x))
				}
				return h.nearest(plain(h.value(low(a, 16)), h.value(low(b, 16)), h.value(low(c, 16))))
			}
		}
		add := arith(func(x, y, _ *big.Float) *big.Float { return x.Add(x, y) }, func(x, y, _ float64) float64 { return x + y })
		mul := arith(func(x, y, _ *big.Float) *big.Float { return x.Mul(x, y) }, func(x, y, _ float64) float64 { return x * y })
		fma := arith(func(x, y, z *big.Float) *big.Float { return x.Add(x.Mul(x, y), z) }, func(x, y, z float64) float64 { return x*y + z })
		checkRows(t, []row{
			{"add." + name + " %rs8, %rs4, %rs5;", func(a, b, _ uint64) uint64 { return add(a, b, 0) }},
			{"mul." + name + " %rs8, %rs4, %rs5;", func(a, b, _ uint64) uint64 { return mul(a, b, 0) }},
			{"fma.rn." + name + " %rs8, %rs4, %rs5, %rs6;", fma},
			{"neg." + name + " %rs8, %rs4;", func(a, _, _ uint64) uint64 { return low(a, 16) ^ 0x8000 }},
			{"abs." + name + " %rs8, %rs4;", func(a, _, _ uint64) uint64 { return low(a, 15) }},
			{"cvt.f32." + name + " %r8, %rs4;", func(a, _, _ uint64) uint64 { return uint64(math.Float32bits(float32(h.value(low(a, 16))))) }},
		}, integers(), func(got, want uint64) bool { return sameHalf(h)(got, want) || got > 0xffff && sameFloat(got, want) })
		checkRows(t, []row{
			{"fma.rn." + name + "x2 %r8, %r4, %r5, %r6;", func(a, b, c uint64) uint64 {
				return fma(a, b, c) | fma(a>>16, b>>16, c>>16)<<16
			}},
		}, integers(), func(got, want uint64) bool {
			same := sameHalf(h)
			return (got>>16 == want>>16 || same(got>>16, want>>16)) && (low(got, 16) == low(want, 16) || same(low(got, 16), low(want, 16)))
		})
	}
}

func TestHalfFlushesDenormalsWithFtz(t *testing.T) {
	flush := func(u uint64) uint64 {
		if v := binary16.value(low(u, 16)); math.Abs(v) < 0x1p-14 {
			return u & 0x8000
		}
		return low(u, 16)
	}
	value := func(u uint64) float64 { return binary16.value(flush(u)) }
	checkRows(t, []row{
		{"add.ftz.f16 %rs8, %rs4, %rs5;", func(a, b, _ uint64) uint64 { return flush(binary16.nearest(value(a) + value(b))) }},
		{"mul.ftz.f16 %rs8, %rs4, %rs5;", func(a, b, _ uint64) uint64 { return flush(binary16.nearest(value(a) * value(b))) }},
		{"max.ftz.f16 %rs8, %rs4, %rs5;", func(a, b, _ uint64) uint64 {
			switch x, y := value(a), value(b); {
			case math.IsNaN(x) && math.IsNaN(y):
				return 0x7fff
			case math.IsNaN(x):
				return flush(b)
			case math.IsNaN(y):
				return flush(a)
			default:
				return binary16.nearest(math.Max(x, y))
			}
		}},
		{"tanh.approx.f16 %rs8, %rs4;", func(a, _, _ uint64) uint64 {
			return binary16.nearest(float64(float32(math.Tanh(binary16.value(low(a, 16))))))
		}},
	}, integers(), sameHalf(binary16))
}

func TestConvertBetweenFloats(t *testing.T) {
	f := func(a uint64) float64 { return float64(f32(uint32(a))) }
	bits := func(x float64) uint64 { return uint64(math.Float32bits(float32(x))) }
	checkRows(t, []row{
		{"cvt.rna.tf32.f32 %r8, %r4;", func(a, _, _ uint64) uint64 {
			x := f(a)
			if x != x || x == 0 || math.IsInf(x, 0) {
				return low(a, 32)
			}
			_, e := math.Frexp(x)
			ulp := math.Ldexp(1, max(e-1, -126)-10) // 10 bits of mantissa
			return bits(math.Round(x/ulp) * ulp)
		}},
		{"cvt.sat.f32.f32 %r8, %r4;", func(a, _, _ uint64) uint64 {
			if x := f(a); x > 0 {
				return bits(math.Min(x, 1))
			}
			return 0
		}},
		{"cvt.rn.ftz.f16.f32 %rs8, %r4;", func(a, _, _ uint64) uint64 { return binary16.nearest(float64(f32(flushed(uint32(a))))) }},
		{"cvt.rn.f16.s32 %rs8, %r4;", func(a, _, _ uint64) uint64 { return binary16.nearest(float64(float32(int32(a)))) }},
	}, floats(), func(got, want uint64) bool { return sameFloat(got, want) || sameHalf(binary16)(got, want) })
}
