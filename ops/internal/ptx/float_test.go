package ptx

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// exactly evaluates an expression in high precision and rounds once to float32, the independent reference of the
// arithmetic opcodes. The operands must be finite.
func exactly(f func(a, b, c *big.Float) *big.Float, a, b, c float32) float32 {
	wide := func(x float32) *big.Float { return new(big.Float).SetPrec(1000).SetFloat64(float64(x)) }
	r, _ := f(wide(a), wide(b), wide(c)).Float32()
	return r
}

func finite(xs ...float32) bool {
	for _, x := range xs {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return false
		}
	}
	return true
}

// rounded is the row of an f32 opcode; special gives the result when an operand is not finite or the result is zero.
func rounded(text string, ftz bool, f func(a, b, c *big.Float) *big.Float, special func(a, b, c float64) float64) row {
	return row{text, func(a, b, c uint64) uint64 {
		x, y, z := uint32(a), uint32(b), uint32(c)
		if ftz {
			x, y, z = flushed(x), flushed(y), flushed(z)
		}
		p, q, s := math.Float32frombits(x), math.Float32frombits(y), math.Float32frombits(z)
		out := math.Float32bits(float32(special(float64(p), float64(q), float64(s))))
		if finite(p, q, s) {
			if exact := exactly(f, p, q, s); exact != 0 {
				out = math.Float32bits(exact)
			}
		}
		if ftz {
			out = flushed(out)
		}
		return uint64(out)
	}}
}

func flushed(u uint32) uint32 {
	if x := math.Float32frombits(u); math.Abs(float64(x)) < 0x1p-126 {
		return u >> 31 << 31
	}
	return u
}

func TestFloatArithmeticRoundsOnce(t *testing.T) {
	add := func(a, b, _ *big.Float) *big.Float { return new(big.Float).Add(a, b) }
	sub := func(a, b, _ *big.Float) *big.Float { return new(big.Float).Sub(a, b) }
	mul := func(a, b, _ *big.Float) *big.Float { return new(big.Float).Mul(a, b) }
	fma := func(a, b, c *big.Float) *big.Float { return new(big.Float).Add(new(big.Float).Mul(a, b), c) }
	sum := func(a, b, _ float64) float64 { return a + b }
	var rows []row
	for _, m := range []string{"", ".ftz"} {
		ftz := m != ""
		rows = append(rows,
			rounded("add"+m+".f32 %r8, %r4, %r5;", ftz, add, sum),
			rounded("add.rn"+m+".f32 %r8, %r4, %r5;", ftz, add, sum),
			rounded("sub"+m+".f32 %r8, %r4, %r5;", ftz, sub, func(a, b, _ float64) float64 { return a - b }),
			rounded("mul"+m+".f32 %r8, %r4, %r5;", ftz, mul, func(a, b, _ float64) float64 { return a * b }),
			rounded("fma.rn"+m+".f32 %r8, %r4, %r5, %r6;", ftz, fma, func(a, b, c float64) float64 { return a*b + c }))
	}
	// An operand that the instruction does not read must not make a row special.
	inputs := floats()
	for i := range inputs {
		if x := inputs[i][2]; !finite(f32(uint32(x))) && i%3 != 0 {
			inputs[i][2] = 0
		}
	}
	checkRows(t, rows, inputs, sameFloat)
}

func TestFMAHasNoDoubleRounding(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	ties := 0
	for range 2_000_000 {
		// a*b + c near a tie of float32: c = 1 + ulp/2 pattern with a tiny product that decides it.
		a := math.Float32frombits(0x3f800000 | r.Uint32()&0x7fffff)
		b := float32(math.Ldexp(1+float64(r.Uint32()&0xfff)/4096, -24-r.IntN(30)))
		c := math.Float32frombits(0x3f800000 | r.Uint32()&0x7fffff)
		if r.IntN(2) == 0 {
			b = -b
		}
		if r.IntN(8) == 0 {
			a, b, c = a*0x1p-100, b*0x1p-20, c*0x1p-130
		}
		got := fma(a, b, c)
		if naive := float32(float64(a)*float64(b) + float64(c)); naive == got && r.IntN(64) != 0 {
			continue
		}
		ties++
		want := exactly(func(a, b, c *big.Float) *big.Float { return a.Add(a.Mul(a, b), c) }, a, b, c)
		if got != want {
			t.Fatalf("fma(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	}
	if ties < 1000 {
		t.Errorf("only %d cases were compared", ties)
	}
}

func TestFMAAgainstHardTies(t *testing.T) {
	for _, c := range [][3]float32{
		{1 + 0x1p-23, 1 + 0x1p-23, 0x1p-60}, {0x1.fffffep0, 0x1.000002p-24, 1}, {0x1p-12, 0x1p-12, 1 + 0x1p-23},
		{0x1.000002p-12, 0x1.fffffep-13, 1}, {0x1p-75, 0x1p-75, 0x1p-126}, {0x1.8p-75, 0x1p-75, 0x1p-149}, {-0x1p-75, 0x1p-76, 0x1p-149},
		{0x1.fffffep63, 0x1p64, 0x1p103}, {0x1.fffffep63, 0x1p64, -0x1p103},
	} {
		got := fma(c[0], c[1], c[2])
		want := exactly(func(a, b, c *big.Float) *big.Float { return a.Add(a.Mul(a, b), c) }, c[0], c[1], c[2])
		if got != want {
			t.Errorf("fma(%x, %x, %x) = %x, want %x", c[0], c[1], c[2], got, want)
		}
	}
}

func TestFMASeesWhichSideOfATieTheSumIs(t *testing.T) {
	// The products are a power of two, less or more a part that float64 cannot hold beside c: their sums with c, whose
	// last bit is odd or even, lie at either side of a tie.
	check := func(a, b, c float32) {
		want := exactly(func(a, b, c *big.Float) *big.Float { return a.Add(a.Mul(a, b), c) }, a, b, c)
		if got := fma(a, b, c); got != want {
			t.Errorf("fma(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	}
	below := [2]float32{1 + 0x1p-23, 1 - 0x1p-23}           // 1 - 2^-46
	above := [2]float32{1 + 0x1p-11, 1 - 0x1p-11 + 0x1p-22} // 1 + 2^-33
	for _, f := range [][2]float32{below, above} {
		for _, c := range []float32{1, 1 + 0x1p-23, 1.5, 1.5 + 0x1p-23} {
			for _, scale := range []float32{1, 0x1p-60, 0x1p60, -0x1p-90} {
				for _, sign := range []float32{1, -1} {
					check(f[0]*0x1p-75, f[1]*0x1p-75*sign, 0x1p-127+(c-1)*0x1p-126) // denormal sums: ties at 2^-150
					a, b, c := f[0]*scale, f[1]*0x1p-24*sign, c*scale
					check(a, b, c)
				}
			}
		}
	}
}

func TestMinMaxTreatNaNAndZeros(t *testing.T) {
	f := func(v uint64) float64 { return float64(f32(uint32(v))) }
	bits := func(x float64) uint64 { return uint64(math.Float32bits(float32(x))) }
	number := func(op func(x, y float64) float64) func(a, b, _ uint64) uint64 {
		return func(a, b, _ uint64) uint64 {
			switch x, y := f(a), f(b); {
			case math.IsNaN(x) && math.IsNaN(y):
				return 0x7fffffff
			case math.IsNaN(x):
				return low(b, 32)
			case math.IsNaN(y):
				return low(a, 32)
			default:
				return bits(op(x, y)) // math.Max and math.Min order the zeros
			}
		}
	}
	nan := func(op func(x, y float64) float64) func(a, b, _ uint64) uint64 {
		return func(a, b, _ uint64) uint64 {
			if math.IsNaN(f(a)) || math.IsNaN(f(b)) {
				return 0x7fffffff
			}
			return bits(op(f(a), f(b)))
		}
	}
	checkRows(t, []row{
		{"max.f32 %r8, %r4, %r5;", number(math.Max)},
		{"min.f32 %r8, %r4, %r5;", number(math.Min)},
		{"max.NaN.f32 %r8, %r4, %r5;", nan(math.Max)},
		{"min.NaN.f32 %r8, %r4, %r5;", nan(math.Min)},
		{"max.ftz.f32 %r8, %r4, %r5;", func(a, b, c uint64) uint64 {
			return number(math.Max)(uint64(flushed(uint32(a))), uint64(flushed(uint32(b))), c)
		}},
		{"min.ftz.f32 %r8, %r4, %r5;", func(a, b, c uint64) uint64 {
			return number(math.Min)(uint64(flushed(uint32(a))), uint64(flushed(uint32(b))), c)
		}},
		{"abs.ftz.f32 %r8, %r4;", func(a, _, _ uint64) uint64 { return low(uint64(flushed(uint32(a))), 31) }},
		{"neg.ftz.f32 %r8, %r4;", func(a, _, _ uint64) uint64 { return uint64(flushed(uint32(a))) ^ 1<<31 }},
		{"abs.f32 %r8, %r4;", func(a, _, _ uint64) uint64 { return low(a, 31) }},
		{"neg.f32 %r8, %r4;", func(a, _, _ uint64) uint64 { return low(a, 32) ^ 1<<31 }},
		{"copysign.f32 %r8, %r4, %r5;", func(a, b, _ uint64) uint64 { return low(b, 31) | a&(1<<31) }},
	}, floats(), func(got, want uint64) bool {
		return sameFloat(got, want) && (got == want || want != 0x7fffffff)
	})
}

func TestApproximationsAreCloseAndFlush(t *testing.T) {
	near := func(got, want uint64) bool {
		a, b := float64(f32(uint32(got))), float64(f32(uint32(want)))
		return math.Abs(a-b) <= 1e-6*math.Abs(b) || sameFloat(got, want)
	}
	unary := func(f func(float64) float64, ftz bool) func(a, _, _ uint64) uint64 {
		return func(a, _, _ uint64) uint64 {
			in := uint32(a)
			if ftz {
				in = flushed(in)
			}
			out := math.Float32bits(float32(f(float64(math.Float32frombits(in)))))
			if ftz {
				out = flushed(out)
			}
			return uint64(out)
		}
	}
	inverse := func(x float64) float64 { return 1 / x }
	div := func(ftz bool) func(a, b, _ uint64) uint64 {
		return func(a, b, _ uint64) uint64 {
			x, y := uint32(a), uint32(b)
			if ftz {
				x, y = flushed(x), flushed(y)
			}
			out := math.Float32bits(float32(float64(f32(x)) / float64(f32(y))))
			if ftz {
				out = flushed(out)
			}
			return uint64(out)
		}
	}
	checkRows(t, []row{
		{"ex2.approx.ftz.f32 %r8, %r4;", unary(math.Exp2, true)},
		{"ex2.approx.f32 %r8, %r4;", unary(math.Exp2, false)},
		{"lg2.approx.ftz.f32 %r8, %r4;", unary(math.Log2, true)},
		{"rcp.approx.ftz.f32 %r8, %r4;", unary(inverse, true)},
		{"rcp.rn.f32 %r8, %r4;", unary(inverse, false)},
		{"sqrt.rn.ftz.f32 %r8, %r4;", unary(math.Sqrt, true)},
		{"rsqrt.approx.ftz.f32 %r8, %r4;", unary(func(x float64) float64 { return 1 / math.Sqrt(x) }, true)},
		{"tanh.approx.f32 %r8, %r4;", unary(math.Tanh, false)},
		{"div.rn.f32 %r8, %r4, %r5;", div(false)},
		{"div.full.ftz.f32 %r8, %r4, %r5;", div(true)},
		{"div.approx.ftz.f32 %r8, %r4, %r5;", div(true)},
	}, floats(), near)
}

func TestTestpClassifies(t *testing.T) {
	property := func(f func(x float64) bool) func(a, _, _ uint64) uint64 {
		return func(a, _, _ uint64) uint64 {
			if f(float64(f32(uint32(a)))) {
				return 1
			}
			return 0
		}
	}
	tiny := func(x float64) bool { return x != 0 && math.Abs(x) < 0x1p-126 }
	checkRows(t, []row{
		{"testp.finite.f32 %p1, %r4;", property(func(x float64) bool { return !math.IsInf(x, 0) && x == x })},
		{"testp.infinite.f32 %p1, %r4;", property(func(x float64) bool { return math.IsInf(x, 0) })},
		{"testp.number.f32 %p1, %r4;", property(func(x float64) bool { return x == x })},
		{"testp.notanumber.f32 %p1, %r4;", property(math.IsNaN)},
		{"testp.normal.f32 %p1, %r4;", property(func(x float64) bool { return x == x && x != 0 && !math.IsInf(x, 0) && !tiny(x) })},
		{"testp.subnormal.f32 %p1, %r4;", property(tiny)},
	}, floats(), nil)
}
