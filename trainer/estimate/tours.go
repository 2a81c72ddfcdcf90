package estimate

import (
	"slices"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/estimate/internal/cluster"
)

// tours is how long the forward and the backward pass of one layer's attention take, from when all ranks begin until the last one ends.
func (s section) tours(call layersOf, c Cluster) (forward, backward float64) {
	work := s.work(call)
	plan := call.Plan()
	f := tour{section: s, route: plan.Forward(), work: work, travel: plan.Travel(), halved: plan.Travel() == ring.Q}
	b := tour{section: s, route: plan.Backward(), work: scaled(work, 2.5), travel: plan.Travel(), halved: true}
	return f.seconds(c), b.seconds(c)
}

// tour is one pass of one layer's attention over all rings, as package ring walks it.
type tour struct {
	section
	route  ring.Route
	travel ring.Travel
	work   [][]float64 // by ring rank of the queries and of the keys: seconds of a host's processor, at c.Speed
	halved bool        // the own block is worked on in two halves, before and after the others
}

// seconds runs the programs of as many ranks as make whole hosts and whole rings; the others do the same beside them.
func (t tour) seconds(c Cluster) float64 {
	ranks := t.run.ranks()
	switch {
	case t.run.Ring%t.perHost == 0:
		ranks = t.run.Ring
	case t.perHost%t.run.Ring == 0:
		ranks = t.perHost
	}
	n := cluster.Network{
		Hosts: ranks / t.perHost, HostOf: func(rank int) int { return rank / t.perHost },
		ByteSeconds: c.byteSeconds(), Latency: c.trip() + c.Message, CopySeconds: c.copySeconds(),
	}
	w := writer{tour: t, programs: make([][]cluster.Op, ranks)}
	group := t.run.Ulysses
	for base := 0; base < ranks; base += t.run.Ring {
		for place := range group {
			w.ring(func(r int) int { return base + r*group + place })
		}
	}
	return cluster.Run(n, w.messages, w.programs).Seconds
}

// writer writes the programs of ranks.
type writer struct {
	tour
	messages []cluster.Message
	programs [][]cluster.Op

	blocks, sums [][]int // of the present ring: by source and stop, the message that arrives there, and that which leaves
}

// visit is a stop seen from its rank.
type visit struct{ source, index int }

// ring writes those of one ring, whose ranks member finds among all.
func (w *writer) ring(member func(r int) int) {
	stops := w.route.Stops
	visits := make([][]visit, len(stops))
	w.blocks, w.sums = make([][]int, len(stops)), make([][]int, len(stops))
	for source, all := range stops {
		for i, at := range all {
			visits[at.Rank] = append(visits[at.Rank], visit{source, i})
			from, next := source, source
			if at.Parent >= 0 {
				from = all[at.Parent].Rank
			}
			if i+1 < len(all) {
				next = all[i+1].Rank
			}
			w.blocks[source] = append(w.blocks[source], w.message(member(from), member(at.Rank), w.route.Block(source)))
			if n := w.route.Sum(source); n > 0 {
				w.sums[source] = append(w.sums[source], w.message(member(at.Rank), member(next), n))
			}
		}
	}
	for r := range stops {
		slices.SortFunc(visits[r], func(a, b visit) int { return stops[a.source][a.index].Step - stops[b.source][b.index].Step })
		w.programs[member(r)] = w.walk(r, visits[r])
	}
}

func (w *writer) message(from, to, elements int) int {
	w.messages = append(w.messages, cluster.Message{From: from, To: to, Bytes: int64(elements) * floatSize})
	return len(w.messages) - 1
}

// walk is tour.walk of package ring, as instructions.
func (w *writer) walk(r int, visits []visit) (ops []cluster.Op) {
	var given []int
	give := func(message int) {
		ops = append(ops, cluster.Send(message))
		given = append(given, message)
	}
	sendOn := func(source, stop int) {
		for i, s := range w.route.Stops[source] {
			if s.Parent == stop {
				give(w.blocks[source][i])
			}
		}
	}
	receive := func(i int) {
		if i < len(visits) {
			ops = append(ops, cluster.Receive(w.blocks[visits[i].source][visits[i].index]))
		}
	}
	before, after := w.own(r, len(w.route.Stops))
	sendOn(r, -1)
	receive(0)
	ops = append(ops, cluster.Compute(before))
	for i, v := range visits {
		ops = append(ops, cluster.Await(w.blocks[v.source][v.index]))
		sendOn(v.source, v.index)
		receive(i + 1)
		sums := w.sums[v.source]
		if len(sums) > 0 && v.index > 0 {
			ops = append(ops, cluster.Receive(sums[v.index-1]))
		}
		ops = append(ops, cluster.Compute(w.visited(r, v.source)))
		if len(sums) > 0 && v.index > 0 {
			ops = append(ops, cluster.Await(sums[v.index-1]))
		}
		if len(sums) > 0 {
			give(sums[v.index])
		}
	}
	own := w.sums[r]
	if len(own) > 0 {
		ops = append(ops, cluster.Receive(own[len(own)-1]))
	}
	ops = append(ops, cluster.Compute(after))
	if len(own) > 0 {
		ops = append(ops, cluster.Await(own[len(own)-1]))
	}
	for _, message := range given {
		ops = append(ops, cluster.Await(message))
	}
	return ops
}

// own is the work on the own block before and after the others.
func (w *writer) own(r, size int) (before, after float64) {
	all := w.work[r][r]
	if !w.halved || size == 1 {
		return all, 0
	}
	return all / 2, all / 2
}

// visited is the work on the block of a source.
func (w *writer) visited(r, source int) float64 {
	if w.travel == ring.Q {
		return w.work[source][r]
	}
	return w.work[r][source]
}

// pairsKey is what the pairs of a ring depend on.
type pairsKey struct {
	layout           shard.Layout
	ring, group      int
	window, sequence int
}

// work is how long a host's processor takes for the forward pass of each block of one layer, of one rank: queries of the ring's rank i,
// keys of its rank j.
func (s section) work(call layersOf) [][]float64 {
	key := pairsKey{s.run.Layout, s.run.Ring, s.run.Ulysses, call.window, s.run.SequenceLen}
	share, ok := s.pairs[key]
	if !ok {
		share = sharesOf(call.Mask, grouped(call.Sharding, s.run.Ulysses))
		s.pairs[key] = share
	}
	m := s.model
	m.Layers, m.WindowLayers = 1, 0
	if call.window > 0 {
		m.WindowLayers = 1
	}
	flops := 4 * m.pairs(s.run) * float64(s.run.MicroBatch) * float64(m.queries()) / float64(s.run.Ulysses)
	return scaled(share, flops/(s.cluster.Speed.Attention*1e9))
}

func grouped(s shard.Sharding, group int) shard.Sharding {
	if group < 2 {
		return s
	}
	g, err := s.Grouped(group)
	if err != nil {
		return s // calls has seen that it divides
	}
	return g
}

// sharesOf is the share of all visible pairs that each pair of ranks has, from some of the queries of each.
func sharesOf(seen *mask.Mask, s shard.Sharding) [][]float64 {
	const enough = 1 << 13 // queries of all ranks
	share, total := make([][]float64, s.Ranks()), 0.0
	for row := range share {
		share[row] = make([]float64, s.Ranks())
		n := s.Len(row)
		samples := min(n, max(enough/s.Ranks(), 16))
		for i := range samples {
			query := s.Position(row, (2*i+1)*n/(2*samples))
			for col := range share[row] {
				pairs := visibleIn(seen, query, s.Segments(col)) * float64(n) / float64(samples)
				share[row][col] += pairs
				total += pairs
			}
		}
	}
	return scaled(share, 1/max(total, 1))
}

// visibleIn is how many keys of some segments a query sees; of a segment with gaps, its part of those in its span.
func visibleIn(seen *mask.Mask, query int, segments []shard.Segment) (sum float64) {
	for _, g := range segments {
		span := (g.Count-1)*g.Stride + 1
		count := seen.Count(query, g.Start+span) - seen.Count(query, g.Start)
		sum += float64(count) * float64(g.Count) / float64(span)
	}
	return sum
}

func scaled(x [][]float64, by float64) [][]float64 {
	y := make([][]float64, len(x))
	for i := range x {
		y[i] = make([]float64, len(x[i]))
		for j := range x[i] {
			y[i][j] = x[i][j] * by
		}
	}
	return y
}
