package ring

import "github.com/ringgrad/ringgrad/dist"

// Exchange is what a rank sends in a forward and a backward pass to exchange rows for heads within its Ulysses group, as its ledger counts it
// under dist.Ulysses, for elements of so many bytes. It is zero without Ulysses. What the rings between the groups send, Plan says.
func (c Call) Exchange(rank, element int) (sum dist.Entry) {
	group := c.Ulysses
	if group < 2 {
		return sum
	}
	base := rank / group * group
	add := func(elements int) { // one message
		if elements > 0 {
			sum = sum.Plus(dist.Entry{Hops: 1, Tensors: 1, Bytes: int64(elements * element)})
		}
	}
	gather := func(rows, heads, width int) { // of this rank's rows, each other member gets its heads
		for range group - 1 {
			add(c.Batch * rows * heads / group * width)
		}
	}
	scatter := func(rows func(rank int) int, heads, width int) { // each other member gets its rows, of this rank's heads
		for m := base; m < base+group; m++ {
			if m != rank {
				add(c.Batch * rows(m) * heads / group * width)
			}
		}
	}
	for range 2 { // both passes want Q, K and V
		gather(c.rows(rank), c.Heads, c.Dim)
		gather(c.keys(rank), c.KVHeads, c.Dim)
		gather(c.keys(rank), c.KVHeads, c.ValueDim)
	}
	scatter(c.rows, c.Heads, c.ValueDim) // O
	scatter(c.rows, c.Heads, 1)          // LSE
	gather(c.rows(rank), c.Heads, c.ValueDim)
	scatter(c.rows, c.Heads, c.Dim) // dQ, dK, dV
	scatter(c.keys, c.KVHeads, c.Dim)
	scatter(c.keys, c.KVHeads, c.ValueDim)
	return sum
}
