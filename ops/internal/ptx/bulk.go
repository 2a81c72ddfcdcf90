package ptx

import "encoding/binary"

// bulkLoad is a copy from global to shared memory whose completion counts bytes on an mbarrier.
type bulkLoad struct {
	w      *warp
	lane   int
	off, n int
	from   uint64
	mbar   uint64
	line   int
}

// bulkOut is a copy or reduction from shared to global memory.
type bulkOut struct {
	lane   int
	group  int32
	off, n int
	to     uint64
	reduce func(dst, src []byte)
	data   []byte // the source once read
	line   int
}

// bulkOuts holds a warp's bulk copies to global memory, every lane's open group, and the granules it has dirtied.
type bulkOuts struct {
	entries []bulkOut
	group   [32]int32
	dirty   []int32
}

// decodeBulk: the forms of cp.async.bulk.
func (d *decoder) decodeBulk() {
	switch {
	case d.take("commit_group"):
		d.in.exec = func(w *warp, m uint32) {
			each(m, func(l int) bool { w.bulk.group[l]++; return true })
		}
	case d.take("wait_group"):
		read := d.take("read")
		n := int32(d.immediate(d.arg(0)))
		d.in.exec = func(w *warp, m uint32) {
			w.readSources(m, n)
			if !read {
				w.applyOuts(m, n)
			}
		}
	case d.take("prefetch"):
		d.want("L2", "global")
		d.in.exec = func(*warp, uint32) {}
	case len(d.mods) > 0 && d.mods[0] == "global":
		d.decodeBulkOut(false)
	default:
		d.decodeBulkLoad()
	}
}

// decodeBulkLoad: cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [dst], [src], size, [mbar].
func (d *decoder) decodeBulkLoad() {
	if d.takeOne("shared::cluster", "shared::cta") == "" {
		d.fail("a bulk copy to this space is not modelled")
	}
	d.want("global", "mbarrier::complete_tx::bytes")
	hint := d.take("L2::cache_hint")
	if !d.arity(4, 5) || hint != (len(d.args) == 5) {
		d.fail("a bulk copy takes dst, src, size and mbarrier")
		return
	}
	dst, src, size, mbar := d.address(d.arg(0)), d.address(d.arg(1)), d.src(d.arg(2), 32), d.address(d.arg(3))
	d.b.f.proxied, d.in.shared = true, true
	d.in.exec = func(w *warp, m uint32) {
		to := *dst.lanes(w) // copies: the three share the warp's scratch
		from := *src.lanes(w)
		bar := *mbar.lanes(w)
		each(m, func(l int) bool {
			return w.bulkLoad(bulkLoad{w: w, lane: l, off: int(to[l] - sharedBase), n: int(w.r32[size][l]), from: from[l], mbar: bar[l]})
		})
	}
}

// bulkAligned checks the 16-byte rules of bulk copies.
func (w *warp) bulkAligned(l int, global uint64, off, n int) bool {
	if n <= 0 || n%16 != 0 || global%16 != 0 {
		w.fail(l, "bulk copy of %d bytes at global address %#x; size and address must be multiples of 16", n, global)
		return false
	}
	return w.shared(l, uint64(off+sharedBase), n, 16) != nil && w.global(l, global, n) != nil
}

func (w *warp) bulkLoad(b bulkLoad) bool {
	b.line = w.c.f.code[w.pc].line
	if !w.bulkAligned(b.lane, b.from, b.off, b.n) {
		return false
	}
	bar := w.mbarrierAt(b.lane, b.mbar)
	if bar == nil {
		return false
	}
	if !bar.visible {
		w.fail(b.lane, "the mbarrier at %#x was initialised without fence.mbarrier_init or fence.proxy.async after it", b.mbar)
		return false
	}
	for off := b.off; off < b.off+b.n; off += 16 {
		if !w.fenced(b.lane, off, "the bulk copy overwrites") {
			return false
		}
	}
	if !w.asyncWrite(b.lane, b.off, b.n) {
		return false
	}
	w.c.loads = append(w.c.loads, b)
	return true
}

// completeLoad performs a bulk load: it reads its source now and counts its bytes.
func (c *cta) completeLoad(i int) {
	b := c.loads[i]
	c.loads = append(c.loads[:i], c.loads[i+1:]...)
	src := b.w.global(b.lane, b.from, b.n)
	bar := c.mbars[b.mbar]
	if src == nil {
		return
	}
	c.launched.quiet = 0
	copy(c.smem[b.off:b.off+b.n], src)
	c.hazards.writeDone(b.off, b.n)
	if bar == nil {
		b.w.fail(b.lane, "the mbarrier at %#x was invalidated with the bulk copy of line %d in flight", b.mbar, b.line)
		return
	}
	bar.tx -= b.n
	bar.settle(c)
}

// decodeBulkOut: cp.async.bulk.global.shared::cta.bulk_group [dst], [src], size and its cp.reduce form.
func (d *decoder) decodeBulkOut(reduce bool) {
	d.want("global", "shared::cta", "bulk_group")
	hint := d.take("L2::cache_hint")
	var add func(dst, src []byte)
	if reduce {
		d.want("add")
		d.take("noftz")
		t := d.typ()
		if add = t.bulkAdd(); add == nil {
			d.unsupported(t)
		}
	}
	if !d.arity(3, 4) || hint != (len(d.args) == 4) {
		d.fail("a bulk copy takes dst, src and size")
		return
	}
	dst, src, size := d.address(d.arg(0)), d.address(d.arg(1)), d.src(d.arg(2), 32)
	d.b.f.proxied, d.in.shared = true, true
	d.in.exec = func(w *warp, m uint32) {
		to := *dst.lanes(w) // copies: the two share the warp's scratch
		from := *src.lanes(w)
		each(m, func(l int) bool {
			return w.bulkOut(bulkOut{lane: l, off: int(from[l] - sharedBase), n: int(w.r32[size][l]), to: to[l], reduce: add})
		})
	}
}

// bulkAdd adds arrays element by element.
func (t scalar) bulkAdd() func(dst, src []byte) {
	switch {
	case t.isF32():
		return func(dst, src []byte) {
			for i := 0; i+4 <= len(dst); i += 4 {
				sum := f32(binary.LittleEndian.Uint32(dst[i:])) + f32(binary.LittleEndian.Uint32(src[i:]))
				binary.LittleEndian.PutUint32(dst[i:], bits32(sum))
			}
		}
	case t.integer() && t.bits == 32:
		return func(dst, src []byte) {
			for i := 0; i+4 <= len(dst); i += 4 {
				binary.LittleEndian.PutUint32(dst[i:], binary.LittleEndian.Uint32(dst[i:])+binary.LittleEndian.Uint32(src[i:]))
			}
		}
	case t.isHalf():
		return func(dst, src []byte) {
			for i := 0; i+2 <= len(dst); i += 2 {
				sum := t.widen(half16(dst[i:], 0)) + t.widen(half16(src[i:], 0))
				binary.LittleEndian.PutUint16(dst[i:], uint16(t.narrow(sum)))
			}
		}
	}
	return nil
}

// bulkOut issues a copy to global memory. Its source must stay as it is until the copy has read it.
func (w *warp) bulkOut(e bulkOut) bool {
	e.line, e.group = w.c.f.code[w.pc].line, w.bulk.group[e.lane]
	if !w.bulkAligned(e.lane, e.to, e.off, e.n) {
		return false
	}
	for off := e.off; off < e.off+e.n; off += 16 {
		if !w.asyncRead(e.lane, off, "the bulk copy") {
			return false
		}
	}
	w.bulk.entries = append(w.bulk.entries, e)
	return true
}

// readSources makes the copies of lanes m that are older than their n newest groups read their sources.
func (w *warp) readSources(m uint32, n int32) {
	for i := range w.bulk.entries {
		e := &w.bulk.entries[i]
		if m>>e.lane&1 == 0 || e.data != nil || e.group >= w.bulk.group[e.lane]-n {
			continue
		}
		e.data = append([]byte(nil), w.c.smem[e.off:e.off+e.n]...)
		for off := e.off; off < e.off+e.n; off += 16 {
			w.c.hazards.readDone(off)
		}
	}
}

// applyOuts makes the effects of such copies visible.
func (w *warp) applyOuts(m uint32, n int32) {
	kept := w.bulk.entries[:0]
	for _, e := range w.bulk.entries {
		if m>>e.lane&1 == 0 || e.data == nil || e.group >= w.bulk.group[e.lane]-n {
			kept = append(kept, e)
			continue
		}
		w.apply(e)
	}
	w.bulk.entries = kept
}

func (w *warp) apply(e bulkOut) {
	w.c.launched.quiet = 0
	dst := w.global(e.lane, e.to, e.n)
	switch {
	case dst == nil:
	case e.reduce != nil:
		e.reduce(dst, e.data)
	default:
		copy(dst, e.data)
	}
}

// leave hands the copies whose effect nobody waited for to the launch, which applies them at its end.
func (c *cta) leave() {
	for _, w := range c.warps {
		for _, e := range w.bulk.entries {
			c.launched.late = append(c.launched.late, lateOut{w, e})
		}
		w.bulk.entries = nil
	}
}

// lateOut is a bulk copy that outlived its CTA.
type lateOut struct {
	w *warp
	e bulkOut
}

// decodeFence: membar and fence. Memory is sequentially consistent here; only the proxy fences do something.
func decodeFence(d *decoder) {
	switch {
	case d.take("proxy"):
		if d.take("async", "async.shared::cta") {
			d.take("shared::cta", "global", "shared::cluster")
			d.in.exec = func(w *warp, m uint32) { w.fenceProxy(m) }
			return
		}
		d.takeOne("alias", "tensormap::generic")
	case d.take("mbarrier_init"):
		d.want("release", "cluster")
		d.in.exec = func(w *warp, m uint32) { w.showMbarriers(m) }
		return
	}
	d.takeOrder()
	d.take("sc", "gl")
	d.in.exec = func(*warp, uint32) {}
}

// fenceProxy makes what lanes m wrote through the generic proxy visible to the async proxy.
func (w *warp) fenceProxy(m uint32) {
	if w.c.f.proxied {
		w.c.hazards.fence(w, m)
	}
	w.showMbarriers(m)
}
