package ptx

import "fmt"

var controlDecoders = map[string]func(*decoder){
	"bra": decodeBranch, "ret": decodeExit, "exit": decodeExit, "trap": decodeTrap, "brkpt": decodeTrap,
	"bar": decodeBarrier, "barrier": decodeBarrier, "membar": decodeFence, "fence": decodeFence,
	"nanosleep": decodeSleep, "griddepcontrol": decodeDependency, "setmaxnreg": decodeMaxRegisters,
}

func decodeBranch(d *decoder) {
	uniform := d.take("uni")
	d.in.kind = kindBranch
	if uniform && d.in.guard >= 0 {
		d.fail("bra.uni with a guard is not modelled")
	}
	d.b.fixups = append(d.b.fixups, fixup{len(d.b.f.code), d.arg(0), d.b.scope})
}

func decodeExit(d *decoder) {
	d.take("uni")
	d.in.kind = kindExit
}

func decodeTrap(d *decoder) {
	d.in.exec = func(w *warp, m uint32) { w.failMask(m, "the kernel trapped") }
}

func decodeSleep(d *decoder) {
	d.want("u32")
	d.in.exec = func(w *warp, _ uint32) { w.spun = true }
}

func decodeDependency(d *decoder) {
	d.takeOne("launch_dependents", "wait")
	d.in.exec = func(*warp, uint32) {}
}

// barrier is one of the 16 named barriers of a CTA.
type barrier struct {
	arrived  int
	expected int // given count, 0 for all threads of the CTA
	line     int // of the first arrival of this generation
}

func (b *barrier) describe(id int) string {
	want := "all threads"
	if b.expected > 0 {
		want = fmt.Sprintf("%d threads", b.expected)
	}
	return fmt.Sprintf("at barrier %d, where %d of %s have arrived", id, b.arrived, want)
}

// decodeBarrier: bar.sync, bar.arrive, barrier.sync and bar.warp.sync. The aligned forms take whole warps.
func decodeBarrier(d *decoder) {
	if d.take("warp") {
		d.want("sync")
		d.memberMask(d.arg(0))
		d.in.exec = func(*warp, uint32) {}
		return
	}
	d.take("cta")
	aligned := d.take("aligned") || d.op[0] == "bar"
	arrive := d.takeOne("sync", "arrive")
	if arrive == "" || !d.arity(1, 2) || arrive == "arrive" && !d.arity(2, 2) {
		d.fail("this barrier is not modelled")
		return
	}
	id, count := d.src(d.arg(0), 32), d.b.constant(0, 32)
	if len(d.args) == 2 {
		count = d.src(d.arg(1), 32)
	}
	d.in.kind = kindBarrier
	d.in.required = func(w *warp, m uint32) uint32 {
		if aligned {
			return w.live
		}
		return m
	}
	d.in.exec = func(w *warp, m uint32) {
		if n, ok := w.uniform(id, m, "barrier number"); ok {
			w.arrive(m, int(n), int(w.r32[count][firstLane(m)]), arrive == "sync")
		}
	}
}

// arrive adds a warp to a barrier and parks it unless it only arrives. The hardware counts whole warps.
func (w *warp) arrive(m uint32, id, count int, wait bool) {
	c := w.c
	if id > 15 || count%32 != 0 {
		w.failMask(m, "barrier %d with %d threads; there are barriers 0 to 15, and they count warps of 32", id, count)
		return
	}
	b := &c.bars[id]
	if b.arrived > 0 && b.expected != count {
		w.failMask(m, "barrier %d expects %d threads here and %d at line %d", id, count, b.expected, b.line)
		return
	}
	if b.arrived == 0 {
		b.line = c.f.code[w.pc].line
	}
	b.expected = count
	b.arrived += 32
	if wait {
		w.parkAt = id
	}
	if full := c.barrierSize(b); b.arrived > full {
		w.failMask(m, "%d threads have arrived at barrier %d, which takes %d", b.arrived, id, full)
	} else if b.arrived == full {
		c.releaseBarrier(id)
		w.parkAt = -1
	}
}

// barrierSize is how many threads complete a barrier: without a count, those of the warps that have not exited.
func (c *cta) barrierSize(b *barrier) int {
	if b.expected > 0 {
		return b.expected
	}
	n := 0
	for _, w := range c.warps {
		if w.live != 0 {
			n += 32
		}
	}
	return n
}

func (c *cta) releaseBarrier(id int) {
	c.bars[id] = barrier{}
	c.launched.quiet = 0
	for _, w := range c.warps {
		w.wake(atBarrier, id)
	}
}

// barriersAfterExit completes barriers that waited only for warps that have exited.
func (c *cta) barriersAfterExit() {
	for id := range c.bars {
		if b := &c.bars[id]; b.arrived > 0 && b.expected == 0 && b.arrived >= c.barrierSize(b) {
			c.releaseBarrier(id)
		}
	}
}

// decodeMaxRegisters checks that a warpgroup agrees on the number; registers are not modelled.
func decodeMaxRegisters(d *decoder) {
	d.takeOne("inc", "dec")
	d.want("sync", "aligned", "u32")
	n := d.immediate(d.arg(0))
	if n < 24 || n > 256 || n%8 != 0 {
		d.fail("%d registers; setmaxnreg takes 24 to 256 in steps of 8", n)
	}
	d.in.kind = kindCollective
	d.in.required = wholeWarp
	d.in.exec = func(w *warp, m uint32) { w.agree(m, "setmaxnreg", uint64(n)) }
}
