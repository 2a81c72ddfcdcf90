package ptx

import "math/bits"

// lanes32 and lanes64 are one register of a warp: a value per lane.
type (
	lanes32 = [32]uint32
	lanes64 = [32]uint64
)

const allLanes = ^uint32(0)

// parking says what a fragment waits for.
type parking uint8

const (
	ready        parking = iota
	atCollective         // for the other lanes of the warp
	atBarrier            // for the other warps of a barrier
	atMbarrier           // for a phase to complete
)

// fragment is a set of lanes of a warp at one pc. A warp is one fragment until its lanes part; fragments that meet at
// a pc become one again.
type fragment struct {
	pc      int
	mask    uint32
	parked  parking
	barrier int // the barrier's number when atBarrier
}

// warp holds 32 lanes: registers, fragments and the asynchronous work they have issued.
type warp struct {
	c     *cta
	index int
	r32   []lanes32
	r64   []lanes64
	p     []uint32 // predicates: a bit per lane
	frags []fragment
	live  uint32 // lanes that have not exited
	pc    int    // of the instruction that runs
	local []byte

	addr lanes64 // scratch of address operands
	t32  lanes32 // scratch of partly active instructions
	t64  lanes64

	waiting uint32   // set by exec of kindWait: lanes whose wait is not over
	parkAt  int      // set by exec of kindBarrier: the barrier to wait at, -1 for none
	spun    bool     // an instruction that polls memory ran: give way at the next backward branch
	turn    int      // rotates among fragments that do not park
	cp      cpQueue  // cp.async
	bulk    bulkOuts // bulk copies to global memory
	wg      wgmmas
}

// pick chooses the fragment to run: the lowest pc, so that parted lanes meet, or by turns when that one does not get
// anywhere; at random under the adversarial schedule. -1 when all are parked.
func (w *warp) pick() int {
	if len(w.frags) == 1 {
		if w.frags[0].parked == ready {
			return 0
		}
		return -1
	}
	best, able := -1, 0
	for i := range w.frags {
		if w.frags[i].parked == ready {
			able++
			if best < 0 || w.frags[i].pc < w.frags[best].pc {
				best = i
			}
		}
	}
	if able < 2 {
		return best
	}
	skip := 0
	switch {
	case w.c.rng != nil:
		skip = w.c.rng.IntN(able)
	case w.turn > 0:
		skip, w.turn = w.turn%able, 0
	default:
		return best
	}
	for i := range w.frags {
		if w.frags[i].parked == ready {
			if skip == 0 {
				return i
			}
			skip--
		}
	}
	return best
}

// run executes up to a quantum of instructions and returns how many it did.
func (w *warp) run(quantum int) int {
	done := 0
	for done < quantum && w.c.fault == nil {
		i := w.pick()
		if i < 0 {
			break
		}
		i = w.merge(i)
		n, stop := w.advance(i, quantum-done)
		done += n
		if stop {
			break
		}
	}
	w.turn++
	return done
}

// merge joins other ready fragments at the same pc to fragment i and returns its new index.
func (w *warp) merge(i int) int {
	if len(w.frags) == 1 || w.c.rng != nil {
		return i
	}
	f := w.frags[i]
	kept := w.frags[:0]
	for _, g := range w.frags {
		if g.parked == ready && g.pc == f.pc {
			f.mask |= g.mask
			continue
		}
		kept = append(kept, g)
	}
	w.frags = append(kept, f)
	return len(kept)
}

// meeting is the pc at which a fragment may meet another one that is ahead of it.
func (w *warp) meeting(i int) int {
	limit := len(w.c.f.code)
	if w.c.rng != nil {
		return limit
	}
	for j := range w.frags {
		if j != i && w.frags[j].parked == ready && w.frags[j].pc > w.frags[i].pc {
			limit = min(limit, w.frags[j].pc)
		}
	}
	return limit
}

// advance runs one fragment until it parks, parts, may meet another or has used its budget. stop asks the scheduler to
// let others run.
func (w *warp) advance(i, budget int) (n int, stop bool) {
	m := w.frags[i].mask
	n, stop = w.execute(i, budget)
	w.c.launched.count(n, m)
	return n, stop
}

func (w *warp) execute(i, budget int) (n int, stop bool) {
	c := w.c
	code := c.f.code
	pc, m := w.frags[i].pc, w.frags[i].mask
	limit := w.meeting(i)
	for n < budget && pc < limit {
		in := &code[pc]
		active := m
		if in.guard >= 0 {
			p := w.p[in.guard]
			if in.inverted {
				p = ^p
			}
			active &= p
		}
		w.pc = pc
		n++
		switch {
		case in.kind == kindPlain:
			if active == 0 {
				pc++
				continue
			}
			if in.shared && c.rng != nil && w.part(i, pc) {
				return n - 1, false
			}
			if c.f.warpgroups {
				w.checkRegisters(in)
			}
			in.exec(w, active)
			if c.fault != nil {
				return n, true
			}
			pc++
		case in.kind == kindBranch && active == 0:
			pc++
		case in.kind == kindBranch && active == m:
			if in.target <= pc && w.spun {
				w.spun = false
				w.frags[i].pc = in.target
				return n, true
			}
			pc = in.target
		default:
			w.frags[i].pc = pc
			return n, w.control(i, in, active)
		}
	}
	w.frags[i].pc = pc
	return n, false
}

// control runs an instruction that may change the fragments.
func (w *warp) control(i int, in *inst, active uint32) (stop bool) {
	f := &w.frags[i]
	if active == 0 {
		f.pc++
		return false
	}
	switch in.kind {
	case kindBranch:
		if in.uniform {
			w.failMask(active, "lanes %#x of %#x branch; .uni promises that all do", active, f.mask)
		}
		w.frags = append(w.frags, fragment{pc: f.pc + 1, mask: f.mask &^ active})
		w.frags[i].mask, w.frags[i].pc = active, in.target
	case kindSwitch:
		w.jump(i, in, active)
	case kindExit:
		w.exit(i, active)
	case kindCollective, kindBarrier:
		w.splitOff(i, active)
		w.collect(i, in)
	case kindWait:
		return w.wait(i, in, active)
	case kindEnd:
		w.failMask(active, "ran past the last instruction")
	}
	return false
}

// jump sends the active lanes to the targets their indices choose.
func (w *warp) jump(i int, in *inst, active uint32) {
	w.splitOff(i, active)
	index := &w.r32[in.index]
	for left := active; left != 0; {
		choice := index[firstLane(left)]
		if int64(choice) >= int64(len(in.table)) {
			w.failMask(left, "index %d of a table with %d targets", choice, len(in.table))
			return
		}
		var same uint32
		for l := range index {
			if left>>l&1 != 0 && index[l] == choice {
				same |= 1 << l
			}
		}
		if left &^= same; left == 0 {
			w.frags[i].mask, w.frags[i].pc = same, in.table[choice]
			return
		}
		w.frags = append(w.frags, fragment{pc: in.table[choice], mask: same})
	}
}

// splitOff leaves only the active lanes in fragment i; the others, whose guard is false, go on behind the instruction.
func (w *warp) splitOff(i int, active uint32) {
	f := &w.frags[i]
	if rest := f.mask &^ active; rest != 0 {
		f.mask = active
		w.frags = append(w.frags, fragment{pc: f.pc + 1, mask: rest})
	}
}

// collect runs a collective once every lane it requires is here, and parks the fragment otherwise.
func (w *warp) collect(i int, in *inst) {
	f := w.frags[i]
	kept := w.frags[:0]
	for j, g := range w.frags {
		switch {
		case j == i:
		case g.parked == atCollective && g.pc == f.pc:
			f.mask |= g.mask
		default:
			kept = append(kept, g)
		}
	}
	f.parked = ready
	w.frags = append(kept, f)
	at := len(kept)
	need := in.required(w, f.mask)
	if w.c.fault != nil {
		return
	}
	if gone := need &^ w.live; gone != 0 {
		w.failMask(f.mask, "needs lanes %#x together, but lanes %#x have exited or do not exist", need, gone)
		return
	}
	if f.mask&need != need {
		w.frags[at].parked = atCollective
		return
	}
	if rest := f.mask &^ need; rest != 0 {
		w.frags[at].mask = need
		w.frags = append(w.frags, fragment{pc: f.pc, mask: rest})
	}
	w.parkAt = -1
	if w.c.f.warpgroups {
		w.checkRegisters(in)
	}
	in.exec(w, need)
	w.frags[at].pc++
	if w.parkAt >= 0 {
		w.frags[at].parked, w.frags[at].barrier = atBarrier, w.parkAt
	}
}

// wait runs an instruction that may not be over for some lanes: those park, the others go on.
func (w *warp) wait(i int, in *inst, active uint32) (stop bool) {
	w.waiting = 0
	in.exec(w, active)
	f := &w.frags[i]
	if w.waiting == 0 {
		f.pc++
		return false
	}
	pc, through := f.pc, f.mask&^w.waiting
	f.mask, f.parked = w.waiting, atMbarrier
	if through != 0 {
		w.frags = append(w.frags, fragment{pc: pc + 1, mask: through})
	}
	return false
}

// exit ends lanes; asynchronous work of theirs that still touches the CTA's memory is a fault.
func (w *warp) exit(i int, active uint32) {
	w.checkExit(active)
	w.live &^= active
	f := &w.frags[i]
	if rest := f.mask &^ active; rest != 0 {
		f.mask = rest
		f.pc++
	} else {
		w.frags = append(w.frags[:i], w.frags[i+1:]...)
	}
	w.c.launched.quiet = 0
	w.wake(atCollective, 0) // what they wait for may be these lanes
	w.c.barriersAfterExit()
}

// wake makes the parked fragments of a kind ready.
func (w *warp) wake(p parking, barrier int) {
	for i := range w.frags {
		f := &w.frags[i]
		if f.parked == p && (p != atBarrier || f.barrier == barrier) {
			f.parked = ready
		}
	}
}

// each calls f for the lanes of a mask until it returns false.
func each(m uint32, f func(l int) bool) {
	for ; m != 0; m &= m - 1 {
		if !f(bits.TrailingZeros32(m) & 31) {
			return
		}
	}
}
