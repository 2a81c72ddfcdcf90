package ptx

import (
	"math"
	"slices"
)

// floatDecoders are the opcodes that exist for floating point only.
var floatDecoders = map[string]func(*decoder){
	"fma": decodeFMA, "rcp": approximate(func(x float64) float64 { return 1 / x }),
	"sqrt": approximate(math.Sqrt), "rsqrt": approximate(func(x float64) float64 { return 1 / math.Sqrt(x) }),
	"ex2": decodeExp2, "lg2": approximate(math.Log2), "tanh": approximate(math.Tanh),
	"sin": approximate(math.Sin), "cos": approximate(math.Cos), "copysign": decodeCopysign, "testp": decodeTest,
}

// flush is .ftz: a denormal becomes a zero of the same sign.
func flush(u uint32) uint32 {
	if u&0x7f800000 == 0 {
		return u & 0x80000000
	}
	return u
}

func f32(u uint32) float32 { return math.Float32frombits(u) }

func bits32(f float32) uint32 { return math.Float32bits(f) }

// rounding consumes the rounding modifier; only round-to-nearest is modelled for arithmetic.
func (d *decoder) rounding() {
	d.take("rn")
}

// float2 decodes a two-operand operation: half precision is computed in float32 and rounded once, which is exact for
// +, - and * because 2*11+2 <= 24.
func (d *decoder) float2(t scalar, op32 func(a, b float32) float32, plain, ftz func(d, a, b *lanes32)) {
	flushed := d.take("ftz")
	t.ftz = flushed
	if !d.arity(3, 3) {
		return
	}
	bits := t.width()
	dst, a, b := d.dst(d.arg(0), bits), d.src(d.arg(1), bits), d.src(d.arg(2), bits)
	switch {
	case t.isHalf():
		d.in.exec = binary32(dst, a, b, t.half2(op32))
	case flushed:
		d.in.exec = binary32(dst, a, b, ftz)
	default:
		d.in.exec = binary32(dst, a, b, plain)
	}
}

func floatAdd(d *decoder, t scalar) {
	d.rounding()
	d.float2(t, func(a, b float32) float32 { return a + b },
		func(d, a, b *lanes32) {
			for l := range d {
				d[l] = bits32(f32(a[l]) + f32(b[l]))
			}
		},
		func(d, a, b *lanes32) {
			for l := range d {
				d[l] = flush(bits32(f32(flush(a[l])) + f32(flush(b[l]))))
			}
		})
}

func floatSub(d *decoder, t scalar) {
	d.rounding()
	d.float2(t, func(a, b float32) float32 { return a - b },
		func(d, a, b *lanes32) {
			for l := range d {
				d[l] = bits32(f32(a[l]) - f32(b[l]))
			}
		},
		func(d, a, b *lanes32) {
			for l := range d {
				d[l] = flush(bits32(f32(flush(a[l])) - f32(flush(b[l]))))
			}
		})
}

func floatMul(d *decoder, t scalar) {
	d.rounding()
	d.float2(t, func(a, b float32) float32 { return a * b },
		func(d, a, b *lanes32) {
			for l := range d {
				d[l] = bits32(f32(a[l]) * f32(b[l]))
			}
		},
		func(d, a, b *lanes32) {
			for l := range d {
				d[l] = flush(bits32(f32(flush(a[l])) * f32(flush(b[l]))))
			}
		})
}

// floatDiv: .rn, .full and .approx are all computed with one rounding; the latter two are less exact on the hardware.
func floatDiv(d *decoder, t scalar) {
	if t.isHalf() || d.takeOne("rn", "full", "approx") == "" {
		d.fail("div.%s without .rn, .full or .approx is not modelled", t.name())
	}
	d.float2(t, nil,
		lift2(func(a, b uint32) uint32 { return bits32(f32(a) / f32(b)) }),
		lift2(func(a, b uint32) uint32 { return flush(bits32(f32(flush(a)) / f32(flush(b)))) }))
}

func floatMin(d *decoder, t scalar) { d.minmax(t, minF32, nil) }

func floatMax(d *decoder, t scalar) { d.minmax(t, maxF32, maxFlushed) }

// minmax decodes min and max; fast is the .ftz form of the operation without .NaN, if there is one.
func (d *decoder) minmax(t scalar, op func(a, b float32) float32, fast func(d, a, b *lanes32)) {
	flushed := lift2(func(a, b uint32) uint32 { return bits32(op(f32(flush(a)), f32(flush(b)))) })
	if fast != nil {
		flushed = fast
	}
	if d.take("NaN") {
		number := op
		op = func(a, b float32) float32 {
			if a != a || b != b {
				return canonicalNaN
			}
			return number(a, b)
		}
		flushed = lift2(func(a, b uint32) uint32 { return bits32(op(f32(flush(a)), f32(flush(b)))) })
	}
	d.float2(t, op, lift2(func(a, b uint32) uint32 { return bits32(op(f32(a), f32(b))) }), flushed)
}

// maxFlushed is max.ftz, which softmax is full of.
func maxFlushed(d, a, b *lanes32) {
	for l := range d {
		x, y := flush(a[l]), flush(b[l])
		switch p, q := f32(x), f32(y); {
		case p > q:
			d[l] = x
		case p < q:
			d[l] = y
		default:
			d[l] = bits32(maxF32(p, q))
		}
	}
}

// canonicalNaN is the NaN that PTX operations return.
var canonicalNaN = math.Float32frombits(0x7fffffff)

// maxF32 ignores a NaN unless both are; +0 is larger than -0.
func maxF32(a, b float32) float32 {
	switch {
	case a > b:
		return a
	case a < b:
		return b
	case a != a && b != b:
		return canonicalNaN
	case a != a:
		return b
	case b != b:
		return a
	case math.Signbit(float64(a)):
		return b
	}
	return a
}

// minF32 ignores a NaN unless both are; -0 is smaller than +0.
func minF32(a, b float32) float32 {
	switch {
	case a < b:
		return a
	case a > b:
		return b
	case a != a && b != b:
		return canonicalNaN
	case a != a:
		return b
	case b != b:
		return a
	case math.Signbit(float64(b)):
		return b
	}
	return a
}

func floatNeg(d *decoder, t scalar) {
	sign := t.signMask()
	d.signOp(t, func(a uint32) uint32 { return a ^ sign })
}

func floatAbs(d *decoder, t scalar) {
	sign := t.signMask()
	d.signOp(t, func(a uint32) uint32 { return a &^ sign })
}

// signMask has the sign bit of every element.
func (t scalar) signMask() uint32 {
	switch {
	case t.bits == 32:
		return 1 << 31
	case t.packed == 2:
		return 1<<31 | 1<<15
	}
	return 1 << 15
}

func (d *decoder) signOp(t scalar, op func(a uint32) uint32) {
	flushed := d.take("ftz") && t.bits == 32
	if !d.arity(2, 2) {
		return
	}
	dst, a := d.dst(d.arg(0), t.width()), d.src(d.arg(1), t.width())
	d.in.exec = unary32(dst, a, lift1(func(a uint32) uint32 {
		if flushed {
			a = flush(a)
		}
		return op(a)
	}))
}

func decodeFMA(d *decoder) {
	t := d.typ()
	if t.isF32() || t.isHalf() {
		floatFMA(d, t)
		return
	}
	d.unsupported(t)
}

func floatFMA(d *decoder, t scalar) {
	d.rounding()
	flushed, relu := d.take("ftz"), d.take("relu")
	t.ftz = flushed
	if !d.arity(4, 4) {
		return
	}
	bits := t.width()
	dst := d.dst(d.arg(0), bits)
	a, b, c := d.src(d.arg(1), bits), d.src(d.arg(2), bits), d.src(d.arg(3), bits)
	switch {
	case t.isHalf():
		d.in.exec = ternary32(dst, a, b, c, t.halfFMA(relu))
	case relu:
		d.fail("fma.relu.f32 does not exist")
	case flushed:
		d.in.exec = ternary32(dst, a, b, c, func(d, a, b, c *lanes32) {
			for l := range d {
				d[l] = flush(bits32(fma(f32(flush(a[l])), f32(flush(b[l])), f32(flush(c[l])))))
			}
		})
	default:
		d.in.exec = ternary32(dst, a, b, c, func(d, a, b, c *lanes32) {
			for l := range d {
				d[l] = bits32(fma(f32(a[l]), f32(b[l]), f32(c[l])))
			}
		})
	}
}

// fma is a*b + c with one rounding. The product of two 24-bit mantissas is exact in float64, the sum s is rounded
// once, and rounding s to float32 is a second rounding. That is wrong only when s lies exactly halfway between two
// float32, which shows in its low bits, or where float32 is denormal and its halfway points are elsewhere.
func fma(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	u := math.Float64bits(s)
	if u&0x1fffffff != 0x10000000 && u<<1>>53 >= 897 {
		return float32(s)
	}
	return float32(roundToOdd(p, float64(c), s))
}

// roundToOdd replaces the rounded sum s of p and c by the one of its neighbours around the exact sum that has an odd
// mantissa, so that a second rounding cannot see a tie that is none (Boldo and Melquiond).
func roundToOdd(p, c, s float64) float64 {
	if s == 0 || math.IsInf(s, 0) || math.IsNaN(s) {
		return s
	}
	z := s - p
	e := (p - (s - z)) + (c - z)
	u := math.Float64bits(s)
	if e == 0 || u&1 == 1 {
		return s
	}
	if (e > 0) == (s > 0) {
		return math.Float64frombits(u + 1)
	}
	return math.Float64frombits(u - 1)
}

// exp2 is 2**x by a Taylor polynomial around the nearest integer, to 2e-10: ex2.approx is good to 2 units in the last
// place of float32, so that this is on the exact side.
func exp2(x float64) float64 {
	switch {
	case x > 1000:
		return math.Inf(1)
	case x < -1000:
		return 0
	case x != x:
		return x
	}
	const magic = 3 << 51 // adding it rounds to an integer
	n := (x + magic) - magic
	t := (x - n) * math.Ln2
	p := 1 + t*(1+t*(1.0/2+t*(1.0/6+t*(1.0/24+t*(1.0/120+t*(1.0/720+t*(1.0/5040+t*(1.0/40320))))))))
	return p * math.Float64frombits(uint64(int(n)+1023)<<52)
}

// decodeExp2: the .ftz form in float32 has a loop of its own, because softmax is full of it.
func decodeExp2(d *decoder) {
	ftz := slices.Contains(d.mods, "ftz") && slices.Contains(d.mods, "f32")
	approximate(exp2)(d)
	if ftz && d.err == nil {
		d.in.exec = unary32(d.dst(d.arg(0), 32), d.src(d.arg(1), 32), func(d, a *lanes32) {
			for l := range d {
				d[l] = flush(bits32(float32(exp2(float64(f32(flush(a[l])))))))
			}
		})
	}
}

// approximate decodes d = f(a). The hardware's approximations differ in the last places, which is not modelled.
func approximate(f func(float64) float64) func(*decoder) {
	return func(d *decoder) {
		t := d.typ()
		if d.takeOne("approx", "rn") == "" {
			d.fail("%s without .approx or .rn is not modelled", d.op[0])
		}
		flushed := d.take("ftz")
		if !d.arity(2, 2) {
			return
		}
		dst, a := d.dst(d.arg(0), t.width()), d.src(d.arg(1), t.width())
		switch {
		case t.isHalf():
			d.in.exec = unary32(dst, a, t.half1(func(x float32) float32 { return float32(f(float64(x))) }))
		case !t.isF32():
			d.unsupported(t)
		case flushed:
			d.in.exec = unary32(dst, a, lift1(func(a uint32) uint32 {
				return flush(bits32(float32(f(float64(f32(flush(a)))))))
			}))
		default:
			d.in.exec = unary32(dst, a, lift1(func(a uint32) uint32 { return bits32(float32(f(float64(f32(a))))) }))
		}
	}
}

// decodeCopysign: copysign d, a, b has the sign of a and the magnitude of b.
func decodeCopysign(d *decoder) {
	d.want("f32")
	if !d.arity(3, 3) {
		return
	}
	d.in.exec = binary32(d.dst(d.arg(0), 32), d.src(d.arg(1), 32), d.src(d.arg(2), 32), lift2(func(a, b uint32) uint32 {
		return a&(1<<31) | b&^(1<<31)
	}))
}

// decodeTest: testp.prop p, a.
func decodeTest(d *decoder) {
	d.want("f32")
	prop := d.takeOne("finite", "infinite", "number", "notanumber", "normal", "subnormal")
	if !d.arity(2, 2) {
		return
	}
	test := map[string]func(e, frac uint32) bool{
		"finite":     func(e, _ uint32) bool { return e != 255 },
		"infinite":   func(e, frac uint32) bool { return e == 255 && frac == 0 },
		"number":     func(e, frac uint32) bool { return e != 255 || frac == 0 },
		"notanumber": func(e, frac uint32) bool { return e == 255 && frac != 0 },
		"normal":     func(e, _ uint32) bool { return e != 0 && e != 255 },
		"subnormal":  func(e, frac uint32) bool { return e == 0 && frac != 0 },
	}[prop]
	if test == nil {
		d.fail("testp without a property it knows")
		return
	}
	p, a := d.dst(d.arg(0), 1), d.src(d.arg(1), 32)
	d.in.exec = func(w *warp, m uint32) {
		var q uint32
		for l, v := range w.r32[a] {
			if test(v>>23&0xff, v&0x7fffff) {
				q |= 1 << l
			}
		}
		w.setPredicate(p, m, q)
	}
}
