package ptx

import "math/bits"

// An operation on whole registers is written once, for 32 lanes. A full warp runs it in place; a partly active one runs
// it into scratch and keeps the active lanes. Rare operations are lifted from one lane.

func (w *warp) keep32(d int32, m uint32) {
	out := &w.r32[d]
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m) & 31
		out[l] = w.t32[l]
	}
}

func (w *warp) keep64(d int32, m uint32) {
	out := &w.r64[d]
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m) & 31
		out[l] = w.t64[l]
	}
}

func unary32(d, a int32, op func(d, a *lanes32)) exec {
	return func(w *warp, m uint32) {
		if m == allLanes {
			op(&w.r32[d], &w.r32[a])
			return
		}
		op(&w.t32, &w.r32[a])
		w.keep32(d, m)
	}
}

func unary64(d, a int32, op func(d, a *lanes64)) exec {
	return func(w *warp, m uint32) {
		if m == allLanes {
			op(&w.r64[d], &w.r64[a])
			return
		}
		op(&w.t64, &w.r64[a])
		w.keep64(d, m)
	}
}

func binary32(d, a, b int32, op func(d, a, b *lanes32)) exec {
	return func(w *warp, m uint32) {
		if m == allLanes {
			op(&w.r32[d], &w.r32[a], &w.r32[b])
			return
		}
		op(&w.t32, &w.r32[a], &w.r32[b])
		w.keep32(d, m)
	}
}

func binary64(d, a, b int32, op func(d, a, b *lanes64)) exec {
	return func(w *warp, m uint32) {
		if m == allLanes {
			op(&w.r64[d], &w.r64[a], &w.r64[b])
			return
		}
		op(&w.t64, &w.r64[a], &w.r64[b])
		w.keep64(d, m)
	}
}

func ternary32(d, a, b, c int32, op func(d, a, b, c *lanes32)) exec {
	return func(w *warp, m uint32) {
		if m == allLanes {
			op(&w.r32[d], &w.r32[a], &w.r32[b], &w.r32[c])
			return
		}
		op(&w.t32, &w.r32[a], &w.r32[b], &w.r32[c])
		w.keep32(d, m)
	}
}

func ternary64(d, a, b, c int32, op func(d, a, b, c *lanes64)) exec {
	return func(w *warp, m uint32) {
		if m == allLanes {
			op(&w.r64[d], &w.r64[a], &w.r64[b], &w.r64[c])
			return
		}
		op(&w.t64, &w.r64[a], &w.r64[b], &w.r64[c])
		w.keep64(d, m)
	}
}

// word is the content of a register.
type word interface{ uint32 | uint64 }

func lift1[T word](f func(a T) T) func(d, a *[32]T) {
	return func(d, a *[32]T) {
		for l := range d {
			d[l] = f(a[l])
		}
	}
}

func lift2[T word](f func(a, b T) T) func(d, a, b *[32]T) {
	return func(d, a, b *[32]T) {
		for l := range d {
			d[l] = f(a[l], b[l])
		}
	}
}

func lift3[T word](f func(a, b, c T) T) func(d, a, b, c *[32]T) {
	return func(d, a, b, c *[32]T) {
		for l := range d {
			d[l] = f(a[l], b[l], c[l])
		}
	}
}

// integer1 decodes `op.type d, a` given the operation at 32 and 64 bits; 16-bit results are cut to 16 bits.
func (d *decoder) integer1(bits int, op32 func(d, a *lanes32), op64 func(d, a *lanes64)) {
	if !d.arity(2, 2) {
		return
	}
	dst, a := d.dst(d.arg(0), bits), d.src(d.arg(1), bits)
	if bits == 64 {
		d.in.exec = unary64(dst, a, op64)
		return
	}
	d.in.exec = d.cut(bits, dst, unary32(dst, a, op32))
}

func (d *decoder) integer2(bits int, op32 func(d, a, b *lanes32), op64 func(d, a, b *lanes64)) {
	if !d.arity(3, 3) {
		return
	}
	dst, a, b := d.dst(d.arg(0), bits), d.src(d.arg(1), bits), d.src(d.arg(2), bits)
	if bits == 64 {
		d.in.exec = binary64(dst, a, b, op64)
		return
	}
	d.in.exec = d.cut(bits, dst, binary32(dst, a, b, op32))
}

// cut makes an operation on the 32-bit bank keep the 16 bits of a 16-bit register.
func (d *decoder) cut(bits int, dst int32, run exec) exec {
	if bits != 16 {
		return run
	}
	return func(w *warp, m uint32) {
		run(w, m)
		out := &w.r32[dst]
		for l := range out {
			if m>>l&1 != 0 {
				out[l] &= 0xffff
			}
		}
	}
}
