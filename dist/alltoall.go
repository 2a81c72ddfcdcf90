package dist

import (
	"context"
	"fmt"
)

// AllToAll gives parts[m] to every member m and returns what all members gave to this one: result[m], of lens[m] elements, is from m.
// It is the transpose of a matrix of blocks, of which each rank holds a row before and a column afterwards:
//
//	rank 0   a0 a1 a2        a0 b0 c0
//	rank 1   b0 b1 b2   ──▶  a1 b1 c1
//	rank 2   c0 c1 c2        a2 b2 c2
//
// Parts are given away under the rules of Shift; the own one is passed through, without a copy. Each of the W-1 exchanges is a
// hop of the kind in the ledger, of one tensor. Empty parts do not travel: both sides know that there is nothing, and a member that
// wants what another holds to be empty waits for ever (or for the watchdog).
func AllToAll[T Number](ctx context.Context, c *Comm, kind Kind, parts [][]T, lens []int) ([][]T, error) {
	n := c.Size()
	if len(parts) != n || len(lens) != n {
		return nil, fmt.Errorf("dist: alltoall of %d parts and %d lengths in a group of %d: give one of each a member", len(parts), len(lens), n)
	}
	c.calls++
	label := Error{Call: "alltoall", Kind: kind, Tag: c.tag(slotAllToAll, c.calls)}
	exchanges := make([]*Pending[T], n) // by the member that is received from
	for step := range n {
		x := Exchange{Kind: kind, Tensors: 1, To: (c.me + step) % n, From: wrap(c.me-step, n)}
		exchanges[x.From] = startPart(c, x, label, parts[x.To], lens[x.From])
	}
	all := make([][]T, n)
	for step := range n {
		from := wrap(c.me-step, n)
		var err error
		if all[from], err = exchanges[from].Wait(ctx); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// startPart starts one exchange, less the halves that are empty.
func startPart[T Number](c *Comm, x Exchange, label Error, part []T, length int) *Pending[T] {
	p := &Pending[T]{c: c}
	if x.To == c.me { // and From, too
		return p.toSelf(c.label(label, c.me), part, length)
	}
	if len(part) == 0 {
		x.To = None
	}
	if length == 0 {
		x.From = None
	}
	return p.start(x, label, part, length)
}
