package ring

import (
	"slices"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// Plan says which ranks each block visits, in what order and from where it comes; it follows from shapes, mask and sharding alone, so all
// ranks make the same. Blocks go only where a pair of theirs is visible. From there what they gather, if anything, goes home.
//
// In a single ring, block s is at rank s+t in step t of the forward pass, if at all, and comes from the last rank before that needs it.
// In a double ring of inner rings of I ranks it goes round its own inner ring first, then round the next one: what enters an inner ring
// is sent there a whole round ahead, as far as no rank sends more than W-1 blocks for that. The backward pass goes the other way round.
type Plan struct {
	travel            Travel
	forward, backward pass
}

// pass is a route with what travels on it, and what is gathered and goes home; the forward pass of keys gathers nothing.
type pass struct {
	route
	block, sum cargo
}

// cargo is what one message holds: its name in the ledger ("" for nothing), how many arrays, and how many elements for the block of a source.
type cargo struct {
	kind    dist.Kind
	tensors int
	length  func(source int) int
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
	keys := c.keysTravel(func(source, rank int) bool { return seen[rank][source] })
	if c.Travel == KV || c.Travel == "" || size == 1 {
		return keys
	}
	queries := c.queriesTravel(func(source, rank int) bool { return seen[source][rank] })
	if c.Travel == Auto && queries.elements() >= keys.elements() {
		return keys
	}
	return queries
}

// keysTravel is the plan for keys and values, which in a narrower type take half of their elements.
func (c Call) keysTravel(needs func(source, rank int) bool) *Plan {
	kv := func(source int) int {
		s := c.keys(source)
		if c.DType != "" {
			return (c.kLen(s)+1)/2 + (c.vLen(s)+1)/2
		}
		return c.kvLen(s)
	}
	dkv := func(source int) int { return c.kvLen(c.keys(source)) }
	return &Plan{KV,
		pass{c.forwardRoute(needs), cargo{dist.ForwardKV, 2, kv}, cargo{}},
		pass{c.backwardRoute(needs), cargo{dist.BackwardKV, 2, kv}, cargo{dist.BackwardDKV, 2, dkv}},
	}
}

// queriesTravel is the plan for queries with their carry (O, m, l), and in the backward pass for Q, dO, lse, its low part and delta.
func (c Call) queriesTravel(needs func(source, rank int) bool) *Plan {
	q := func(source int) int { return c.qLen(c.rows(source)) }
	out := func(source int) int { return c.outLen(c.rows(source)) }
	line := func(source int) int { return c.rowLen(c.rows(source)) }
	carry := func(source int) int { return out(source) + 2*line(source) }
	all := func(source int) int { return q(source) + out(source) + 3*line(source) }
	return &Plan{Q,
		pass{c.forwardRoute(needs), cargo{dist.ForwardQ, 1, q}, cargo{dist.ForwardCarry, 3, carry}},
		pass{c.backwardRoute(needs), cargo{dist.BackwardQ, 5, all}, cargo{dist.BackwardDQ, 1, q}},
	}
}

func (c Call) forwardRoute(needs func(source, rank int) bool) route {
	return newRoute(c.Sharding.Ranks(), c.Inner, shard.ForwardSource, needs)
}

func (c Call) backwardRoute(needs func(source, rank int) bool) route {
	return newRoute(c.Sharding.Ranks(), c.Inner, shard.BackwardSource, needs)
}

// newRoute lays out the stops of blocks at the ranks that need them; sourceOf says whose block a rank meets in a step of a single ring.
func newRoute(size, inner int, sourceOf func(rank, step, size int) int, needs func(source, rank int) bool) route {
	if inner < 2 {
		inner = size
	}
	r := route{inner: inner, stops: make([][]stop, size), visits: make([][]visit, size)}
	for step := 1; step < size; step++ {
		for rank := range size {
			source := sourceOf(rank/inner, step/inner, size/inner)*inner + sourceOf(rank%inner, step%inner, inner)
			if needs(source, rank) {
				r.visits[rank] = append(r.visits[rank], visit{source, len(r.stops[source])})
				r.stops[source] = append(r.stops[source], stop{rank, step, r.parent(source, step)})
			}
		}
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

// elements is all that is sent in a forward and a backward pass.
func (p *Plan) elements() (n int) {
	p.eachHop(func(_, _, elements int, _ dist.Kind, _ cargo) { n += elements })
	return n
}

// eachHop calls f for all messages of both passes.
func (p *Plan) eachHop(f func(from, to, elements int, kind dist.Kind, c cargo)) {
	for _, way := range []pass{p.forward, p.backward} {
		for source := range way.stops {
			book := func(c cargo) func(from, to int) {
				return func(from, to int) { f(from, to, c.length(source), way.kind(c.kind, from, to), c) }
			}
			way.eachHop(source, false, book(way.block))
			if way.sum.kind != "" {
				way.eachHop(source, true, book(way.sum))
			}
		}
	}
}

// Bytes is what all ranks send in a forward and a backward pass, for elements of so many bytes.
func (p *Plan) Bytes(element int) int64 { return int64(p.elements()) * int64(element) }

// Sends is what a rank sends in a forward and a backward pass, by kind, as its ledger counts it, for elements of so many bytes. The
// exchange of rows for heads is not part of it.
func (p *Plan) Sends(rank, element int) map[dist.Kind]dist.Entry {
	sent := map[dist.Kind]dist.Entry{}
	p.eachHop(func(from, _, elements int, kind dist.Kind, c cargo) {
		if from == rank {
			sent[kind] = sent[kind].Plus(dist.Entry{Hops: 1, Tensors: c.tensors, Bytes: int64(elements * element)})
		}
	})
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
