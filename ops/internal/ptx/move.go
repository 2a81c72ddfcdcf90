package ptx

var moveDecoders = map[string]func(*decoder){"mov": decodeMove, "cvta": decodeAddressSpace, "selp": decodeSelect}

// decodeMove: between registers, from literals, special registers and addresses, and packing {a, b} into a wider one.
func decodeMove(d *decoder) {
	t := d.typ()
	if !d.arity(2, 2) {
		return
	}
	bits := t.width()
	dst, src := d.arg(0), d.arg(1)
	switch {
	case t.class == predClass:
		p := d.dst(dst, 1)
		if v, err := literal(src); err == nil {
			d.in.exec = func(w *warp, m uint32) { w.setPredicate(p, m, mask32(v != 0)) }
			return
		}
		a, flip := d.predicateSource(src)
		d.in.exec = func(w *warp, m uint32) { w.setPredicate(p, m, w.p[a]^flip) }
	case bits < 16:
		d.unsupported(t)
	case src[0] == '{':
		d.pack(dst, list(src), bits)
	case dst[0] == '{':
		d.unpack(list(dst), src, bits)
	case clocks[src]:
		d.clock(dst, bits)
	case bits == 64:
		d.in.exec = unary64(d.dst(dst, 64), d.src(src, 64), func(d, a *lanes64) { *d = *a })
	default:
		d.in.exec = unary32(d.dst(dst, bits), d.src(src, bits), func(d, a *lanes32) { *d = *a })
	}
}

// clock counts instructions of the launch: it grows, and means nothing else.
func (d *decoder) clock(dst string, bits int) {
	r := d.dst(dst, bits)
	d.in.exec = func(w *warp, m uint32) {
		w.c.launched.clock++
		now := w.c.launched.clock
		if bits == 64 {
			w.t64 = lanes64From(now)
			w.keep64(r, m)
			return
		}
		w.t32 = lanes32From(uint32(now))
		w.keep32(r, m)
	}
}

// part32 reads or writes a 16- or 32-bit piece; part64 cannot be a piece of anything modelled.
func (d *decoder) pack(dst string, parts []string, bits int) {
	each := bits / len(parts)
	if each < 16 || each*len(parts) != bits {
		d.fail("packing %d registers into %d bits is not modelled", len(parts), bits)
		return
	}
	from := make([]int32, len(parts))
	for i, p := range parts {
		from[i] = d.src(p, each)
	}
	r := d.dst(dst, bits)
	if bits == 64 {
		d.in.exec = func(w *warp, m uint32) {
			for l := range w.t64 {
				v := uint64(0)
				for i, s := range from {
					v |= uint64(w.r32[s][l]) << (i * each)
				}
				w.t64[l] = v
			}
			w.keep64(r, m)
		}
		return
	}
	lo, hi := from[0], from[1]
	d.in.exec = binary32(r, lo, hi, func(d, a, b *lanes32) {
		for l := range d {
			d[l] = a[l] | b[l]<<16
		}
	})
}

func (d *decoder) unpack(parts []string, src string, bits int) {
	each := bits / len(parts)
	if each < 16 || each*len(parts) != bits {
		d.fail("unpacking %d bits into %d registers is not modelled", bits, len(parts))
		return
	}
	from := d.src(src, bits)
	to := make([]int32, len(parts))
	for i, p := range parts {
		to[i] = d.dst(p, each)
	}
	mask := uint64(1)<<each - 1
	d.in.exec = func(w *warp, m uint32) {
		var v lanes64
		for l := range v {
			if bits == 64 {
				v[l] = w.r64[from][l]
			} else {
				v[l] = uint64(w.r32[from][l])
			}
		}
		for i, r := range to {
			for l := range v {
				w.t32[l] = uint32(v[l] >> (i * each) & mask)
			}
			w.keep32(r, m)
		}
	}
}

// decodeAddressSpace: cvta adds a space's window to an offset, cvta.to takes it away. Global addresses are generic.
func decodeAddressSpace(d *decoder) {
	to := d.take("to")
	space := d.takeOne("global", "shared", "shared::cta", "local", "param", "const")
	d.want("u64")
	if !d.arity(2, 2) {
		return
	}
	window := uint64(0)
	switch space {
	case "shared", "shared::cta":
		window = sharedWindow
	case "local":
		window = localWindow
	case "param":
		window = paramWindow
	case "":
		d.fail("cvta without a space it knows")
	}
	if to {
		window = -window
	}
	d.in.exec = unary64(d.dst(d.arg(0), 64), d.src(d.arg(1), 64), func(d, a *lanes64) {
		for l := range d {
			d[l] = a[l] + window
		}
	})
}

// decodeSelect: selp d, a, b, p.
func decodeSelect(d *decoder) {
	t := d.typ()
	bits := t.width()
	if bits < 16 || !d.arity(4, 4) {
		d.unsupported(t)
		return
	}
	dst, a, b := d.dst(d.arg(0), bits), d.src(d.arg(1), bits), d.src(d.arg(2), bits)
	p, flip := d.predicateSource(d.arg(3))
	if bits == 64 {
		d.in.exec = func(w *warp, m uint32) {
			ra, rb, q := &w.r64[a], &w.r64[b], w.p[p]^flip
			for l := range w.t64 {
				v := rb[l]
				if q>>l&1 != 0 {
					v = ra[l]
				}
				w.t64[l] = v
			}
			w.keep64(dst, m)
		}
		return
	}
	d.in.exec = func(w *warp, m uint32) {
		ra, rb, q := &w.r32[a], &w.r32[b], w.p[p]^flip
		out := &w.t32
		if m == allLanes {
			out = &w.r32[dst]
		}
		for l := range out {
			v := rb[l]
			if q>>l&1 != 0 {
				v = ra[l]
			}
			out[l] = v
		}
		if m != allLanes {
			w.keep32(dst, m)
		}
	}
}
