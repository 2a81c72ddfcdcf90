package ptx

import "math"

var convertDecoders = map[string]func(*decoder){"cvt": decodeConvert}

// decodeConvert: cvt[.rnd][.ftz][.relu].dtype.atype d, a[, b].
func decodeConvert(d *decoder) {
	from := d.typ()
	to := d.typ()
	if to.packed == 2 {
		d.convertPair(to, from)
		return
	}
	if !d.arity(2, 2) {
		return
	}
	switch {
	case to.integer() && from.integer():
		d.convertInteger(to, from)
	case to.integer():
		d.toInteger(to, from)
	case from.integer():
		d.fromInteger(to, from)
	case to.class == tf32Class && from.isF32():
		d.take("rna", "rn")
		d.convert32(32, 32, toTF32)
	default:
		d.convertFloat(to, from)
	}
}

// toTF32 rounds the mantissa to 10 bits, ties away from zero.
func toTF32(u uint32) uint32 {
	if u&0x7fffffff > 0x7f800000 {
		return 0x7fffffff
	}
	return (u + 0x1000) &^ 0x1fff
}

// convertPair: cvt.rn.bf16x2.f32 d, a, b puts a in the upper half.
func (d *decoder) convertPair(to, from scalar) {
	if !from.isF32() || !d.arity(3, 3) {
		d.unsupported(from)
		return
	}
	one := scalar{class: to.class, bits: 16, packed: 1}
	narrow := d.narrowing(one)
	d.in.exec = binary32(d.dst(d.arg(0), 32), d.src(d.arg(1), 32), d.src(d.arg(2), 32), func(d, a, b *lanes32) {
		for l := range d {
			d[l] = narrow(f32(a[l]))<<16 | narrow(f32(b[l]))
		}
	})
}

// narrowing consumes rounding and .relu of a conversion to half precision.
func (d *decoder) narrowing(to scalar) func(f float32) uint32 {
	narrow := to.narrow
	if to.class == bfloatClass {
		narrow = toBF16
	}
	if d.takeOne("rn", "rz") == "rz" {
		narrow = to.truncate
	}
	if d.take("relu") {
		round := narrow
		narrow = func(f float32) uint32 {
			if f < 0 {
				f = 0
			}
			return round(f)
		}
	}
	return narrow
}

// truncate rounds towards zero: to nearest, and back one step when that went outwards.
func (t scalar) truncate(f float32) uint32 {
	h := t.narrow(f)
	if f == f && math.Abs(float64(t.widen(h))) > math.Abs(float64(f)) {
		h--
	}
	return h
}

// registerBits is the width of the register behind an operand, which may be wider than the type.
func (d *decoder) registerBits(s string, least int) int {
	if r, ok := d.b.scope.register(s); ok && r.bits >= least {
		return r.bits
	}
	return max(least, 16)
}

// convertInteger reads the low bits of the source as its type and extends or cuts them to the destination; a wider
// destination register is filled by the destination type's sign.
func (d *decoder) convertInteger(to, from scalar) {
	sat := d.take("sat")
	src, dst := d.registerBits(d.arg(1), from.bits), d.registerBits(d.arg(0), to.bits)
	convert := func(v uint64) uint64 {
		v = from.extend(v)
		if sat {
			v = saturate(to, from, v)
		}
		return to.extend(v)
	}
	r, a := d.dst(d.arg(0), dst), d.src(d.arg(1), src)
	d.in.exec = func(w *warp, m uint32) {
		if src == 64 {
			for l, v := range w.r64[a] {
				w.t64[l] = convert(v)
			}
		} else {
			for l, v := range w.r32[a] {
				w.t64[l] = convert(uint64(v))
			}
		}
		w.keepBits(r, dst, m)
	}
	if !sat && !to.signed() && !from.signed() && src <= 32 && dst <= 32 {
		keep := uint32(1<<min(to.bits, from.bits) - 1)
		d.in.exec = unary32(r, a, func(d, a *lanes32) {
			for l := range d {
				d[l] = a[l] & keep
			}
		})
	}
}

// keepBits stores scratch of 64 bits to a register of any width.
func (w *warp) keepBits(r int32, bits int, m uint32) {
	if bits == 64 {
		w.keep64(r, m)
		return
	}
	keep := uint32(1<<bits - 1)
	for l := range w.t32 {
		w.t32[l] = uint32(w.t64[l]) & keep
	}
	w.keep32(r, m)
}

// saturate clamps an extended value to the range of the destination.
func saturate(to, from scalar, v uint64) uint64 {
	lo, hi := int64(0), uint64(1)<<to.bits-1
	if to.signed() {
		lo, hi = -1<<(to.bits-1), hi>>1
	}
	switch negative := from.signed() && int64(v) < 0; {
	case negative && int64(v) < lo:
		return uint64(lo)
	case !negative && v > hi:
		return hi
	}
	return v
}

var integerRoundings = map[string]func(float64) float64{
	"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil,
}

// toInteger clamps to the destination's range; a NaN becomes zero.
func (d *decoder) toInteger(to, from scalar) {
	round := integerRoundings[d.takeOne("rni", "rzi", "rmi", "rpi")]
	ftz := d.take("ftz")
	if round == nil || from.bits == 64 || from.packed != 1 {
		d.fail("cvt from .%s without an integer rounding it knows", from.name())
		return
	}
	lo, hi := 0.0, math.Ldexp(1, to.bits)
	if to.signed() {
		lo, hi = -hi/2, hi/2
	}
	dst := d.registerBits(d.arg(0), to.bits)
	r, a := d.dst(d.arg(0), dst), d.src(d.arg(1), from.bits)
	d.in.exec = func(w *warp, m uint32) {
		for l, u := range w.r32[a] {
			w.t64[l] = to.clampFloat(round(from.float(u, ftz)), lo, hi)
		}
		w.keepBits(r, dst, m)
	}
}

// float reads a register as a float.
func (t scalar) float(u uint32, ftz bool) float64 {
	if t.isHalf() {
		return float64(t.widen(u))
	}
	if ftz {
		u = flush(u)
	}
	return float64(f32(u))
}

func (t scalar) clampFloat(x, lo, hi float64) uint64 {
	switch {
	case x != x:
		return 0
	case x < lo:
		x = lo
	case x >= hi && t.signed():
		return uint64(1)<<(t.bits-1) - 1
	case x >= hi:
		return t.extend(^uint64(0))
	}
	if t.signed() {
		return uint64(int64(x))
	}
	return uint64(x)
}

// fromInteger rounds once, through the float64 or, for 64 bits, directly.
func (d *decoder) fromInteger(to, from scalar) {
	d.rounding()
	src := d.registerBits(d.arg(1), from.bits)
	r, a := d.dst(d.arg(0), to.width()), d.src(d.arg(1), src)
	if to.bits == 64 {
		d.unsupported(to)
	}
	value := func(v uint64) uint32 {
		var f float32
		if v = from.extend(v); from.signed() {
			f = float32(int64(v))
		} else {
			f = float32(v)
		}
		if to.isF32() {
			return bits32(f)
		}
		return to.narrow(f)
	}
	d.in.exec = func(w *warp, m uint32) {
		for l := range w.t32 {
			if src == 64 {
				w.t32[l] = value(w.r64[a][l])
			} else {
				w.t32[l] = value(uint64(w.r32[a][l]))
			}
		}
		w.keep32(r, m)
	}
}

func (d *decoder) convert32(to, from int, f func(u uint32) uint32) {
	d.in.exec = unary32(d.dst(d.arg(0), to), d.src(d.arg(1), from), lift1(f))
}

// convertFloat converts between f32, f16 and bf16, or rounds f32 to an integral f32.
func (d *decoder) convertFloat(to, from scalar) {
	ftz := d.take("ftz")
	switch {
	case to.isF32() && from.isF32():
		round := integerRoundings[d.takeOne("rni", "rzi", "rmi", "rpi")]
		if round == nil {
			d.take("rn")
			round = func(x float64) float64 { return x }
		}
		sat := d.take("sat")
		d.convert32(32, 32, func(u uint32) uint32 {
			x := round(from.float(u, ftz))
			if sat && !(x > 0) { // a NaN too becomes zero
				x = 0
			} else if sat {
				x = min(x, 1)
			}
			return bits32(float32(x))
		})
	case to.isF32() && from.isHalf():
		d.convert32(32, 16, func(u uint32) uint32 { return bits32(from.widen(u)) })
	case to.isHalf() && from.isF32():
		narrow := d.narrowing(to)
		d.convert32(16, 32, func(u uint32) uint32 {
			if ftz {
				u = flush(u)
			}
			return narrow(f32(u))
		})
	default:
		d.fail("cvt.%s.%s is not modelled", to.name(), from.name())
	}
}
