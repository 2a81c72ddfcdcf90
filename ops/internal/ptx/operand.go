package ptx

import (
	"strconv"
	"strings"
)

// dst is a destination register of exactly the given width. The sink `_` gets a slot of its own.
func (d *decoder) dst(s string, bits int) int32 {
	if s == "_" {
		return d.sink(bits)
	}
	r, ok := d.b.scope.register(s)
	switch {
	case !ok:
		d.fail("%q is not a declared register", s)
	case r.bits != bits:
		d.fail("register %s has %d bits, the instruction writes %d", s, r.bits, bits)
	case bits == 16 || bits == 32:
		d.in.writes = append(d.in.writes, r.slot)
	case bits == 64:
		d.in.writes64 = append(d.in.writes64, r.slot)
	}
	return r.slot
}

// sink is a register nobody reads.
func (d *decoder) sink(bits int) int32 {
	switch bits {
	case 1:
		return d.special("sink1", 1)
	case 64:
		return d.special("sink64", 64)
	}
	return d.special("sink32", 32)
}

// src is a source of exactly the given width: register, literal, special register or address of a variable.
func (d *decoder) src(s string, bits int) int32 {
	r, ok := d.b.scope.register(s)
	switch {
	case !ok:
		return d.constant(s, bits)
	case r.bits != bits:
		d.fail("register %s has %d bits, the instruction reads %d", s, r.bits, bits)
	case bits == 16 || bits == 32:
		d.in.reads = append(d.in.reads, r.slot)
	case bits == 64:
		d.in.reads64 = append(d.in.reads64, r.slot)
	}
	return r.slot
}

// constant is a source that is no register.
func (d *decoder) constant(s string, bits int) int32 {
	if strings.HasPrefix(s, "%") || s == "WARP_SZ" {
		return d.special(s, bits)
	}
	base, offset := s, int64(0)
	if name, off, ok := strings.Cut(s, "+"); ok {
		base = strings.TrimSpace(name)
		offset, _ = strconv.ParseInt(strings.TrimSpace(off), 0, 64)
	}
	if v, ok := d.b.scope.variable(base); ok {
		return d.b.constant(v.addr+uint64(offset), bits)
	}
	x, err := literal(s)
	if err != nil {
		d.fail("operand %q is neither a register nor a variable nor a literal", s)
	}
	return d.b.constant(x, bits)
}

// constant is the slot that holds a value in every lane.
func (b *builder) constant(x uint64, bits int) int32 {
	if bits == 64 {
		slot, ok := b.const64Slots[x]
		if !ok {
			slot = int32(b.f.n64 + len(b.f.const64))
			b.f.const64 = append(b.f.const64, x)
			b.const64Slots[x] = slot
		}
		return slot
	}
	v := uint32(x)
	if bits == 16 {
		v &= 0xffff
	}
	slot, ok := b.const32Slots[v]
	if !ok {
		slot = int32(b.f.n32 + len(b.f.const32))
		b.f.const32 = append(b.f.const32, v)
		b.const32Slots[v] = slot
	}
	return slot
}

// predicate is a predicate register.
func (d *decoder) predicate(s string) int32 {
	r, ok := d.b.scope.register(s)
	if !ok || r.bits != 1 {
		d.fail("%q is not a predicate register", s)
	}
	return r.slot
}

// predicateSource is a predicate, possibly negated as !p.
func (d *decoder) predicateSource(s string) (slot int32, invert uint32) {
	if plain, ok := strings.CutPrefix(s, "!"); ok {
		return d.predicate(plain), ^uint32(0)
	}
	return d.predicate(s), 0
}

// immediate is an operand that must be a literal.
func (d *decoder) immediate(s string) int64 {
	x, err := literal(s)
	if err != nil {
		d.fail("operand %q must be a literal", s)
	}
	return int64(x)
}

// address is [base + offset]; base is a register of 32 or 64 bits or a constant.
type address struct {
	slot   int32
	wide   bool
	offset uint64
}

// address decodes a bracketed operand.
func (d *decoder) address(s string) address {
	inner, ok := strings.CutPrefix(s, "[")
	if !ok {
		d.fail("operand %q is not an address in brackets", s)
	}
	return d.addressInner(strings.TrimSpace(strings.TrimSuffix(inner, "]")))
}

func (d *decoder) addressInner(s string) address {
	base, offset := s, int64(0)
	if i := strings.IndexByte(s, '+'); i > 0 {
		base = strings.TrimSpace(s[:i])
		offset = d.immediate(strings.TrimSpace(s[i+1:]))
	}
	if r, ok := d.b.scope.register(base); ok && r.bits == 32 {
		return address{d.src(base, 32), false, uint64(offset)}
	}
	return address{d.src(base, 64), true, uint64(offset)}
}

// lanes evaluates the address of every lane into the warp's scratch; lanes outside the mask hold rubbish.
func (a *address) lanes(w *warp) *lanes64 {
	out := &w.addr
	if a.wide {
		base := &w.r64[a.slot]
		for l := range out {
			out[l] = base[l] + a.offset
		}
		return out
	}
	base, off := &w.r32[a.slot], uint32(a.offset)
	for l := range out {
		out[l] = uint64(base[l] + off)
	}
	return out
}
