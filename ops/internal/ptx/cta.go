package ptx

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// cta is one thread block: its warps, its shared memory and what is under way in it.
type cta struct {
	f        *Function
	launched *launched
	launch   Launch
	id       [3]int
	warps    []*warp
	smem     []byte
	hazards  hazards
	bars     [16]barrier
	mbars    map[uint64]*mbarrier
	loads    []bulkLoad // bulk copies to shared memory in flight
	rng      *rand.Rand // nil in the plain schedule
	temper   temper     // of the adversarial schedule
	fault    *Fault
}

// newCTA allocates a CTA; reset makes it a given one.
func newCTA(f *Function, l *launched) *cta {
	threads := l.launch.Block[0] * l.launch.Block[1] * l.launch.Block[2]
	c := &cta{f: f, launched: l, launch: l.launch, smem: make([]byte, f.dynamic+l.launch.Shared)}
	for first := 0; first < threads; first += 32 {
		w := &warp{c: c, index: first / 32,
			r32: make([]lanes32, f.n32+len(f.const32)), r64: make([]lanes64, f.n64+len(f.const64)),
			p: make([]uint32, f.npred), local: make([]byte, 32*f.localBytes)}
		w.live = allLanes
		if threads-first < 32 {
			w.live = 1<<(threads-first) - 1
		}
		c.warps = append(c.warps, w)
	}
	return c
}

// reset starts a CTA: memory and registers hold NaN patterns, which no correct kernel reads.
func (c *cta) reset(id [3]int, rng *rand.Rand) {
	c.id, c.rng = id, rng
	fill(c.smem, 0xff)
	c.hazards.reset(c)
	c.bars = [16]barrier{}
	c.mbars = map[uint64]*mbarrier{}
	c.loads, c.temper, c.fault = nil, temper{}, nil
	threads := c.launch.Block[0] * c.launch.Block[1] * c.launch.Block[2]
	for _, w := range c.warps {
		w.live = allLanes
		if left := threads - 32*w.index; left < 32 {
			w.live = 1<<left - 1
		}
		w.reset()
	}
}

// reset fills registers and constants of a warp.
func (w *warp) reset() {
	f := w.c.f
	for i := range f.n32 {
		w.r32[i] = garbage32
	}
	for i := range f.n64 {
		w.r64[i] = garbage64
	}
	for i := range w.p {
		w.p[i] = 0xaaaa5555
	}
	for i, v := range f.const32 {
		for l := range 32 {
			w.r32[f.n32+i][l] = v
		}
	}
	for i, v := range f.const64 {
		for l := range 32 {
			w.r64[f.n64+i][l] = v
		}
	}
	for _, s := range f.special32 {
		for l := range 32 {
			w.r32[s.slot][l] = w.special32(s.name, l)
		}
	}
	fill(w.local, 0xff)
	w.frags = append(w.frags[:0], fragment{mask: w.live})
	w.pc, w.spun, w.turn = 0, false, 0
	w.cp, w.bulk = cpQueue{}, bulkOuts{}
	w.wg.reset(f)
}

var (
	garbage32 = lanes32From(0xffffffff)
	garbage64 = lanes64From(^uint64(0))
)

func lanes32From(v uint32) (out lanes32) {
	for l := range out {
		out[l] = v
	}
	return out
}

func lanes64From(v uint64) (out lanes64) {
	for l := range out {
		out[l] = v
	}
	return out
}

func fill(b []byte, v byte) {
	if len(b) == 0 {
		return
	}
	b[0] = v
	for n := 1; n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// step gives every warp, or one chosen at random, a turn. It returns whether the CTA has ended.
func (c *cta) step() (done bool) {
	if c.rng != nil {
		return c.stepAdversarial()
	}
	ran := 0
	for _, w := range c.warps {
		ran += w.run(plainQuantum)
		if c.fault != nil {
			return true
		}
	}
	return c.settle(ran)
}

// settle ends the CTA, or completes asynchronous work when every warp waits; nothing to complete is a deadlock.
func (c *cta) settle(ran int) (done bool) {
	if ran > 0 {
		return c.fault != nil
	}
	alive := false
	for _, w := range c.warps {
		alive = alive || w.live != 0
	}
	if !alive {
		return c.finish()
	}
	if !c.completeOne() && c.fault == nil {
		c.fault = c.deadlock()
	}
	return c.fault != nil
}

// finish checks what a CTA leaves behind.
func (c *cta) finish() bool {
	c.leave()
	if len(c.loads) > 0 {
		l := c.loads[0]
		c.fault = &Fault{Kernel: c.f.name, CTA: c.id, Thread: -1, Line: l.line, Text: c.f.textOf(l.line),
			Reason: "every thread has exited with this bulk copy in flight; wait on its mbarrier"}
		return true
	}
	for i, w := range c.warps {
		if first := c.warps[i/4*4]; c.f.warpgroups && w.wg.steps != first.wg.steps && c.fault == nil {
			c.fault = &Fault{Kernel: c.f.name, CTA: c.id, Thread: 32 * i,
				Reason: fmt.Sprintf("warp %d ran %d warpgroup instructions, warp %d of its warpgroup %d", i, w.wg.steps, i/4*4, first.wg.steps)}
		}
	}
	return true
}

func (f *Function) textOf(line int) string {
	for i := range f.code {
		if f.code[i].line == line {
			return f.code[i].text
		}
	}
	return ""
}

// deadlock says who waits for what.
func (c *cta) deadlock() *Fault {
	var b strings.Builder
	b.WriteString("deadlock:")
	fault := &Fault{Kernel: c.f.name, CTA: c.id, Thread: -1}
	for _, w := range c.warps {
		for _, f := range w.frags {
			at := f.pc
			if f.parked == atBarrier {
				at--
			}
			in := &c.f.code[at]
			if fault.Line == 0 || f.parked == atCollective {
				fault.Line, fault.Text = in.line, in.text
			}
			fmt.Fprintf(&b, " warp %d lanes %#x wait at line %d %s (%s);", w.index, f.mask, in.line, f.waitsFor(w), in.text)
		}
	}
	fault.Reason = strings.TrimSuffix(b.String(), ";")
	return fault
}

func (f *fragment) waitsFor(w *warp) string {
	switch f.parked {
	case atCollective:
		return "for the other lanes of the warp: a divergent collective"
	case atBarrier:
		return w.c.bars[f.barrier].describe(f.barrier)
	case atMbarrier:
		return "for an mbarrier: " + w.describeMbarriers()
	}
	return "for nothing"
}
