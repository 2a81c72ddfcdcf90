package ptx

import (
	"fmt"
	"math/bits"
)

var controlDecoders = map[string]func(*decoder){
	"bra": decodeBranch, "brx": decodeSwitch, "ret": decodeExit, "exit": decodeExit, "trap": decodeTrap, "brkpt": decodeTrap,
	"bar": decodeBarrier, "barrier": decodeBarrier, "membar": decodeFence, "fence": decodeFence,
	"nanosleep": decodeSleep, "griddepcontrol": decodeDependency, "setmaxnreg": decodeMaxRegisters,
}

func decodeBranch(d *decoder) {
	d.in.uniform = d.take("uni")
	d.in.kind = kindBranch
	d.b.fixups = append(d.b.fixups, fixup{len(d.b.f.code), []string{d.arg(0)}, d.b.scope})
}

// decodeSwitch: brx.idx index, table jumps to an entry of a .branchtargets list.
func decodeSwitch(d *decoder) {
	d.want("idx")
	d.in.uniform = d.take("uni")
	d.in.index = d.src(d.arg(0), 32)
	labels, ok := d.b.scope.table(d.arg(1))
	if !ok {
		d.fail("no .branchtargets %q", d.arg(1))
	}
	d.in.kind = kindSwitch
	d.b.fixups = append(d.b.fixups, fixup{len(d.b.f.code), labels, d.b.scope})
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
	votes    []vote
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
	if d.take("red") {
		d.reductionBarrier()
		return
	}
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

// arrive adds lanes of a warp to a barrier and parks them unless they only arrive. The hardware counts warps of 32: the
// lanes that do not exist or have exited come with the lowest live one.
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
	b.arrived += bits.OnesCount32(m)
	if m>>firstLane(w.live)&1 != 0 {
		b.arrived += 32 - bits.OnesCount32(w.live)
	}
	if wait {
		w.parkAt = id
	}
	if b.arrived >= c.barrierSize(b) {
		c.releaseBarrier(id)
		w.parkAt = -1
	}
}

// reductionBarrier: bar.red.op.type d, id[, count], [!]p counts or combines a predicate over the CTA.
func (d *decoder) reductionBarrier() {
	d.take("sync", "aligned")
	t := d.typ()
	op := d.takeOne("popc", "and", "or")
	if op == "" || !d.arity(3, 4) || (op == "popc") == (t.class == predClass) {
		d.fail("this barrier is not modelled")
		return
	}
	dst, id, count := d.dst(d.arg(0), t.width()), d.src(d.arg(1), 32), d.b.constant(0, 32)
	if len(d.args) == 4 {
		count = d.src(d.arg(2), 32)
	}
	p, flip := d.predicateSource(d.args[len(d.args)-1])
	d.in.kind = kindBarrier
	d.in.required = func(w *warp, _ uint32) uint32 { return w.live }
	d.in.exec = func(w *warp, m uint32) {
		n, ok := w.uniform(id, m, "barrier number")
		if !ok || n > 15 {
			w.failMask(m, "barrier %d; there are barriers 0 to 15", n)
			return
		}
		b := &w.c.bars[n]
		b.votes = append(b.votes, vote{w, m, (w.p[p] ^ flip) & m, op, dst})
		w.arrive(m, int(n), int(w.r32[count][firstLane(m)]), true)
	}
}

// vote is a warp's part in a reduction barrier.
type vote struct {
	w        *warp
	m, value uint32
	op       string
	dst      int32
}

// deliver gives every warp of a reduction barrier the result.
func (b *barrier) deliver() {
	sum, all := uint32(0), true
	for _, v := range b.votes {
		sum += uint32(bits.OnesCount32(v.value))
		all = all && v.value == v.m
	}
	for _, v := range b.votes {
		switch v.op {
		case "popc":
			v.w.t32 = lanes32From(sum)
			v.w.keep32(v.dst, v.m)
		case "and":
			v.w.setPredicate(v.dst, v.m, mask32(all))
		case "or":
			v.w.setPredicate(v.dst, v.m, mask32(sum > 0))
		}
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
	c.bars[id].deliver()
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
	d.b.f.tracked = true
	d.in.kind, d.in.required = kindCollective, wholeWarp
	d.in.exec = func(w *warp, m uint32) { w.agree(m, "setmaxnreg", uint64(n)) }
}
