package ring

import (
	"context"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Saved is what backward needs of a forward: O and the log-sum-exp of every row, head-major and never written again, so
// that several holders may share one Saved.
type Saved[T kernel.Float] struct {
	out      []T // [B*H,S,Dv]
	lse, low []T // [B*H,S]; low is what rounding took from lse
	shape    dims
}

// Out returns a fresh token-major copy of the output, [B,S,H,Dv].
func (s *Saved[T]) Out() []T {
	out := make([]T, len(s.out))
	toTokens(out, s.out, s.shape)
	return out
}

// LSE returns the natural logarithm of every row's softmax denominator, [B,H,S]; -Inf for a row that sees nothing. It is
// not a copy: read it only.
func (s *Saved[T]) LSE() []T { return s.lse }

// Len is the number of elements held.
func (s *Saved[T]) Len() int { return len(s.out) + len(s.lse) + len(s.low) }

// Forward computes this rank's rows of softmax(scale·QKᵀ)V over the keys of all ranks. In step t the rank folds the block
// that started at rank-t into its carry while the next block arrives: W-1 hops, the carry in T's precision throughout.
// All ranks must call it together. Liu et al., Ring Attention, arXiv 2310.01889; carry as in FlashAttention-2, arXiv
// 2307.08691, algorithm 1.
func (r *Rank[T]) Forward(ctx context.Context, in Inputs[T]) (*Saved[T], error) {
	if err := r.check(in); err != nil {
		return nil, err
	}
	p := r.begin(ctx)
	c := r.call
	q := make([]T, len(in.Q))
	toHeads(q, in.Q, dims{c.Batch, r.rows, c.Heads, c.Dim})
	carry := kernel.Carry[T]{O: make([]T, c.outLen(r.rows))}
	for _, line := range []*[]T{&carry.M, &carry.L, &carry.Low} {
		*line = make([]T, c.rowLen(r.rows))
	}
	carry.Reset()

	kv := r.packKV(in)
	for step := range r.size {
		source := shard.ForwardSource(r.rank, step, r.size)
		wait := p.nextForward(kv, step)
		if c.sees(r.rank, source) {
			k, v := r.splitKV(kv, source)
			p.kernel.Forward(carry, q, k, v, c.block(r.rank, source))
		}
		var err error
		if kv, err = wait(ctx); err != nil {
			return nil, err
		}
	}

	s := &Saved[T]{low: carry.Low, shape: dims{c.Batch, r.rows, c.Heads, c.ValueDim}}
	s.out, s.lse = make([]T, len(carry.O)), make([]T, len(carry.L))
	if r.rows > 0 {
		p.kernel.Finish(carry, s.out, s.lse, c.block(r.rank, r.rank))
	}
	return s, nil
}

// nextForward starts the hop that follows the given step and returns the wait for it; after the last step nothing moves.
func (p run[T]) nextForward(kv []T, step int) func(context.Context) ([]T, error) {
	if step == p.size-1 {
		return func(context.Context) ([]T, error) { return nil, nil }
	}
	source := shard.ForwardSource(p.rank, step+1, p.size)
	return p.shift(p.comm, dist.Move{Kind: dist.ForwardKV, Tensors: 2, Hop: step + 1, Step: +1}, kv, p.messageLen(source)).Wait
}
