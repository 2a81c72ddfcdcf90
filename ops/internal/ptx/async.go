package ptx

// asyncDecoders are cp.async of the sm_80 kind and the bulk copies of sm_90.
var asyncDecoders = map[string]func(*decoder){"cp": decodeCopy}

func decodeCopy(d *decoder) {
	d.b.f.tracked = true
	switch {
	case d.take("reduce"):
		d.want("async", "bulk")
		d.decodeBulkOut(true)
	case !d.take("async"):
		d.fail("cp without .async is not modelled")
	case d.take("bulk"):
		d.decodeBulk()
	case d.take("commit_group"):
		d.in.exec = func(w *warp, m uint32) {
			each(m, func(l int) bool { w.cp.group[l]++; return true })
		}
	case d.take("wait_group"):
		n := int32(d.immediate(d.arg(0)))
		d.in.exec = func(w *warp, m uint32) { w.waitCopies(m, n) }
	case d.take("wait_all"):
		d.in.exec = func(w *warp, m uint32) {
			each(m, func(l int) bool { w.cp.group[l]++; return true })
			w.waitCopies(m, 0)
		}
	case d.take("mbarrier"):
		d.want("arrive", "b64")
		noinc := d.take("noinc")
		d.takeOne("shared", "shared::cta")
		a := d.address(d.arg(0))
		d.in.shared = true
		d.in.exec = func(w *warp, m uint32) { w.arriveAfterCopies(m, a.lanes(w), noinc) }
	default:
		d.decodeCopyAsync()
	}
}

// cpQueue holds the cp.async operations of a warp in flight and every lane's open group.
type cpQueue struct {
	entries []cpEntry
	group   [32]int32
}

// cpEntry is one lane's copy, or with n = 0 its arrival at an mbarrier once the copies before it are complete.
type cpEntry struct {
	lane   int
	group  int32
	off, n int // in shared memory
	from   uint64
	source int // bytes to read; the rest becomes zero
	mbar   uint64
	line   int
}

// decodeCopyAsync: cp.async.{ca,cg}.shared.global [dst], [src], size[, src-size].
func (d *decoder) decodeCopyAsync() {
	cg := d.takeOne("ca", "cg") == "cg"
	d.takeOne("shared", "shared::cta")
	d.want("global")
	d.takeOne("L2::64B", "L2::128B", "L2::256B")
	if !d.arity(3, 4) {
		return
	}
	n := int(d.immediate(d.arg(2)))
	if n != 16 && (cg || n != 4 && n != 8) {
		d.fail("a cp.async of %d bytes does not exist", n)
	}
	dst, src := d.address(d.arg(0)), d.address(d.arg(1))
	size := d.b.constant(uint64(n), 32)
	if len(d.args) > 3 {
		size = d.src(d.arg(3), 32)
	}
	d.in.shared = true
	d.in.exec = func(w *warp, m uint32) {
		to := *dst.lanes(w)
		from := src.lanes(w)
		each(m, func(l int) bool {
			return w.copyAsync(cpEntry{lane: l, group: w.cp.group[l], off: int(to[l] - sharedBase), n: n, from: from[l], source: int(w.r32[size][l])})
		})
	}
}

// copyAsync issues one lane's copy: it checks both ends.
func (w *warp) copyAsync(e cpEntry) bool {
	e.line = w.c.f.code[w.pc].line
	switch {
	case e.source > e.n:
		w.fail(e.lane, "cp.async of %d bytes with a source size of %d", e.n, e.source)
	case e.from%uint64(e.n) != 0:
		w.fail(e.lane, "misaligned global source %#x of a cp.async of %d bytes", e.from, e.n)
	case w.shared(e.lane, uint64(e.off+sharedBase), e.n, e.n) == nil:
	case e.source > 0 && w.global(e.lane, e.from, e.source) == nil:
	case w.asyncWrite(e.lane, e.off, e.n):
		w.cp.entries = append(w.cp.entries, e)
		return true
	}
	return false
}

// waitCopies completes the groups of lanes m that are older than the n newest.
func (w *warp) waitCopies(m uint32, n int32) {
	kept := w.cp.entries[:0]
	for _, e := range w.cp.entries {
		if e.n == 0 || m>>e.lane&1 == 0 || e.group >= w.cp.group[e.lane]-n {
			kept = append(kept, e)
			continue
		}
		w.complete(e)
	}
	w.cp.entries = kept
}

// complete performs a copy: it reads its source now.
func (w *warp) complete(e cpEntry) {
	c := w.c
	c.launched.quiet = 0
	if e.n == 0 {
		if b := w.mbarrierAt(e.lane, e.mbar); b != nil {
			b.arrive(w, e.lane, 1)
		}
		return
	}
	dst := c.smem[e.off : e.off+e.n]
	clear(dst)
	if e.source > 0 {
		if src := w.global(e.lane, e.from, e.source); src != nil {
			copy(dst, src)
		}
	}
	c.hazards.writeDone(e.off, e.n)
	if c.f.proxied { // cp.async writes through the generic proxy
		c.hazards.mark(w, e.lane, e.off, e.n)
	}
}

// arriveAfterCopies queues an arrival behind the lane's copies. Without .noinc the arrival adds itself to the count.
func (w *warp) arriveAfterCopies(m uint32, addr *lanes64, noinc bool) {
	each(m, func(l int) bool {
		b := w.mbarrierAt(l, addr[l])
		if b == nil {
			return false
		}
		if !noinc {
			b.pending++
		}
		w.cp.entries = append(w.cp.entries, cpEntry{lane: l, mbar: addr[l], line: w.c.f.code[w.pc].line})
		return true
	})
}

// completeArrival completes the first queued arrival of a warp and the copies it waits for.
func (w *warp) completeArrival() bool {
	for i, e := range w.cp.entries {
		if e.n > 0 {
			continue
		}
		kept := append([]cpEntry(nil), w.cp.entries[i+1:]...)
		before := w.cp.entries[:i]
		w.cp.entries = w.cp.entries[:0:0]
		for _, x := range before {
			if x.lane == e.lane {
				w.complete(x)
			} else {
				w.cp.entries = append(w.cp.entries, x)
			}
		}
		w.cp.entries = append(w.cp.entries, kept...)
		w.complete(e)
		return true
	}
	return false
}

// completeOne performs one asynchronous operation that some warp may be waiting for: the plain schedule takes the
// oldest, the adversarial one any.
func (c *cta) completeOne() bool {
	if n := len(c.loads); n > 0 {
		i := 0
		if c.rng != nil {
			i = c.rng.IntN(n)
		}
		c.completeLoad(i)
		return true
	}
	for _, w := range c.warps {
		if w.completeArrival() {
			return true
		}
	}
	return false
}

// completeEarly performs some asynchronous work before anybody waits for it, as the hardware mostly does.
func (c *cta) completeEarly() {
	if n := len(c.loads); n > 0 && c.rng.IntN(2) == 0 {
		c.completeLoad(c.rng.IntN(n))
	}
	w := c.warps[c.rng.IntN(len(c.warps))]
	switch c.rng.IntN(5) {
	case 0:
		w.completeArrival()
	case 1:
		kept := w.cp.entries[:0]
		for _, e := range w.cp.entries {
			if e.n == 0 || c.rng.IntN(2) == 0 {
				kept = append(kept, e)
			} else {
				w.complete(e)
			}
		}
		w.cp.entries = kept
	case 2:
		w.readSources(allLanes, -1<<30)
	case 3:
		w.finishWgmma(1)
	case 4:
		w.applyOuts(allLanes, -1<<30)
	}
}

// checkExit faults when a lane leaves asynchronous work behind that still uses the CTA's memory or registers.
func (w *warp) checkExit(m uint32) {
	for _, e := range w.cp.entries {
		if m>>e.lane&1 != 0 {
			w.fail(e.lane, "exits with the cp.async of line %d in flight; wait for it", e.line)
			return
		}
	}
	for i := range w.bulk.entries {
		e := &w.bulk.entries[i]
		if m>>e.lane&1 == 0 {
			continue
		}
		if e.data == nil {
			w.fail(e.lane, "exits before the bulk copy of line %d has read its source; use cp.async.bulk.wait_group.read", e.line)
			return
		}
	}
	if len(w.wg.pending) > 0 {
		w.failMask(m, "exits with the wgmma of line %d in flight; use wgmma.wait_group", w.wg.pending[0].line)
	}
}
