package ptx

import (
	"fmt"
	"slices"
	"strings"
)

var mbarrierDecoders = map[string]func(*decoder){"mbarrier": decodeMbarrier}

// mbarrier is an object in shared memory: it completes a phase when the expected arrivals and bytes have come.
type mbarrier struct {
	at      uint64
	count   int // arrivals of a phase
	pending int // arrivals still missing
	tx      int // bytes still missing
	phase   int
	thread  int  // that initialised it
	visible bool // to the async proxy
}

// settle completes the phase when nothing is missing.
func (b *mbarrier) settle(c *cta) {
	if b.pending != 0 || b.tx != 0 {
		return
	}
	b.phase++
	b.pending = b.count
	c.launched.quiet = 0
	for _, w := range c.warps {
		w.wake(atMbarrier, 0)
	}
}

// arrive counts arrivals.
func (b *mbarrier) arrive(w *warp, l, n int) {
	if n > b.pending {
		w.fail(l, "%d arrivals at the mbarrier %#x, which expects %d more of %d in this phase", n, b.at, b.pending, b.count)
		return
	}
	b.pending -= n
	b.settle(w.c)
}

// mbarrierAt is the object at an address, nil with a fault when there is none.
func (w *warp) mbarrierAt(l int, at uint64) *mbarrier {
	if b := w.c.mbars[at]; b != nil {
		return b
	}
	w.fail(l, "no mbarrier has been initialised at %#x", at)
	return nil
}

// showMbarriers makes the objects that lanes m initialised visible to the async proxy.
func (w *warp) showMbarriers(m uint32) {
	for _, b := range w.c.mbars {
		if b.thread/32 == w.index && m>>(b.thread%32)&1 != 0 {
			b.visible = true
		}
	}
}

// describeMbarriers lists the objects that still miss something.
func (w *warp) describeMbarriers() string {
	var out []string
	for _, b := range w.c.mbars {
		out = append(out, fmt.Sprintf("%#x in phase %d misses %d of %d arrivals and %d bytes", b.at, b.phase, b.pending, b.count, b.tx))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// decodeMbarrier: init, inval, arrive[.expect_tx], arrive_drop, expect_tx, complete_tx, test_wait and try_wait.
func decodeMbarrier(d *decoder) {
	d.b.f.tracked = true
	d.take("b64")
	d.take("shared", "shared::cta", "shared::cluster")
	d.take("cta", "cluster")
	d.take("release", "acquire", "relaxed")
	d.in.shared = true
	switch {
	case d.take("init"):
		d.mbarrierInit()
	case d.take("inval"):
		a := d.address(d.arg(0))
		d.perLane(&a, func(w *warp, l int, b *mbarrier) { w.c.dropMbarrier(b.at) })
	case d.take("arrive"):
		d.mbarrierArrive()
	case d.take("expect_tx"):
		a, n := d.address(d.arg(0)), d.src(d.arg(1), 32)
		d.perLane(&a, func(w *warp, l int, b *mbarrier) { b.tx += int(w.r32[n][l]) })
	case d.take("complete_tx"):
		a, n := d.address(d.arg(0)), d.src(d.arg(1), 32)
		d.perLane(&a, func(w *warp, l int, b *mbarrier) {
			b.tx -= int(w.r32[n][l])
			b.settle(w.c)
		})
	case d.take("test_wait"):
		d.mbarrierWait(false)
	case d.take("try_wait"):
		d.mbarrierWait(true)
	default:
		d.fail("this mbarrier operation is not modelled")
	}
}

// perLane makes an instruction that does something to each lane's object.
func (d *decoder) perLane(a *address, do func(w *warp, l int, b *mbarrier)) {
	d.in.exec = func(w *warp, m uint32) {
		addr := *a.lanes(w)
		each(m, func(l int) bool {
			if b := w.mbarrierAt(l, addr[l]); b != nil {
				do(w, l, b)
			}
			return w.c.fault == nil
		})
	}
}

func (d *decoder) mbarrierInit() {
	if !d.arity(2, 2) {
		return
	}
	a, n := d.address(d.arg(0)), d.src(d.arg(1), 32)
	d.in.exec = func(w *warp, m uint32) {
		addr := *a.lanes(w)
		each(m, func(l int) bool {
			count := int(w.r32[n][l])
			if w.shared(l, addr[l], 8, 8) == nil {
				return false
			}
			if count < 1 || count >= 1<<20 {
				w.fail(l, "an mbarrier counts 1 to 2^20-1 arrivals, not %d", count)
				return false
			}
			if old := w.c.mbars[addr[l]]; old != nil {
				w.fail(l, "the mbarrier at %#x is already initialised", addr[l])
				return false
			}
			w.c.mbars[addr[l]] = &mbarrier{at: addr[l], count: count, pending: count, thread: 32*w.index + l}
			w.c.markMbarrier(addr[l], wordMbarrier)
			return true
		})
	}
}

// markMbarrier sets or clears the words of an object.
func (c *cta) markMbarrier(at uint64, mark uint8) {
	i := (at - sharedBase) / 4
	c.hazards.words[i], c.hazards.words[i+1] = mark, mark
}

func (c *cta) dropMbarrier(at uint64) {
	delete(c.mbars, at)
	c.markMbarrier(at, 0)
}

// mbarrierArrive: arrive [state,] [a][, count] and arrive.expect_tx [state,] [a], bytes. The state is the phase.
func (d *decoder) mbarrierArrive() {
	expect := d.take("expect_tx")
	d.take("noComplete")
	args := d.args
	state := int32(-1)
	if len(args) > 0 && args[0][0] != '[' {
		state = d.dst(args[0], 64)
		args = args[1:]
	}
	if len(args) < 1 || len(args) > 2 || expect && len(args) != 2 {
		d.fail("mbarrier.arrive takes an address and a count")
		return
	}
	a, n := d.address(args[0]), d.b.constant(1, 32)
	if len(args) == 2 {
		n = d.src(args[1], 32)
	}
	d.perLane(&a, func(w *warp, l int, b *mbarrier) {
		count := int(w.r32[n][l])
		if state >= 0 {
			w.r64[state][l] = uint64(b.phase)
		}
		if expect {
			b.tx += count
			count = 1
		}
		b.arrive(w, l, count)
	})
}

// mbarrierWait: a phase is over when the object is in another one. try_wait may wait; test_wait only looks.
func (d *decoder) mbarrierWait(wait bool) {
	parity := d.take("parity")
	if !d.arity(3, 4) {
		return
	}
	p, a := d.dst(d.arg(0), 1), d.address(d.arg(1))
	bits := 64
	if parity {
		bits = 32
	}
	phase := d.src(d.arg(2), bits)
	if wait {
		d.in.kind = kindWait
	}
	d.in.exec = func(w *warp, m uint32) {
		addr := *a.lanes(w)
		w.spun = true
		each(m, func(l int) bool {
			b := w.mbarrierAt(l, addr[l])
			if b == nil {
				return false
			}
			over := false
			if parity {
				over = uint32(b.phase&1) != w.r32[phase][l]&1
			} else {
				over = uint64(b.phase) != w.r64[phase][l]
			}
			if !over && wait {
				w.waiting |= 1 << l
			}
			w.setPredicate(p, 1<<l, mask32(over))
			return true
		})
		if w.waiting != 0 && w.c.rng != nil && w.c.rng.IntN(4) == 0 {
			w.waiting = 0 // the time limit of try_wait has passed: it returns false
		}
	}
}
