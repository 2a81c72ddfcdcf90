package ring

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
	"github.com/ringgrad/ringgrad/ops/ringattn/internal/seam"
)

// Backward returns the gradients of this rank's q, k and v, given s of the forward on the same inputs and dOut, the
// token-major gradient [B,S,H,Dv] of its output. All ranks must call it together.
//
// The keys and values travel the ring the other way round, so the first foreign block a rank meets is the one that its
// forward met last. Rank r works on the block of rank r+t in step t, adds its share to the dK, dV that arrive for that
// block, and sends the sum after it: born at rank j-1 in step 1, the gradients of block j are home after W-1 hops. The
// own block is worked on in two halves, one while the first keys arrive and one while the last dK, dV come home.
// P is recomputed from the saved log-sum-exp (FlashAttention-2, arXiv 2307.08691, algorithm 2).
func (r *Rank[T]) Backward(ctx context.Context, in Inputs[T], s *Saved[T], dOut []T) (Gradients[T], error) {
	if err := r.checkBackward(in, s, dOut); err != nil {
		return Gradients[T]{}, err
	}
	b := r.prepare(ctx, in, s, dOut)
	if err := b.round(ctx); err != nil {
		return Gradients[T]{}, err
	}
	return b.tokens(), nil
}

func (r *Rank[T]) checkBackward(in Inputs[T], s *Saved[T], dOut []T) error {
	if err := r.check(in); err != nil {
		return err
	}
	want := r.call.outLen(r.rows)
	if s == nil || len(s.out) != want {
		return fmt.Errorf("ring: rank %d: the saved output is not that of a forward with %d rows", r.rank, r.rows)
	}
	if len(dOut) != want {
		return fmt.Errorf("ring: rank %d: dOut has %d elements, want %d for %d rows", r.rank, len(dOut), want, r.rows)
	}
	return nil
}

// backward is one backward pass. All arrays are head-major.
type backward[T kernel.Float] struct {
	run[T]
	in    kernel.Inputs[T] // of the local rows; K and V are set for each block
	dq    []T              // what one block gives to dQ
	sum   []float64        // dQ over all blocks: in float32 its error would grow with W
	kv    []T              // the own block
	dkv   []T              // its gradient: this rank's share, and after the round the sum of all ranks'
	spare []T              // memory that nobody else reads, for the next share
}

func (r *Rank[T]) prepare(ctx context.Context, in Inputs[T], s *Saved[T], dOut []T) *backward[T] {
	c := r.call
	b := &backward[T]{run: r.begin(ctx), kv: r.packKV(in), dq: make([]T, len(in.Q)), dkv: make([]T, c.kvLen(r.rows))}
	if r.size > 1 {
		b.sum = make([]float64, len(b.dq))
	}
	b.in = kernel.Inputs[T]{Q: make([]T, len(in.Q)), DOut: make([]T, len(dOut)), LSE: s.lse, LSELow: s.low, Delta: make([]T, len(s.lse))}
	toHeads(b.in.Q, in.Q, dims{c.Batch, r.rows, c.Heads, c.Dim})
	toHeads(b.in.DOut, dOut, s.shape)
	if r.rows > 0 {
		// delta = rowsum(dO∘O) once, from the final O: that of a single block would be another softmax's.
		b.kernel.Delta(s.out, b.in.DOut, b.in.Delta, c.block(r.rank, r.rank))
	}
	return b
}

// round makes the W-1 hops of K, V and the W-1 hops of dK, dV.
func (b *backward[T]) round(ctx context.Context) error {
	if b.size == 1 {
		b.diagonal(b.whole())
		return nil
	}
	first, second := b.halves()
	keys := b.sendKV(b.kv, 1)
	b.diagonal(first)

	var grads seam.Pending[T]
	for step := 1; step < b.size; step++ {
		source := b.source(step)
		kv, err := keys.Wait(ctx)
		if err != nil {
			return err
		}
		if step < b.size-1 {
			keys = b.sendKV(kv, step+1)
		}
		share := b.share(kv, source) // while the sum of the ranks before us is on its way
		if grads != nil {
			sum, err := grads.Wait(ctx)
			if err != nil {
				return err
			}
			add(share, sum)
			b.spare = sum // its sender has let go of it
		}
		grads = b.sendDKV(share, step)
	}

	b.diagonal(second)
	home, err := grads.Wait(ctx)
	if err != nil {
		return err
	}
	add(b.dkv, home)
	return nil
}

// source is the rank whose block is here in the given step; step W is home again.
func (b *backward[T]) source(step int) int { return shard.BackwardSource(b.rank, step, b.size) }

// gradientLen is the length of dK and dV of the given rank's block.
func (b *backward[T]) gradientLen(rank int) int { return b.call.kvLen(b.call.Sharding.Len(rank)) }

// sendKV starts hop number hop of K and V: the block at hand goes to the previous rank, that of the next step comes in.
func (b *backward[T]) sendKV(kv []T, hop int) seam.Pending[T] {
	return b.shift(b.comm, dist.Move{Kind: dist.BackwardKV, Tensors: 2, Hop: hop, Step: -1}, kv, b.messageLen(b.source(hop)))
}

// sendDKV starts hop number hop of dK and dV, which follow the block of step hop; that of the next step comes in.
func (b *backward[T]) sendDKV(dkv []T, hop int) seam.Pending[T] {
	return b.shift(b.comm, dist.Move{Kind: dist.BackwardDKV, Tensors: 2, Hop: hop, Step: -1}, dkv, b.gradientLen(b.source(hop+1)))
}

// share returns what the local rows give to the dK, dV of the source's block, and adds to dQ what that block gives. The
// memory is fresh, or what an earlier hop left to us, because the message it becomes is lent to the next rank.
func (b *backward[T]) share(kv []T, source int) []T {
	share, n := b.spare, b.gradientLen(source)
	if cap(share) < n {
		share = make([]T, n)
	}
	b.spare, share = nil, share[:n]
	if !b.call.sees(b.rank, source) {
		clear(share)
		return share
	}
	in := b.in
	in.K, in.V = b.splitKV(kv, source)
	dk, dv := b.split(share, source)
	b.kernel.Backward(kernel.Gradients[T]{DQ: b.dq, DK: dk, DV: dv, Fresh: true}, in, b.call.block(b.rank, source))
	accumulate(b.sum, b.dq)
	return share
}

// add adds src to dst. Every element of a block's gradient is a sum in ring order, from the rank before its home
// backwards, and every element of dQ one over the blocks as they come, whatever the timing: the bits repeat.
func add[T kernel.Float](dst, src []T) {
	eachChunk(len(src), func(from, to int) { cpu.Add(dst[from:to], dst[from:to], src[from:to]) })
}

// accumulate adds src to dst, which is wider.
func accumulate[T kernel.Float](dst []float64, src []T) {
	eachChunk(len(src), func(from, to int) { cpu.Accumulate(dst[from:to], src[from:to]) })
}

// eachChunk calls f in parallel for chunks [from, to) of n elements.
func eachChunk(n int, f func(from, to int)) {
	const chunk = 1 << 14
	cpu.Parallel((n+chunk-1)/chunk, func(i int) { f(i*chunk, min((i+1)*chunk, n)) })
}

// tokens lays the gradients out as the caller's inputs are.
func (b *backward[T]) tokens() Gradients[T] {
	c := b.call
	g := Gradients[T]{DQ: make([]T, len(b.dq)), DK: make([]T, c.kLen(b.rows)), DV: make([]T, c.vLen(b.rows))}
	dk, dv := b.split(b.dkv, b.rank)
	eachChunk(len(b.sum), func(from, to int) {
		for i, x := range b.sum[from:to] {
			b.dq[from+i] = T(x)
		}
	})
	toTokens(g.DQ, b.dq, dims{c.Batch, b.rows, c.Heads, c.Dim})
	toTokens(g.DK, dk, dims{c.Batch, b.rows, c.KVHeads, c.Dim})
	toTokens(g.DV, dv, dims{c.Batch, b.rows, c.KVHeads, c.ValueDim})
	return g
}
