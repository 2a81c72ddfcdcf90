package ptx

import (
	"math/bits"
)

// bitDecoders are the logical and shift opcodes.
var bitDecoders = map[string]func(*decoder){
	"and": logic(and[uint32], and[uint64], func(a, b uint32) uint32 { return a & b }),
	"or":  logic(or[uint32], or[uint64], func(a, b uint32) uint32 { return a | b }),
	"xor": logic(xor[uint32], xor[uint64], func(a, b uint32) uint32 { return a ^ b }),
	"not": decodeNot, "shl": decodeShift, "shr": decodeShift, "shf": decodeFunnel, "bfe": decodeExtract,
	"bfi": decodeInsert, "bfind": decodeFind, "clz": countBits(bits.LeadingZeros64), "popc": countBits(bits.OnesCount64),
	"brev": decodeReverse, "prmt": decodePermute, "lop3": decodeLop3,
}

func and[T word](d, a, b *[32]T) {
	for l := range d {
		d[l] = a[l] & b[l]
	}
}

func or[T word](d, a, b *[32]T) {
	for l := range d {
		d[l] = a[l] | b[l]
	}
}

func xor[T word](d, a, b *[32]T) {
	for l := range d {
		d[l] = a[l] ^ b[l]
	}
}

// logic decodes and, or, xor on registers and predicates.
func logic(op32 func(d, a, b *lanes32), op64 func(d, a, b *lanes64), bit func(a, b uint32) uint32) func(*decoder) {
	return func(d *decoder) {
		t := d.typ()
		if t.class != predClass {
			if t.class != bitsClass || t.bits == 8 {
				d.unsupported(t)
			}
			d.integer2(t.bits, op32, op64)
			return
		}
		if !d.arity(3, 3) {
			return
		}
		dst := d.dst(d.arg(0), 1)
		a, flipA := d.predicateSource(d.arg(1))
		b, flipB := d.predicateSource(d.arg(2))
		d.in.exec = func(w *warp, m uint32) {
			w.setPredicate(dst, m, bit(w.p[a]^flipA, w.p[b]^flipB))
		}
	}
}

func (w *warp) setPredicate(d int32, m, value uint32) { w.p[d] = w.p[d]&^m | value&m }

func decodeNot(d *decoder) {
	t := d.typ()
	switch {
	case t.class == predClass && d.arity(2, 2):
		dst, a := d.dst(d.arg(0), 1), d.predicate(d.arg(1))
		d.in.exec = func(w *warp, m uint32) { w.setPredicate(dst, m, ^w.p[a]) }
	case t.class == bitsClass && t.bits > 8:
		d.integer1(t.bits, lift1(func(a uint32) uint32 { return ^a }), lift1(func(a uint64) uint64 { return ^a }))
	default:
		d.unsupported(t)
	}
}

// decodeShift: the amount is 32 bits wide whatever the type, and is clamped.
func decodeShift(d *decoder) {
	t := d.typ()
	if !t.integer() || t.bits == 8 || !d.arity(3, 3) {
		d.unsupported(t)
		return
	}
	dst, a, b := d.dst(d.arg(0), t.bits), d.src(d.arg(1), t.bits), d.src(d.arg(2), 32)
	left := d.op[0] == "shl"
	if t.bits == 64 {
		d.in.exec = func(w *warp, m uint32) {
			ra, rb := &w.r64[a], &w.r32[b]
			for l := range w.t64 {
				w.t64[l] = t.shift(left, ra[l], rb[l])
			}
			w.keep64(dst, m)
		}
		return
	}
	op := lift2(func(a, b uint32) uint32 { return uint32(t.shift(left, uint64(a), b)) })
	switch {
	case t.bits == 32 && left:
		op = shiftLeft
	case t.bits == 32 && !t.signed():
		op = shiftRight
	}
	d.in.exec = d.cut(t.bits, dst, binary32(dst, a, b, op))
}

func shiftLeft(d, a, b *lanes32) {
	for l := range d {
		d[l] = a[l] << b[l]
	}
}

func shiftRight(d, a, b *lanes32) {
	for l := range d {
		d[l] = a[l] >> b[l]
	}
}

// shift uses that Go shifts by more than the width give zero or the sign.
func (t scalar) shift(left bool, a uint64, b uint32) uint64 {
	a = t.extend(a)
	switch {
	case left:
		return a << b
	case t.signed():
		return uint64(int64(a) >> b)
	}
	return a >> b
}

// decodeFunnel: shf concatenates two words and keeps one of the shifted pair.
func decodeFunnel(d *decoder) {
	d.want("b32")
	left := d.takeOne("l", "r") == "l"
	wrap := d.takeOne("wrap", "clamp") == "wrap"
	if !d.arity(4, 4) {
		return
	}
	dst := d.dst(d.arg(0), 32)
	a, b, c := d.src(d.arg(1), 32), d.src(d.arg(2), 32), d.src(d.arg(3), 32)
	d.in.exec = ternary32(dst, a, b, c, lift3(func(lo, hi, n uint32) uint32 {
		if wrap {
			n &= 31
		}
		n = min(n, 32)
		pair := uint64(hi)<<32 | uint64(lo)
		if left {
			return uint32(pair << n >> 32)
		}
		return uint32(pair >> n)
	}))
}

// decodeExtract: bfe takes position and length from the low bytes; a signed field is sign-extended.
func decodeExtract(d *decoder) {
	t := d.typ()
	if t.bits < 32 || t.class == bitsClass || !d.arity(4, 4) {
		d.unsupported(t)
		return
	}
	dst, a := d.dst(d.arg(0), t.bits), d.src(d.arg(1), t.bits)
	b, c := d.src(d.arg(2), 32), d.src(d.arg(3), 32)
	if t.bits == 32 {
		d.in.exec = ternary32(dst, a, b, c, lift3(func(a, b, c uint32) uint32 {
			return uint32(t.field(t.extend(uint64(a)), b&0xff, c&0xff))
		}))
		return
	}
	d.in.exec = func(w *warp, m uint32) {
		ra, rb, rc := &w.r64[a], &w.r32[b], &w.r32[c]
		for l := range w.t64 {
			w.t64[l] = t.field(ra[l], rb[l]&0xff, rc[l]&0xff)
		}
		w.keep64(dst, m)
	}
}

// field is a bit field of an extended value. A signed field that reaches past the top is filled with the sign.
func (t scalar) field(a uint64, pos, n uint32) uint64 {
	if n == 0 {
		return 0
	}
	if !t.signed() {
		return a >> pos & (1<<n - 1)
	}
	v := int64(a) >> min(pos, 63)
	if n >= 64 {
		return uint64(v)
	}
	return uint64(v << (64 - n) >> (64 - n))
}

// decodeInsert: bfi d, a, b, pos, len puts the low bits of a into b.
func decodeInsert(d *decoder) {
	t := d.typ()
	if t.class != bitsClass || t.bits < 32 || !d.arity(5, 5) {
		d.unsupported(t)
		return
	}
	dst, a, b := d.dst(d.arg(0), t.bits), d.src(d.arg(1), t.bits), d.src(d.arg(2), t.bits)
	pos, n := d.src(d.arg(3), 32), d.src(d.arg(4), 32)
	insert := func(a, b uint64, pos, n uint32) uint64 {
		mask := uint64(1<<(n&0xff)-1) << (pos & 0xff)
		return b&^mask | a<<(pos&0xff)&mask
	}
	if t.bits == 64 {
		d.in.exec = func(w *warp, m uint32) {
			for l := range w.t64 {
				w.t64[l] = insert(w.r64[a][l], w.r64[b][l], w.r32[pos][l], w.r32[n][l])
			}
			w.keep64(dst, m)
		}
		return
	}
	d.in.exec = func(w *warp, m uint32) {
		for l := range w.t32 {
			w.t32[l] = uint32(insert(uint64(w.r32[a][l]), uint64(w.r32[b][l]), w.r32[pos][l], w.r32[n][l]))
		}
		w.keep32(dst, m)
	}
}

// count32 decodes an opcode whose result is 32 bits wide whatever the source.
func (d *decoder) count32(t scalar, op func(a uint64) uint32) {
	if t.bits < 32 || !d.arity(2, 2) {
		d.unsupported(t)
		return
	}
	dst, a := d.dst(d.arg(0), 32), d.src(d.arg(1), t.bits)
	if t.bits == 32 {
		d.in.exec = unary32(dst, a, lift1(func(a uint32) uint32 { return op(uint64(a)) }))
		return
	}
	d.in.exec = func(w *warp, m uint32) {
		for l := range w.t32 {
			w.t32[l] = op(w.r64[a][l])
		}
		w.keep32(dst, m)
	}
}

func countBits(count func(uint64) int) func(*decoder) {
	return func(d *decoder) {
		t := d.typ()
		unused := count(0) - count(1<<63) // 64 for leading zeros, which count from bit 31 of a 32-bit word
		d.count32(t, func(a uint64) uint32 {
			n := count(a)
			if unused == 64 {
				n -= 64 - t.bits
			}
			return uint32(n)
		})
	}
}

// decodeFind: bfind is the position of the highest bit that is not the sign, all ones when there is none.
func decodeFind(d *decoder) {
	t := d.typ()
	shift := d.take("shiftamt")
	d.count32(t, func(a uint64) uint32 {
		if a = t.extend(a); t.signed() && int64(a) < 0 {
			a = ^a
		}
		n := uint32(bits.Len64(a)) - 1
		if shift && n != ^uint32(0) {
			return uint32(t.bits) - 1 - n
		}
		return n
	})
}

func decodeReverse(d *decoder) {
	t := d.typ()
	if t.bits < 32 {
		d.unsupported(t)
		return
	}
	d.integer1(t.bits, lift1(bits.Reverse32), lift1(bits.Reverse64))
}

// decodePermute: prmt picks four bytes of the pair {b, a}; bit 3 of a selector replicates the byte's sign.
func decodePermute(d *decoder) {
	d.want("b32")
	if !d.arity(4, 4) {
		return
	}
	dst := d.dst(d.arg(0), 32)
	a, b, c := d.src(d.arg(1), 32), d.src(d.arg(2), 32), d.src(d.arg(3), 32)
	d.in.exec = ternary32(dst, a, b, c, lift3(func(a, b, sel uint32) (out uint32) {
		pair := uint64(b)<<32 | uint64(a)
		for i := range 4 {
			s := sel >> (4 * i)
			v := uint32(pair>>(8*(s&7))) & 0xff
			if s&8 != 0 {
				v = uint32(int8(v)>>7) & 0xff
			}
			out |= v << (8 * i)
		}
		return out
	}))
}

// decodeLop3 evaluates a truth table: bit i of the table is the result for a, b, c = bits 2, 1, 0 of i.
func decodeLop3(d *decoder) {
	d.want("b32")
	if !d.arity(5, 5) {
		return
	}
	dst := d.dst(d.arg(0), 32)
	a, b, c := d.src(d.arg(1), 32), d.src(d.arg(2), 32), d.src(d.arg(3), 32)
	table := d.immediate(d.arg(4))
	d.in.exec = ternary32(dst, a, b, c, lift3(func(a, b, c uint32) (out uint32) {
		for i := range 8 {
			if table>>i&1 != 0 {
				out |= choose(a, i&4) & choose(b, i&2) & choose(c, i&1)
			}
		}
		return out
	}))
}

func choose(v uint32, positive int) uint32 {
	if positive != 0 {
		return v
	}
	return ^v
}
