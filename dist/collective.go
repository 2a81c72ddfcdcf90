package dist

import "context"

// AllReduce sums b over all members, in place. Every element is added in the order of the ranks, ((b0 + b1) + b2) + ..., so the bits
// depend on the members' values alone, never on the engine or on timing. All members give slices of one length.
//
// Rank i owns the i-th part of W: it collects that part from everybody, adds, and gives the sum back. Each rank sends about
// 2(W-1)/W of b, as in a ring, but in two rounds.
func AllReduce[T Number](ctx context.Context, c *Comm, b []T) error {
	c.begin()
	if c.Size() == 1 {
		return nil
	}
	if err := reduceOwn(ctx, c, b); err != nil {
		return err
	}
	return spreadOwn(ctx, c, b)
}

// part is the share of b that a member owns.
func part[T Number](c *Comm, b []T, member int) []T {
	n := c.Size()
	return b[len(b)*member/n : len(b)*(member+1)/n]
}

// others lists the other members, beginning behind the own place, so that not all talk to the same one first.
func (c *Comm) others() []int {
	list := make([]int, 0, c.Size()-1)
	for d := 1; d < c.Size(); d++ {
		list = append(list, (c.me+d)%c.Size())
	}
	return list
}

// reduceOwn leaves the sum over all members in the own part of b. The parts of others are lent: they are written next in
// spreadOwn, by a message that their owner sends when it has added.
func reduceOwn[T Number](ctx context.Context, c *Comm, b []T) error {
	own := part(c, b, c.me)
	terms := make([]*Pending[T], c.Size())
	for _, m := range c.others() {
		terms[m] = &Pending[T]{c: c}
		terms[m].receive(c.call("allreduce", slotReduce, m), len(own))
	}
	for _, m := range c.others() {
		terms[m].sent = c.give(bytesOf(part(c, b, m)), c.call("allreduce", slotReduce, m))
	}
	sum := make([]T, len(own))
	for m, p := range terms {
		term := own
		if m != c.me {
			var err error
			if term, err = p.arrived(ctx); err != nil {
				return err
			}
		}
		accumulate(sum, term, m == 0)
	}
	for _, m := range c.others() {
		if err := c.wait(ctx, terms[m].sent); err != nil {
			return err
		}
	}
	copy(own, sum)
	return nil
}

// accumulate adds term to sum; the first term replaces it, so that -0 and the payload of a NaN survive.
func accumulate[T Number](sum, term []T, first bool) {
	if first {
		copy(sum, term)
		return
	}
	for i, x := range term {
		sum[i] += x
	}
}

// arrived waits for the received half alone.
func (p *Pending[T]) arrived(ctx context.Context) ([]T, error) {
	if err := p.c.wait(ctx, p.received); err != nil {
		return nil, err
	}
	if p.loan != nil {
		return numbersOf[T](p.loan.Bytes()), nil
	}
	return p.block, nil
}

// spreadOwn gives the own part of b to all, and fills the other parts with what their owners give.
func spreadOwn[T Number](ctx context.Context, c *Comm, b []T) error {
	var ts []transfer
	for _, m := range c.others() {
		ts = append(ts, c.irecv(bytesOf(part(c, b, m)), c.call("allreduce", slotReduced, m)))
	}
	for _, m := range c.others() {
		ts = append(ts, c.post(bytesOf(part(c, b, c.me)), c.call("allreduce", slotReduced, m)))
	}
	return c.wait(ctx, ts...)
}

// AllGather gives every member the slices of all, by rank; their lengths may differ. The results are copies.
func AllGather[T Number](ctx context.Context, c *Comm, b []T) ([][]T, error) {
	c.begin()
	lengths, err := gatherEqual(ctx, c, c.call("allgather", slotLengths, c.me), []int64{int64(len(b))})
	if err != nil {
		return nil, err
	}
	all := make([][]T, c.Size())
	for m := range all {
		all[m] = make([]T, lengths[m])
	}
	if err := exchangeAll(ctx, c, c.call("allgather", slotGather, c.me), b, all); err != nil {
		return nil, err
	}
	return all, nil
}

// gatherEqual concatenates slices of one length.
func gatherEqual(ctx context.Context, c *Comm, label Error, b []int64) ([]int64, error) {
	flat := make([]int64, len(b)*c.Size())
	all := make([][]int64, c.Size())
	for m := range all {
		all[m] = flat[m*len(b) : (m+1)*len(b)]
	}
	return flat, exchangeAll(ctx, c, label, b, all)
}

// exchangeAll sends b to all members and fills all[m] with what m sends.
func exchangeAll[T Number](ctx context.Context, c *Comm, label Error, b []T, all [][]T) error {
	copy(all[c.me], b)
	var ts []transfer
	for _, m := range c.others() {
		ts = append(ts, c.irecv(bytesOf(all[m]), c.label(label, m)))
	}
	for _, m := range c.others() {
		ts = append(ts, c.post(bytesOf(b), c.label(label, m)))
	}
	return c.wait(ctx, ts...)
}

// Broadcast copies b of root to all members, down a binomial tree. All give slices of one length.
func Broadcast[T Number](ctx context.Context, c *Comm, b []T, root int) error {
	if err := c.checkMembers(root); err != nil {
		return err
	}
	c.begin()
	n := c.Size()
	place := wrap(c.me-root, n) // root is at 0; the parent of a place has its lowest set bit cleared
	mask := 1
	for ; mask < n && place&mask == 0; mask <<= 1 {
	}
	if place != 0 {
		parent := (place - mask + root) % n
		if err := c.wait(ctx, c.irecv(bytesOf(b), c.call("broadcast", slotBroadcast, parent))); err != nil {
			return err
		}
	}
	var ts []transfer
	for mask >>= 1; mask > 0; mask >>= 1 {
		if place+mask < n {
			ts = append(ts, c.post(bytesOf(b), c.call("broadcast", slotBroadcast, (place+mask+root)%n)))
		}
	}
	return c.wait(ctx, ts...)
}

// Barrier returns when all members have called it (dissemination: in round k a rank hears from the one 2^k before it).
func Barrier(ctx context.Context, c *Comm) error {
	c.begin()
	for d := 1; d < c.Size(); d <<= 1 {
		received := c.irecv(nil, c.call("barrier", slotBarrier, wrap(c.me-d, c.Size())))
		sent := c.post(nil, c.call("barrier", slotBarrier, wrap(c.me+d, c.Size())))
		if err := c.wait(ctx, received, sent); err != nil {
			return err
		}
	}
	return nil
}

// Any tells all members whether one of them says yes.
func Any(ctx context.Context, c *Comm, yes bool) (bool, error) {
	votes := []int32{0}
	if yes {
		votes[0] = 1
	}
	err := AllReduce(ctx, c, votes)
	return votes[0] != 0, err
}

// begin counts a collective call.
func (c *Comm) begin() {
	c.calls++
	c.ledger.add(Collective, Entry{Hops: 1})
}

// call labels a message of the present collective call.
func (c *Comm) call(name string, slot, peer int) Error {
	return c.label(Error{Call: name, Kind: Collective, Tag: c.tag(slot, c.calls)}, peer)
}

// post sends and books the bytes.
func (c *Comm) post(b []byte, label Error) transfer {
	c.ledger.add(Collective, Entry{Bytes: int64(len(b))})
	return c.isend(b, label)
}

// give lends and books the bytes.
func (c *Comm) give(b []byte, label Error) transfer {
	c.ledger.add(Collective, Entry{Bytes: int64(len(b))})
	return c.lend(b, label)
}
