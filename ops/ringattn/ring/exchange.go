package ring

import "github.com/ringgrad/ringgrad/dist"

// Swap is one exchange of rows for heads within the Ulysses groups of a call; a rank waits for one before it goes on.
type Swap struct {
	Backward bool // of the backward pass
	After    bool // follows the ring, or goes before it
	group    int
	ranks    int
	elements func(from, to int) int // that one member of a group sends another
}

// Swaps are the exchanges of a forward and a backward pass, in order; none without Ulysses.
func (c Call) Swaps() (all []Swap) {
	group := c.Ulysses
	if group < 2 {
		return nil
	}
	add := func(s Swap, elements func(from, to int) int) {
		s.group, s.ranks, s.elements = group, c.Sharding.Ranks(), elements
		all = append(all, s)
	}
	gather := func(s Swap, rows func(rank int) int, heads, width int) { // of its rows a rank gives each other member that one's heads
		add(s, func(from, _ int) int { return c.Batch * rows(from) * heads / group * width })
	}
	scatter := func(s Swap, rows func(rank int) int, heads, width int) { // of its heads, that one's rows
		s.After = true
		add(s, func(_, to int) int { return c.Batch * rows(to) * heads / group * width })
	}
	inputs := func(s Swap) {
		gather(s, c.rows, c.Heads, c.Dim)
		gather(s, c.keys, c.KVHeads, c.Dim)
		gather(s, c.keys, c.KVHeads, c.ValueDim)
	}
	forward, backward := Swap{}, Swap{Backward: true}
	inputs(forward)
	scatter(forward, c.rows, c.Heads, c.ValueDim) // O
	scatter(forward, c.rows, c.Heads, 1)          // LSE
	inputs(backward)
	gather(backward, c.rows, c.Heads, c.ValueDim) // dO
	scatter(backward, c.rows, c.Heads, c.Dim)     // dQ
	scatter(backward, c.keys, c.KVHeads, c.Dim)   // dK
	scatter(backward, c.keys, c.KVHeads, c.ValueDim)
	return all
}

// Messages calls f for what the ranks send each other, for elements of so many bytes. Empty parts do not travel.
func (s Swap) Messages(element int, f func(Message)) {
	for from := range s.ranks {
		s.from(from, element, f)
	}
}

func (s Swap) from(rank, element int, f func(Message)) {
	base := rank / s.group * s.group
	for to := base; to < base+s.group; to++ {
		if n := s.elements(rank, to); to != rank && n > 0 {
			f(Message{dist.Ulysses, rank, to, int64(n * element)})
		}
	}
}

// Exchange is what a rank sends in a forward and a backward pass to exchange rows for heads within its Ulysses group, as its ledger counts it
// under dist.Ulysses, for elements of so many bytes. It is zero without Ulysses. What the rings between the groups send, Plan says.
func (c Call) Exchange(rank, element int) (sum dist.Entry) {
	for _, s := range c.Swaps() {
		s.from(rank, element, func(m Message) { sum = sum.Plus(dist.Entry{Hops: 1, Tensors: 1, Bytes: m.Bytes}) })
	}
	return sum
}
