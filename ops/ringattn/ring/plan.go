package ring

import (
	"cmp"
	"slices"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// Plan says which ranks each block visits, in what order and from where it comes; it follows from shapes, mask and sharding alone, so all
// ranks make the same. Blocks go only where a pair of theirs is visible. From there what they gather, if anything, goes home.
//
// In a single ring, block s is at rank s+t in step t of the forward pass, if at all, and comes from the last rank before that needs it.
// In a double ring of inner rings of I ranks it goes round its own inner ring first, then round the next one: what enters an inner ring
// is sent there a whole round ahead, as far as no rank sends more than W-1 blocks for that. The backward pass goes the other way round.
type Plan struct {
	call              Call
	forward, backward route
	travel            Travel
}

// stop is one visit of a block.
type stop struct {
	rank, step int
	parent     int // the stop that the block comes from; -1 is home
}

// visit is a stop seen from the rank: the block of a source, and which of its stops this is.
type visit struct{ source, index int }

// route is all stops of a pass.
type route struct {
	inner  int
	stops  [][]stop  // by source, in order
	visits [][]visit // by rank, in order of steps
}

// sees reports whether any query of rank row sees any key of rank col.
func (c Call) sees(row, col int) bool {
	cols := segments(c.Sharding, col)
	for _, q := range c.rowSegments(row) {
		for _, k := range cols {
			if c.Mask.Meet(mask.Positions(q), mask.Positions(k)) {
				return true
			}
		}
	}
	return false
}

// newPlan looks at every pair of ranks once.
func newPlan(c Call) *Plan {
	size := max(c.Sharding.Ranks(), 1)
	seen := make([][]bool, size) // by rank of the queries and rank of the keys
	for row := range seen {
		seen[row] = make([]bool, size)
		for col := range seen[row] {
			seen[row][col] = row != col && c.sees(row, col)
		}
	}
	keysTravel := func(source, rank int) bool { return seen[rank][source] }
	p := &Plan{call: c, travel: KV}
	p.forward, p.backward = newRoute(size, c.Inner, +1, keysTravel), newRoute(size, c.Inner, -1, keysTravel)
	if c.Travel == KV || c.Travel == "" || size == 1 {
		return p
	}
	q := &Plan{call: c, travel: Q}
	queriesTravel := func(source, rank int) bool { return seen[source][rank] }
	q.forward, q.backward = newRoute(size, c.Inner, +1, queriesTravel), newRoute(size, c.Inner, -1, queriesTravel)
	if c.Travel == Auto && q.elements() >= p.elements() {
		return p
	}
	return q
}

// newRoute lays out the stops of blocks that travel in a direction to the ranks that need them.
func newRoute(size, inner, direction int, needs func(source, rank int) bool) route {
	if inner < 2 {
		inner = size
	}
	r := route{inner: inner, stops: make([][]stop, size), visits: make([][]visit, size)}
	outer := size / inner
	for source := range size {
		for step := 1; step < size; step++ {
			group := mod(source/inner+direction*(step/inner), outer)
			rank := group*inner + mod(source%inner+direction*(step%inner), inner)
			if needs(source, rank) {
				r.visits[rank] = append(r.visits[rank], visit{source, len(r.stops[source])})
				r.stops[source] = append(r.stops[source], stop{rank, step, r.parent(source, step)})
			}
		}
	}
	for _, v := range r.visits {
		slices.SortFunc(v, func(a, b visit) int { return cmp.Compare(r.at(a).step, r.at(b).step) })
	}
	r.bound(size - 1)
	return r
}

// bound sees to it that no rank sends more than so many blocks. A mask may make one rank the entrance to its inner ring for more blocks
// than others; then blocks come from the stop before throughout, where every rank sends each block once.
func (r route) bound(most int) {
	sends := map[int]int{}
	for source := range r.stops {
		r.eachHop(source, false, func(from, _ int) { sends[from]++ })
	}
	for _, n := range sends {
		if n > most {
			for _, stops := range r.stops {
				for i := range stops {
					stops[i].parent = i - 1
				}
			}
			return
		}
	}
}

func mod(a, n int) int { return ((a % n) + n) % n }

func (r route) at(v visit) stop { return r.stops[v.source][v.index] }

// parent is where a source's block comes from for a step, given the stops before: the last stop in the same inner ring, or where the
// block entered the last inner ring before.
func (r route) parent(source, step int) int {
	stops, ring := r.stops[source], step/r.inner
	if n := len(stops); n == 0 || stops[n-1].step/r.inner == ring {
		return n - 1
	}
	last := stops[len(stops)-1].step / r.inner
	if last == 0 {
		return -1 // its home sends it on
	}
	return slices.IndexFunc(stops, func(s stop) bool { return s.step/r.inner == last })
}

// kind is how a hop between two ranks is booked.
func (r route) kind(k dist.Kind, from, to int) dist.Kind {
	if from/r.inner != to/r.inner {
		return k.Outer()
	}
	return k
}

// Travel is what goes round the ring: KV or Q.
func (p *Plan) Travel() Travel { return p.travel }

// kinds are the ledger's for what travels, and for what is gathered and goes home: that of the forward pass is "" where nothing is.
func (p *Plan) kinds() (forward, carry, backward, gradients dist.Kind) {
	if p.travel == Q {
		return dist.ForwardQ, dist.ForwardCarry, dist.BackwardQ, dist.BackwardDQ
	}
	return dist.ForwardKV, "", dist.BackwardKV, dist.BackwardDKV
}

// lengths are the elements of what travels of a source's block, and of what is gathered, in the forward and in the backward pass. Keys
// and values in bfloat16 take half of theirs.
func (p *Plan) lengths(source int) (forward, carry, backward, gradients int) {
	c := p.call
	if p.travel == Q {
		s := c.rows(source)
		carry := c.outLen(s) + 2*c.rowLen(s)
		return c.qLen(s), carry, c.qLen(s) + c.outLen(s) + 3*c.rowLen(s), c.qLen(s)
	}
	s := c.keys(source)
	kv := c.kvLen(s)
	if c.BFloat16 {
		kv = (c.kLen(s)+1)/2 + (c.vLen(s)+1)/2
	}
	return kv, 0, kv, c.kvLen(s)
}

// tensors are how many arrays travel in one message, for the ledger.
func (p *Plan) tensors() (forward, carry, backward, gradients int) {
	if p.travel == Q {
		return 1, 3, 5, 1
	}
	return 2, 0, 2, 2
}

// elements is all that is sent in a forward and a backward pass.
func (p *Plan) elements() (n int) {
	for source, stops := range p.forward.stops {
		forward, carry, backward, gradients := p.lengths(source)
		n += len(stops) * (forward + carry)
		n += len(p.backward.stops[source]) * (backward + gradients)
	}
	return n
}

// Bytes is what all ranks send in a forward and a backward pass, for elements of so many bytes.
func (p *Plan) Bytes(element int) int64 { return int64(p.elements()) * int64(element) }

// Sends is what a rank sends in a forward and a backward pass, by kind, as its ledger counts it, for elements of so many bytes. The
// exchange of rows for heads is not part of it.
func (p *Plan) Sends(rank, element int) map[dist.Kind]dist.Entry {
	sent := map[dist.Kind]dist.Entry{}
	forward, carry, backward, gradients := p.kinds()
	forwardTensors, carryTensors, backwardTensors, gradientTensors := p.tensors()
	for source := range p.forward.stops {
		forwardLen, carryLen, backwardLen, gradientLen := p.lengths(source)
		for _, pass := range []struct {
			route
			kind    dist.Kind
			tensors int
			length  int
			home    bool
		}{
			{p.forward, forward, forwardTensors, forwardLen, false}, {p.forward, carry, carryTensors, carryLen, true},
			{p.backward, backward, backwardTensors, backwardLen, false}, {p.backward, gradients, gradientTensors, gradientLen, true},
		} {
			if pass.kind == "" {
				continue
			}
			pass.eachHop(source, pass.home, func(from, to int) {
				if from == rank {
					k := pass.route.kind(pass.kind, from, to)
					sent[k] = sent[k].Plus(dist.Entry{Hops: 1, Tensors: pass.tensors, Bytes: int64(pass.length * element)})
				}
			})
		}
	}
	return sent
}

// eachHop calls f for the hops of a source's block, or of what it gathers on its way home.
func (r route) eachHop(source int, home bool, f func(from, to int)) {
	stops := r.stops[source]
	for i, s := range stops {
		switch {
		case home && i+1 < len(stops):
			f(s.rank, stops[i+1].rank)
		case home:
			f(s.rank, source)
		case s.parent < 0:
			f(source, s.rank)
		default:
			f(stops[s.parent].rank, s.rank)
		}
	}
}
