package ring

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// heads surrounds a ring by DeepSpeed-Ulysses (arXiv 2309.14509): groups of U neighbouring ranks exchange rows for heads, so that each
// has the rows of its whole group for 1/U of the heads; then the ranks at the same place of all groups make a ring; and the results
// are exchanged back. With one group it is Ulysses alone, with groups of one a ring alone, else the hybrid (USP, arXiv 2405.07719).
type heads[T kernel.Float] struct {
	comm       *dist.Comm
	call       Call // of all ranks
	rank       int
	base, size int // the group's first rank, and U
	ring       *Rank[T]
}

// ofRing is the call of the rings between the Ulysses groups, for the first heads.
func (c Call) ofRing() Call {
	group := c.Ulysses
	if group < 2 {
		return c
	}
	c.Ulysses, c.headsInAll, c.plan = 0, c.Heads, nil
	c.Heads, c.KVHeads = c.Heads/group, c.KVHeads/group
	c.Sharding, _ = c.Sharding.Grouped(group) // Validate has seen that it divides
	if c.Queries.Ranks() > 0 {
		c.Queries, _ = c.Queries.Grouped(group)
	}
	if c.Slopes != nil {
		c.Slopes = c.Slopes[:c.Heads]
	}
	return c
}

// newHeads needs a communicator, which a valid call with groups has: they divide its ranks.
func newHeads[T kernel.Float](comm *dist.Comm, call Call, k computer[T]) *Rank[T] {
	rank := comm.Rank()
	h := &heads[T]{comm: comm, call: call, rank: rank, base: rank / call.Ulysses * call.Ulysses, size: call.Ulysses}
	inner := call.ofRing()
	inner.plan = call.plan
	inner.headFrom = (rank - h.base) * inner.Heads
	if call.Slopes != nil {
		inner.Slopes = call.Slopes[inner.headFrom:][:inner.Heads]
	}
	h.ring = newRank(comm, inner, k, rank/h.size, place{rank - h.base, h.size})
	r := newRank(comm, call, k, rank, place{0, 1})
	r.heads = h
	return r
}

// swap exchanges with the group: part m of x goes to its member m, and lens[m] elements come from that.
func (h *heads[T]) swap(ctx context.Context, x [][]T, lens []int) ([][]T, error) {
	n := h.comm.Size()
	parts, all := make([][]T, n), make([]int, n)
	copy(parts[h.base:], x)
	copy(all[h.base:], lens)
	got, err := dist.AllToAll(ctx, h.comm, dist.Ulysses, parts, all)
	if err != nil {
		return nil, err
	}
	return got[h.base:][:h.size], nil
}

// lens maps the group's members to what f says of them.
func (h *heads[T]) lens(f func(rank int) int) []int {
	lens := make([]int, h.size)
	for m := range lens {
		lens[m] = f(h.base + m)
	}
	return lens
}

// gather exchanges rows for heads: of x [B, rows of this rank, all heads, width] it returns [B, rows of the group, heads of this rank, width].
func (h *heads[T]) gather(ctx context.Context, x []T, rows func(rank int) int, n, width int) ([]T, error) {
	own, part := rows(h.rank), n/h.size*width
	parts := make([][]T, h.size)
	for m := range parts {
		for i := range h.call.Batch * own {
			parts[m] = append(parts[m], x[(i*h.size+m)*part:][:part]...)
		}
	}
	lens := h.lens(func(rank int) int { return h.call.Batch * rows(rank) * part })
	got, err := h.swap(ctx, parts, lens)
	if err != nil {
		return nil, err
	}
	var all []T
	for b := range h.call.Batch {
		for m, p := range got {
			s := lens[m] / h.call.Batch
			all = append(all, p[b*s:][:s]...)
		}
	}
	return all, nil
}

// scatter is the inverse of gather.
func (h *heads[T]) scatter(ctx context.Context, x []T, rows func(rank int) int, n, width int) ([]T, error) {
	own, part := rows(h.rank), n/h.size*width
	parts := make([][]T, h.size)
	for range h.call.Batch {
		for m := range parts {
			s := rows(h.base+m) * part
			parts[m], x = append(parts[m], x[:s]...), x[s:]
		}
	}
	got, err := h.swap(ctx, parts, h.lens(func(int) int { return h.call.Batch * own * part }))
	if err != nil {
		return nil, err
	}
	all := make([]T, 0, h.call.Batch*own*n*width)
	for i := range h.call.Batch * own {
		for _, p := range got {
			all = append(all, p[i*part:][:part]...)
		}
	}
	return all, nil
}

// inputs are those of the ring.
func (h *heads[T]) inputs(ctx context.Context, in Inputs[T]) (out Inputs[T], err error) {
	c := h.call
	out.Step, out.Layer, out.KeepAll = in.Step, in.Layer, in.KeepAll
	if out.Q, err = h.gather(ctx, in.Q, c.rows, c.Heads, c.Dim); err != nil {
		return out, err
	}
	if out.K, err = h.gather(ctx, in.K, c.keys, c.KVHeads, c.Dim); err != nil {
		return out, err
	}
	if out.V, err = h.gather(ctx, in.V, c.keys, c.KVHeads, c.ValueDim); err != nil {
		return out, err
	}
	if in.Sinks != nil {
		out.Sinks = in.Sinks[h.ring.call.headFrom:][:h.ring.call.Heads]
	}
	return out, nil
}

func (h *heads[T]) forward(ctx context.Context, in Inputs[T]) (*Saved[T], error) {
	local, err := h.inputs(ctx, in)
	if err != nil {
		return nil, err
	}
	inner, err := h.ring.Forward(ctx, local)
	if err != nil {
		return nil, err
	}
	c := h.call
	s := &Saved[T]{inner: inner, tokens: true, shape: dims{c.Batch, c.rows(h.rank), c.Heads, c.ValueDim}}
	if s.out, err = h.scatter(ctx, inner.Out(), c.rows, c.Heads, c.ValueDim); err != nil {
		return nil, err
	}
	lines := make([]T, len(inner.lse)) // by token, as scatter takes them
	toTokens(lines, inner.lse, dims{c.Batch, h.ring.rows, h.ring.call.Heads, 1})
	if lines, err = h.scatter(ctx, lines, c.rows, c.Heads, 1); err != nil {
		return nil, err
	}
	s.lse = make([]T, len(lines))
	toHeads(s.lse, lines, dims{c.Batch, c.rows(h.rank), c.Heads, 1})
	return s, nil
}

func (h *heads[T]) backward(ctx context.Context, in Inputs[T], s *Saved[T], dOut []T) (g Gradients[T], err error) {
	if s == nil || s.inner == nil {
		return g, fmt.Errorf("ring: rank %d: the saved output is not that of a forward with Ulysses groups", h.rank)
	}
	c := h.call
	local, err := h.inputs(ctx, in)
	if err != nil {
		return g, err
	}
	d, err := h.gather(ctx, dOut, c.rows, c.Heads, c.ValueDim)
	if err != nil {
		return g, err
	}
	inner, err := h.ring.Backward(ctx, local, s.inner, d)
	if err != nil {
		return g, err
	}
	if g.DQ, err = h.scatter(ctx, inner.DQ, c.rows, c.Heads, c.Dim); err != nil {
		return g, err
	}
	if g.DK, err = h.scatter(ctx, inner.DK, c.keys, c.KVHeads, c.Dim); err != nil {
		return g, err
	}
	if g.DV, err = h.scatter(ctx, inner.DV, c.keys, c.KVHeads, c.ValueDim); err != nil {
		return g, err
	}
	if in.Sinks != nil {
		g.DSinks = make([]T, c.Heads)
		copy(g.DSinks[h.ring.call.headFrom:], inner.DSinks)
	}
	return g, nil
}
