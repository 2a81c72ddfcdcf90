package ptx

import "math/bits"

// integerDecoders are the arithmetic opcodes; floating-point types of the same opcodes are decoded in float.go.
var integerDecoders = map[string]func(*decoder){
	"add": arithmetic(floatAdd, addInteger), "sub": arithmetic(floatSub, subInteger), "mul": arithmetic(floatMul, mulInteger),
	"mad": arithmetic(floatFMA, madInteger), "div": arithmetic(floatDiv, divInteger), "rem": arithmetic(nil, remInteger),
	"neg": arithmetic(floatNeg, negInteger), "abs": arithmetic(floatAbs, absInteger),
	"min": arithmetic(floatMin, minInteger), "max": arithmetic(floatMax, maxInteger),
}

// arithmetic sends an opcode to its floating-point or its integer form.
func arithmetic(float, integer func(*decoder, scalar)) func(*decoder) {
	return func(d *decoder) {
		t := d.typ()
		switch {
		case t.integer() && t.bits >= 16:
			integer(d, t)
		case float != nil && (t.isF32() || t.isHalf()):
			float(d, t)
		default:
			d.unsupported(t)
		}
	}
}

// extend is a register's value as the type reads it: sign- or zero-extended to 64 bits.
func (t scalar) extend(v uint64) uint64 {
	shift := 64 - t.bits
	if t.signed() {
		return uint64(int64(v<<shift) >> shift)
	}
	return v << shift >> shift
}

// lifted decodes a two-operand integer operation given on 64-bit extended values.
func (d *decoder) lifted(t scalar, op func(a, b uint64) uint64) {
	d.integer2(t.bits,
		lift2(func(a, b uint32) uint32 { return uint32(op(t.extend(uint64(a)), t.extend(uint64(b)))) }),
		lift2(op))
}

func addInteger(d *decoder, t scalar) {
	d.integer2(t.bits,
		func(d, a, b *lanes32) {
			for l := range d {
				d[l] = a[l] + b[l]
			}
		},
		func(d, a, b *lanes64) {
			for l := range d {
				d[l] = a[l] + b[l]
			}
		})
}

func subInteger(d *decoder, t scalar) {
	d.integer2(t.bits,
		func(d, a, b *lanes32) {
			for l := range d {
				d[l] = a[l] - b[l]
			}
		},
		func(d, a, b *lanes64) {
			for l := range d {
				d[l] = a[l] - b[l]
			}
		})
}

func mulLow32(d, a, b *lanes32) {
	for l := range d {
		d[l] = a[l] * b[l]
	}
}

func mulLow64(d, a, b *lanes64) {
	for l := range d {
		d[l] = a[l] * b[l]
	}
}

// high is the upper half of a product.
func (t scalar) high(a, b uint64) uint64 {
	if t.bits < 64 {
		return t.extend(a) * t.extend(b) >> t.bits
	}
	hi, _ := bits.Mul64(a, b)
	if t.signed() {
		hi -= uint64(int64(a)>>63)&b + uint64(int64(b)>>63)&a
	}
	return hi
}

func mulInteger(d *decoder, t scalar) {
	switch d.takeOne("lo", "hi", "wide") {
	case "lo":
		d.integer2(t.bits, mulLow32, mulLow64)
	case "hi":
		d.lifted(t, t.high)
	case "wide":
		d.wide(t, false)
	default:
		d.fail("integer multiplication without .lo, .hi or .wide")
	}
}

// wide decodes mul.wide and mad.wide: the product has twice the width of the factors.
func (d *decoder) wide(t scalar, add bool) {
	n := 3
	if add {
		n = 4
	}
	if t.bits == 64 || !d.arity(n, n) {
		d.unsupported(t)
		return
	}
	dst := d.dst(d.arg(0), 2*t.bits)
	a, b := d.src(d.arg(1), t.bits), d.src(d.arg(2), t.bits)
	c := d.b.constant(0, 2*t.bits)
	if add {
		c = d.src(d.arg(3), 2*t.bits)
	}
	if t.bits == 16 {
		d.in.exec = ternary32(dst, a, b, c, lift3(func(a, b, c uint32) uint32 {
			return uint32(t.extend(uint64(a))*t.extend(uint64(b))) + c
		}))
		return
	}
	signed := t.signed()
	d.in.exec = func(w *warp, m uint32) {
		ra, rb, rc, out := &w.r32[a], &w.r32[b], &w.r64[c], &w.t64
		if m == allLanes {
			out = &w.r64[dst]
		}
		if signed {
			for l := range out {
				out[l] = uint64(int64(int32(ra[l]))*int64(int32(rb[l]))) + rc[l]
			}
		} else {
			for l := range out {
				out[l] = uint64(ra[l])*uint64(rb[l]) + rc[l]
			}
		}
		if m != allLanes {
			w.keep64(dst, m)
		}
	}
}

func madInteger(d *decoder, t scalar) {
	half := d.takeOne("lo", "hi", "wide")
	if half == "wide" {
		d.wide(t, true)
		return
	}
	if half == "" || !d.arity(4, 4) {
		d.fail("integer mad without .lo, .hi or .wide")
		return
	}
	dst := d.dst(d.arg(0), t.bits)
	a, b, c := d.src(d.arg(1), t.bits), d.src(d.arg(2), t.bits), d.src(d.arg(3), t.bits)
	switch {
	case half == "lo" && t.bits == 64:
		d.in.exec = ternary64(dst, a, b, c, lift3(func(a, b, c uint64) uint64 { return a*b + c }))
	case half == "lo":
		d.in.exec = d.cut(t.bits, dst, ternary32(dst, a, b, c, func(d, a, b, c *lanes32) {
			for l := range d {
				d[l] = a[l]*b[l] + c[l]
			}
		}))
	case t.bits == 64:
		d.in.exec = ternary64(dst, a, b, c, lift3(func(a, b, c uint64) uint64 { return t.high(a, b) + c }))
	default:
		d.in.exec = d.cut(t.bits, dst, ternary32(dst, a, b, c, lift3(func(a, b, c uint32) uint32 {
			return uint32(t.high(uint64(a), uint64(b))) + c
		})))
	}
}

// divInteger: the result of a division by zero is unspecified; all ones, as the hardware gives, is likely to be seen.
func divInteger(d *decoder, t scalar) {
	d.lifted(t, func(a, b uint64) uint64 {
		switch {
		case b == 0:
			return ^uint64(0)
		case t.signed():
			return uint64(int64(a) / int64(b))
		}
		return a / b
	})
}

func remInteger(d *decoder, t scalar) {
	d.lifted(t, func(a, b uint64) uint64 {
		switch {
		case b == 0:
			return a
		case t.signed():
			return uint64(int64(a) % int64(b))
		}
		return a % b
	})
}

func negInteger(d *decoder, t scalar) {
	d.integer1(t.bits, lift1(func(a uint32) uint32 { return -a }), lift1(func(a uint64) uint64 { return -a }))
}

func absInteger(d *decoder, t scalar) {
	op := func(a uint64) uint64 {
		if a = t.extend(a); int64(a) < 0 {
			return -a
		}
		return a
	}
	d.integer1(t.bits, lift1(func(a uint32) uint32 { return uint32(op(uint64(a))) }), lift1(op))
}

func minInteger(d *decoder, t scalar) {
	d.lifted(t, func(a, b uint64) uint64 {
		if t.less(a, b) {
			return a
		}
		return b
	})
}

func maxInteger(d *decoder, t scalar) {
	d.lifted(t, func(a, b uint64) uint64 {
		if t.less(a, b) {
			return b
		}
		return a
	})
}

// less compares extended values.
func (t scalar) less(a, b uint64) bool {
	if t.signed() {
		return int64(a) < int64(b)
	}
	return a < b
}
