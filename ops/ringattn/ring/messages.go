package ring

import "github.com/ringgrad/ringgrad/dist"

// Message is one transfer between two ranks of a call.
type Message struct {
	Kind     dist.Kind
	From, To int // in the call's communicator
	Bytes    int64
}

// Messages calls f for all that the ranks send each other in a forward and a backward pass, for elements of so many bytes: what
// Plan.Sends and Exchange sum up, one by one.
func (c Call) Messages(element int, f func(Message)) {
	group := max(c.Ulysses, 1)
	c.Plan().eachHop(func(from, to, elements int, kind dist.Kind, _ cargo) {
		for place := range group {
			f(Message{kind, from*group + place, to*group + place, int64(elements * element)})
		}
	})
	for _, s := range c.Swaps() {
		s.Messages(element, f)
	}
}

// Stop is where a block is worked on besides its home: a rank of the ring, the step of the pass, and which of the block's stops before
// sends it there; -1 is its home.
type Stop struct{ Rank, Step, Parent int }

// Route is one pass of a plan as seen from outside, for those who predict how long it takes.
type Route struct {
	Stops [][]Stop // by source, in order
	// Block and Sum are how many elements travel of a source: its block, and what that gathers on its way, which goes from stop to stop
	// and home; 0 for nothing.
	Block, Sum func(source int) int
}

// Forward is the route of the forward pass.
func (p *Plan) Forward() Route { return p.forward.seen() }

// Backward is the route of the backward pass.
func (p *Plan) Backward() Route { return p.backward.seen() }

func (p pass) seen() Route {
	r := Route{Stops: make([][]Stop, len(p.stops)), Block: p.block.length, Sum: p.sum.length}
	if r.Sum == nil {
		r.Sum = func(int) int { return 0 }
	}
	for source, stops := range p.stops {
		for _, s := range stops {
			r.Stops[source] = append(r.Stops[source], Stop{s.rank, s.step, s.parent})
		}
	}
	return r
}
