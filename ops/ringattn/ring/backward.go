package ring

import (
	"context"
	"fmt"
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// Backward returns the gradients of this rank's q, k and v, given s of the forward on the same inputs and dOut, the
// token-major gradient [B,S,H,Dv] of its output. All ranks must call it together.
//
// Blocks travel the ring the other way round, so the first foreign block a rank meets is the one that its forward met last. Where keys
// travel, rank r of a single ring works on the block of rank r+t in step t, adds its share to the dK, dV that arrive for that block, and
// sends the sum after it; where queries travel the same happens to dQ. The own block is worked on in two halves, one while the first
// block arrives and one while the last gradients come home; see tour. P is recomputed from the saved log-sum-exp (FlashAttention-2,
// arXiv 2307.08691, algorithm 2).
func (r *Rank[T]) Backward(ctx context.Context, in Inputs[T], s *Saved[T], dOut []T) (Gradients[T], error) {
	if r.heads != nil {
		return r.heads.backward(ctx, in, s, dOut)
	}
	if d, ok := r.resident(); ok {
		g, err := d.backward(ctx, any(in).(Inputs[float32]), any(s).(*Saved[float32]), any(dOut).([]float32))
		return any(g).(Gradients[T]), err
	}
	if err := r.checkBackward(in, s, dOut); err != nil {
		return Gradients[T]{}, err
	}
	b := r.prepare(ctx, in, s, dOut)
	t, own := b.tour()
	if err := t.walk(ctx, own); err != nil {
		return Gradients[T]{}, err
	}
	g := b.tokens()
	giveBack(b.dq, b.blockDQ, b.dkv, b.spare)
	giveBack(b.sum)
	r.letGo(b.message, b.kv)
	return g, nil
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
	message []T              // all that is needed of the local queries
	in      kernel.Inputs[T] // its parts; K and V are set for each block
	dq      []T              // dQ of the local queries
	blockDQ []T              // what one block gives to dQ; nil where there is but one, or queries travel
	sum     []float64        // dQ over all of many blocks: in float32 its error would grow with W; nil for few
	kv      []T              // the own block
	dkv     []T              // its gradient: this rank's share, and after the tour the sum of all ranks'
	spare   []T              // memory that nobody else reads, for the next share
}

func (r *Rank[T]) prepare(ctx context.Context, in Inputs[T], s *Saved[T], dOut []T) *backward[T] {
	c := r.call
	in.Step, in.Layer, in.KeepAll = s.step, s.layer, s.keepAll
	b := &backward[T]{run: r.begin(ctx, in), kv: r.packKV(in), dq: borrow[T](len(in.Q)), dkv: borrow[T](c.kvLen(r.keys))}
	b.message = r.queriesRoom(b.queriesLen(r.rank))
	const few = 2 // blocks besides the own one whose sum is as exact in T as what it is summed of
	switch n := len(r.plan.backward.visits[r.rank]); {
	case r.plan.travel == Q:
		clear(b.dkv)
	case n > few:
		b.blockDQ, b.sum = borrow[T](len(b.dq)), borrow[float64](len(b.dq))
		clear(b.sum)
	case n > 0:
		b.blockDQ = borrow[T](len(b.dq))
		clear(b.dq)
	}
	b.in = b.asQueries(b.message, r.rank)
	toHeads(b.in.Q, in.Q, dims{c.Batch, r.rows, c.Heads, c.Dim})
	toHeads(b.in.DOut, dOut, s.shape)
	copy(b.in.LSE, s.lse)
	copy(b.in.LSELow, s.low)
	if r.rows > 0 {
		// delta = rowsum(dO∘O) once, from the final O: that of a single block would be another softmax's.
		b.kernel.Delta(s.out, b.in.DOut, b.in.Delta, b.block(r.rank, r.rank))
	}
	return b
}

// queriesLen is the length of the message with all that backward needs of a rank's queries.
func (b *backward[T]) queriesLen(source int) int {
	s := b.call.rows(source)
	return b.call.qLen(s) + b.call.outLen(s) + 3*b.call.rowLen(s)
}

// asQueries cuts that message into Q, dO, lse, its low part, and delta.
func (b *backward[T]) asQueries(message []T, source int) (in kernel.Inputs[T]) {
	s := b.call.rows(source)
	for _, x := range []struct {
		to *[]T
		n  int
	}{{&in.Q, b.call.qLen(s)}, {&in.DOut, b.call.outLen(s)}, {&in.LSE, b.call.rowLen(s)}, {&in.LSELow, b.call.rowLen(s)}, {&in.Delta, b.call.rowLen(s)}} {
		*x.to, message = message[:x.n:x.n], message[x.n:]
	}
	return in
}

func (b *backward[T]) tour() (t *tour[T], own []T) {
	t = &tour[T]{traveller: b.traveller, transfer: b.transfer, pass: b.plan.backward, failed: b.failed}
	first, second := b.halves()
	fresh := b.plan.travel == KV // else visitors have written to dK and dV
	t.before, t.after = func() { b.own(first, fresh) }, func() {}
	if second.heads > 0 {
		t.after = func() { b.own(second, fresh && second.kv > 0) }
	}
	t.merge = func(share, sum []T, _ int) {
		add(share, sum)
		b.spare = sum // its sender has let go of it
	}
	if b.plan.travel == Q {
		t.work, t.home = b.visitor, b.home(b.dq)
		return t, b.message
	}
	t.work, t.home = b.share, b.home(b.dkv)
	return t, b.kv
}

// home adds what has come home to the own gradient.
func (b *backward[T]) home(own []T) func(sum []T) {
	return func(sum []T) {
		add(own, sum)
		giveBack(sum)
	}
}

// share returns what the local queries give to the dK, dV of the source's block, and adds to dQ what that block gives. The
// memory is fresh, or what an earlier hop left to us, because the message it becomes is lent to the next rank.
func (b *backward[T]) share(kv []T, source int) []T {
	share := room(b.spare, b.plan.backward.sum.length(source))
	b.spare = nil
	in := b.in
	in.K, in.V = b.splitKV(kv, source)
	dk, dv := b.split(share, source)
	b.kernel.Backward(kernel.Gradients[T]{DQ: b.blockDQ, DK: dk, DV: dv, Fresh: true}, in, b.block(b.rank, source))
	b.collect(0, b.blockDQ)
	return share
}

// visitor returns what the local keys give to the dQ of another rank's queries, and adds to dK, dV what those give.
func (b *backward[T]) visitor(queries []T, source int) []T {
	share := room(b.spare, b.plan.backward.sum.length(source))
	b.spare = nil
	clear(share)
	in := b.asQueries(queries, source)
	in.K, in.V = b.splitKV(b.kv, b.rank)
	dk, dv := b.split(b.dkv, b.rank)
	b.kernel.Backward(kernel.Gradients[T]{DQ: share, DK: dk, DV: dv}, in, b.block(source, b.rank))
	return share
}

// own works on one part of the own block; fresh says that it is the first to write to the dK and dV of its heads.
func (b *backward[T]) own(p part, fresh bool) {
	c, s := b.call, b.rows
	k, v := b.splitKV(b.kv, b.rank)
	dk, dv := b.split(b.dkv, b.rank)
	kv := func(x []T, width int) []T { return x[p.kv*b.keys*width:][:p.kvs*b.keys*width] }
	into := b.dq
	if b.blockDQ != nil {
		into = b.blockDQ
	}
	dq := rowsOf(into, p, s, c.Dim)
	if !fresh {
		clear(dq)
	}
	b.kernel.Backward(
		kernel.Gradients[T]{DQ: dq, DK: kv(dk, c.Dim), DV: kv(dv, c.ValueDim), Fresh: fresh},
		kernel.Inputs[T]{
			Q: rowsOf(b.in.Q, p, s, c.Dim), K: b.keysOf(k, p, c.Dim), V: b.keysOf(v, p, c.ValueDim), DOut: rowsOf(b.in.DOut, p, s, c.ValueDim),
			LSE: rowsOf(b.in.LSE, p, s, 1), LSELow: rowsOf(b.in.LSELow, p, s, 1), Delta: rowsOf(b.in.Delta, p, s, 1),
		}, b.partBlock(p))
	if b.blockDQ != nil {
		b.collect((p.head*s+p.row)*c.Dim, dq)
	}
}

// collect adds what a block gives to dQ from an element on.
func (b *backward[T]) collect(from int, dq []T) {
	if b.sum != nil {
		accumulate(b.sum[from:][:len(dq)], dq)
		return
	}
	add(b.dq[from:][:len(dq)], dq)
}

// add adds src to dst. Every element of a travelling gradient is a sum in the order of its stops, and every element of dQ one over
// the blocks as they come, whatever the timing: the bits repeat.
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
	g := Gradients[T]{DQ: make([]T, len(b.dq)), DK: make([]T, c.kLen(b.keys)), DV: make([]T, c.vLen(b.keys)), DSinks: dSinks(c, b.rows, b.sinks, b.in)}
	dk, dv := b.split(b.dkv, b.rank)
	eachChunk(len(b.sum), func(from, to int) {
		for i, x := range b.sum[from:to] {
			b.dq[from+i] = T(x)
		}
	})
	toTokens(g.DQ, b.dq, dims{c.Batch, b.rows, c.Heads, c.Dim})
	toTokens(g.DK, dk, dims{c.Batch, b.keys, c.KVHeads, c.Dim})
	toTokens(g.DV, dv, dims{c.Batch, b.keys, c.KVHeads, c.ValueDim})
	return g
}

// dSinks is -Σ exp(sink - lse)·delta over the local rows: a sink is a key whose value is 0.
func dSinks[T kernel.Float](c Call, rows int, sinks []float64, in kernel.Inputs[T]) []T {
	if sinks == nil {
		return nil
	}
	sums, heads := make([]float64, c.Heads), c.Heads
	for i, lse := range in.LSE {
		if h := i / rows; !math.IsInf(float64(lse), -1) {
			sums[h%heads] -= math.Exp(sinks[h]-float64(lse)-float64(in.LSELow[i])) * float64(in.Delta[i])
		}
	}
	out := make([]T, heads)
	for h, s := range sums {
		out[h] = T(s)
	}
	return out
}
