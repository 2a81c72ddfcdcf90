package scaling

// clock is a rank's: when it has the block of a step, when it has worked on those before, and when it has sent the last one on.
type clock struct{ has, done, sent float64 }

// rotate is when the last of n ranks has worked on all n blocks, its own first. work is how long rank i takes in a step, link how long a
// block takes from rank i to the next one.
func rotate(n int, work func(rank, step int) float64, link func(rank int) float64) (end float64) {
	before, now, next := make([]clock, n), make([]clock, n), make([]clock, n)
	for step := range n {
		for i := range n {
			next[i].done = max(now[i].done, now[i].has) + work(i, step)
		}
		for i := range n {
			to := (i + 1) % n
			// The receiver's other buffer is free once that block is worked on and sent on.
			arrival := max(now[i].has, now[i].sent, before[to].done, before[to].sent) + link(i)
			next[i].sent, next[to].has = arrival, arrival
		}
		before, now, next = now, next, before
	}
	for _, c := range now {
		end = max(end, c.done)
	}
	return end
}

// single is one ring of all ranks. Its hops within a host go over the fast links; one of each host leaves it, by one card.
func (r Run) single(p pass) float64 {
	m := r.Machine
	full := r.block(p, r.rows(), 1)
	work := func(rank, step int) float64 {
		switch {
		case step == 0 || r.Layout != Contiguous:
			return full/2 + m.Launch
		case step > rank: // the mask leaves nothing of later blocks
			return 0
		}
		return full + m.Launch
	}
	return rotate(r.Ring, work, func(rank int) float64 {
		rate := m.Inner
		if r.Ring > m.Devices && rank%m.Devices == m.Devices-1 || m.Devices == 1 {
			rate = m.Outer
		}
		return p.bytes*r.rows()/rate + m.Message
	})
}

// double is inner rings of the devices of a host, between which all blocks of a host move on to the next host in one hop of the outer ring.
// That hop has the whole inner round to hide behind, and in the backward pass the last gradients still have to come home.
func (r Run) double(p pass) float64 {
	m := r.Machine
	half := r.block(p, r.rows(), 1)/2 + m.Launch
	inner := rotate(m.Devices, func(int, int) float64 { return half }, func(int) float64 { return p.bytes*r.rows()/m.Inner + m.Message })
	outer := p.bytes*r.rows()/m.card() + m.Message
	seconds := float64(r.Ring/m.Devices-1)*max(inner, outer) + inner
	if p.pair > 4 {
		seconds += outer
	}
	return seconds
}

// ulysses exchanges rows for heads among the devices of a host, and has as many rings of hosts beside each other.
func (r Run) ulysses(p pass) float64 {
	m := r.Machine
	group := min(m.Devices, r.Ring, r.Model.KVHeads)
	parts, hosts := float64(group), r.Ring/group
	rows := r.rows() * parts
	half := r.block(p, rows, parts)/2 + m.Launch
	// Q, K, V and O, in 2 bytes; backward dO, and the gradients.
	exchanged := (4*float64(r.Model.Queries) + 4*float64(r.Model.Keys)) * m.Element / 2
	if p.pair > 4 {
		exchanged *= 2
	}
	swap := exchanged*r.rows()*(parts-1)/parts/m.Inner + 4*m.Message
	ring := rotate(hosts, func(int, int) float64 { return half }, func(int) float64 { return p.bytes/parts*rows/m.card() + m.Message })
	return swap + ring
}

// Enough is c*, how many tokens a rank must have that the hops of a single ring between hosts are hidden in both passes; the
// length of the sequence does not matter.
func (m Machine) Enough(t Model) (tokens float64) {
	r := Run{Machine: m, Model: t}
	for _, p := range r.passes() {
		// c²·pair·d/2/rate = c·bytes/Outer
		tokens = max(tokens, p.bytes/m.Outer*2*p.rate/(p.pair*float64(t.Queries)))
	}
	return tokens
}

// Floor is how long the hops of a single ring between hosts take in both passes of a layer, however many ranks there are.
func (r Run) Floor() (seconds float64) {
	for _, p := range r.passes() {
		seconds += r.Tokens * p.bytes / r.Machine.Outer
	}
	return seconds
}
