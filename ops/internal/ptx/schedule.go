package ptx

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"
)

const (
	// plainQuantum is how many instructions a warp runs before the next one has its turn.
	plainQuantum = 1024
	// quietLimit is how many warp-instructions may pass in a launch without a store, a barrier or an exit before the
	// run is taken for a spin that never ends.
	quietLimit = 1 << 22
)

// launched is the state of one Run.
type launched struct {
	mem     Memory
	launch  Launch
	stats   Stats
	quiet   int
	clock   uint64
	late    []lateOut // bulk copies to global memory that nobody waited for
	globals []byte    // this run's .global and .const variables
}

// count adds the instructions a fragment has run.
func (l *launched) count(n int, m uint32) {
	l.stats.Instructions += int64(n) * int64(bits.OnesCount32(m))
	l.quiet += n
	l.clock += uint64(n)
}

// Run executes a launch to its end or to the first fault, a *Fault. Concurrent runs are independent as long as the
// memory they write is.
func (f *Function) Run(mem Memory, l Launch, s Schedule) (stats Stats, err error) {
	if err := f.check(l); err != nil {
		return Stats{}, err
	}
	state := &launched{mem: mem, launch: l, globals: append([]byte(nil), f.globals...)}
	var active []*cta
	defer func() {
		if r := recover(); r != nil {
			stats, err = state.stats, internal(f, active, r)
		}
	}()
	err = state.run(f, s, &active)
	return state.stats, err
}

// internal reports a panic of the interpreter itself.
func internal(f *Function, active []*cta, r any) error {
	var where strings.Builder
	for _, c := range active {
		for _, w := range c.warps {
			in := &f.code[w.pc]
			fmt.Fprintf(&where, " cta %v warp %d line %d %q;", c.id, w.index, in.line, in.text)
		}
	}
	return fmt.Errorf("ptx: kernel %s: internal error: %v;%s", f.name, r, where.String())
}

// check refuses launches that no driver would take.
func (f *Function) check(l Launch) error {
	threads := 1
	for i := range 3 {
		if l.Grid[i] < 1 || l.Block[i] < 1 {
			return fmt.Errorf("ptx: kernel %s: grid %v and block %v must be positive", f.name, l.Grid, l.Block)
		}
		threads *= l.Block[i]
	}
	switch {
	case threads > 1024:
		return fmt.Errorf("ptx: kernel %s: a block has at most 1024 threads, not %d", f.name, threads)
	case f.maxThreads > 0 && threads > f.maxThreads:
		return fmt.Errorf("ptx: kernel %s: block of %d threads; .maxntid allows %d", f.name, threads, f.maxThreads)
	case len(l.Args) != f.argBytes:
		return fmt.Errorf("ptx: kernel %s: %d argument bytes; it takes %d", f.name, len(l.Args), f.argBytes)
	case l.Shared < 0 || f.dynamic+l.Shared > 227<<10:
		return fmt.Errorf("ptx: kernel %s: %d static and %d dynamic shared bytes; at most %d fit", f.name, f.static, l.Shared, 227<<10)
	}
	return nil
}

// run starts the CTAs in linear order, keeps a number of them resident and gives each its turn.
func (l *launched) run(f *Function, s Schedule, active *[]*cta) error {
	resident := max(s.Resident, 1)
	total := l.launch.Grid[0] * l.launch.Grid[1] * l.launch.Grid[2]
	var free []*cta
	var order *rand.Rand
	if s.Adversarial {
		order = rand.New(rand.NewPCG(s.Seed, 0x9e3779b97f4a7c15))
	}
	for next, turn := 0, 0; next < total || len(*active) > 0; turn++ {
		for next < total && len(*active) < resident {
			c := take(&free, f, l)
			c.reset(l.position(next), seeded(s, next))
			*active = append(*active, c)
			next++
		}
		at := turn % len(*active)
		if order != nil {
			at = order.IntN(len(*active))
		}
		c := (*active)[at]
		done := c.step()
		switch {
		case c.fault != nil:
			return c.fault
		case l.quiet > quietLimit:
			return c.spinning()
		case done:
			*active = append((*active)[:at], (*active)[at+1:]...)
			free = append(free, c)
		}
	}
	return l.applyLate(order)
}

// applyLate performs the bulk copies to global memory whose effect nobody waited for: in any order.
func (l *launched) applyLate(order *rand.Rand) error {
	if order != nil {
		order.Shuffle(len(l.late), func(i, j int) { l.late[i], l.late[j] = l.late[j], l.late[i] })
	}
	for _, x := range l.late {
		x.w.apply(x.e)
		if f := x.w.c.fault; f != nil {
			return f
		}
	}
	return nil
}

// seeded is the source of a CTA's adversarial choices, nil in the plain schedule.
func seeded(s Schedule, cta int) *rand.Rand {
	if !s.Adversarial {
		return nil
	}
	return rand.New(rand.NewPCG(s.Seed, uint64(cta)+1))
}

func take(free *[]*cta, f *Function, l *launched) *cta {
	if n := len(*free); n > 0 {
		c := (*free)[n-1]
		*free = (*free)[:n-1]
		return c
	}
	return newCTA(f, l)
}

// position is the coordinates of a CTA's linear index.
func (l *launched) position(i int) [3]int {
	g := l.launch.Grid
	return [3]int{i % g[0], i / g[0] % g[1], i / g[0] / g[1]}
}

// spinning is the fault of a launch in which nothing happens any more.
func (c *cta) spinning() *Fault {
	for _, w := range c.warps {
		if w.live != 0 {
			w.failMask(w.live, "spins without end: no store, barrier or exit for %d instructions; does it wait for a CTA that has not started?", quietLimit)
			break
		}
	}
	return c.fault
}

// temper is how an adversarial schedule treats a CTA; it is drawn anew now and then.
type temper struct {
	order   []int // preference among warps, when greedy
	greedy  bool
	quantum int // most instructions that a warp runs in one turn
	parting int // one in so many accesses to memory splits a warp, 0 for none
	early   int // one in so many turns completes an asynchronous copy before it must, 0 for none
}

// draw makes a new temper: extremes are as likely as moderation, because races hide behind either.
func (c *cta) draw() {
	r := c.rng
	c.temper = temper{
		order: r.Perm(len(c.warps)), greedy: r.IntN(2) == 0,
		quantum: []int{1, 4, 30, 1000}[r.IntN(4)],
		parting: []int{0, 2, 6, 30}[r.IntN(4)],
		early:   []int{0, 2, 16}[r.IntN(3)],
	}
}

// stepAdversarial runs one warp, greedily by a random order or drawn afresh, for a random while, and sometimes
// completes an asynchronous copy before it must.
func (c *cta) stepAdversarial() (done bool) {
	r := c.rng
	if c.temper.quantum == 0 || r.IntN(256) == 0 {
		c.draw()
	}
	if c.temper.early > 0 && r.IntN(c.temper.early) == 0 {
		c.completeEarly()
	}
	quantum := 1 + r.IntN(c.temper.quantum)
	ran := 0
	if !c.temper.greedy {
		ran = c.warps[r.IntN(len(c.warps))].run(quantum)
	}
	for _, i := range c.temper.order {
		if ran > 0 || c.fault != nil {
			break
		}
		ran = c.warps[i].run(quantum)
	}
	return c.settle(ran)
}

// part splits fragment i at random before an instruction that touches memory, so that its lanes run apart until the
// next collective.
func (w *warp) part(i, pc int) bool {
	r := w.c.rng
	m := w.frags[i].mask
	if m&(m-1) == 0 || len(w.frags) >= 4 || w.c.temper.parting == 0 || r.IntN(w.c.temper.parting) != 0 {
		return false
	}
	some := m & r.Uint32()
	if some == 0 || some == m {
		return false
	}
	w.frags[i].pc, w.frags[i].mask = pc, some
	w.frags = append(w.frags, fragment{pc: pc, mask: m &^ some})
	return true
}
