package ring

import (
	"context"
	"slices"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Saved is what backward needs of a forward: O and the log-sum-exp of every row, head-major and never written again, so
// that several holders may share one Saved.
type Saved[T kernel.Float] struct {
	out      []T // [B*H,S,Dv], or with tokens [B,S,H,Dv]
	tokens   bool
	lse, low []T // [B*H,S]; low is what rounding took from lse
	shape    dims
	step     uint64 // of the run, and its layer, for dropout
	layer    int
	keepAll  bool
	inner    *Saved[T] // with Ulysses: that of the ring
}

// Out returns a fresh token-major copy of the output, [B,S,H,Dv].
func (s *Saved[T]) Out() []T {
	if s.tokens {
		return slices.Clone(s.out)
	}
	out := make([]T, len(s.out))
	toTokens(out, s.out, s.shape)
	return out
}

// LSE returns the natural logarithm of every row's softmax denominator, [B,H,S]; -Inf for a row that sees nothing. It is
// not a copy: read it only.
func (s *Saved[T]) LSE() []T { return s.lse }

// Len is the number of elements held.
func (s *Saved[T]) Len() int {
	n := len(s.out) + len(s.lse) + len(s.low)
	if s.inner != nil {
		n += s.inner.Len()
	}
	return n
}

// Forward computes this rank's rows of softmax(scale·QKᵀ)V over the keys of all ranks: in step t of a single ring the rank folds the
// block that started at rank-t into its carry while the next block arrives; see Plan and tour. All ranks must call it together. Liu et
// al., Ring Attention, arXiv 2310.01889; carry as in FlashAttention-2, arXiv 2307.08691, algorithm 1.
func (r *Rank[T]) Forward(ctx context.Context, in Inputs[T]) (*Saved[T], error) {
	if r.heads != nil {
		return r.heads.forward(ctx, in)
	}
	if d, ok := r.resident(); ok {
		s, err := d.forward(ctx, any(in).(Inputs[float32]))
		return any(s).(*Saved[T]), err
	}
	if err := r.check(in); err != nil {
		return nil, err
	}
	c := r.call
	f := forward[T]{run: r.begin(ctx, in), kv: r.packKV(in)}
	f.q = r.queriesRoom(len(in.Q))
	toHeads(f.q, in.Q, dims{c.Batch, r.rows, c.Heads, c.Dim})
	n := c.rowLen(r.rows)
	f.carry = kernel.Carry[T]{O: make([]T, c.outLen(r.rows)), M: borrow[T](n), L: borrow[T](n), Low: make([]T, n)}
	f.carry.Reset()
	t, own := f.tour()
	if err := t.walk(ctx, own); err != nil {
		return nil, err
	}

	s := &Saved[T]{out: f.carry.O, lse: make([]T, n), low: f.carry.Low, shape: dims{c.Batch, r.rows, c.Heads, c.ValueDim}}
	s.step, s.layer, s.keepAll = in.Step, in.Layer, in.KeepAll
	if r.rows > 0 {
		f.kernel.Finish(f.carry, s.out, s.lse, f.block(r.rank, r.rank))
	}
	giveBack(f.carry.M, f.carry.L, f.spare)
	r.letGo(f.q, f.kv)
	return s, nil
}

// forward is one forward pass. All arrays are head-major.
type forward[T kernel.Float] struct {
	run[T]
	kv, q []T
	carry kernel.Carry[T] // of the local queries
	spare []T             // memory that nobody else reads, for the next share
}

func (f *forward[T]) tour() (t *tour[T], own []T) {
	t = &tour[T]{traveller: f.traveller, transfer: f.transfer, pass: f.plan.forward, after: func() {}, failed: f.failed}
	if f.plan.travel == Q {
		first, second := f.halves()
		t.before, t.after = func() { f.own(first) }, func() { f.own(second) }
		t.work, t.merge = f.visitor, f.merge
		t.home = func(sum []T) {
			f.kernel.Merge(f.carry, f.asCarry(sum, f.rank), f.block(f.rank, f.rank))
			giveBack(sum)
		}
		return t, f.q
	}
	t.before = func() { f.own(f.whole()) }
	t.work = func(kv []T, source int) []T {
		k, v := f.splitKV(kv, source)
		f.kernel.Forward(f.carry, f.q, k, v, f.block(f.rank, source))
		return nil
	}
	return t, f.kv
}

// newCarry returns an empty carry of a rank's queries, and the message that it is.
func (f *forward[T]) newCarry(source int) (message []T, c kernel.Carry[T]) {
	message, f.spare = room(f.spare, f.plan.forward.sum.length(source)), nil
	c = f.asCarry(message, source)
	c.Reset()
	return message, c
}

func (f *forward[T]) asCarry(message []T, source int) kernel.Carry[T] {
	s := f.call.rows(source)
	o, lines := message[:f.call.outLen(s)], message[f.call.outLen(s):]
	n := f.call.rowLen(s)
	return kernel.Carry[T]{O: o, M: lines[:n], L: lines[n:]}
}

// visitor lets the queries of another rank look at the local keys.
func (f *forward[T]) visitor(q []T, source int) []T {
	message, carry := f.newCarry(source)
	k, v := f.splitKV(f.kv, f.rank)
	f.kernel.Forward(carry, q, k, v, f.block(source, f.rank))
	return message
}

// merge folds what the ranks before have gathered for a source's queries into the local share.
func (f *forward[T]) merge(share, sum []T, source int) {
	f.kernel.Merge(f.asCarry(share, source), f.asCarry(sum, source), f.block(source, f.rank))
	f.spare = sum // its sender has let go of it
}

// own folds a part of the own block into the carry.
func (f *forward[T]) own(p part) {
	if p.heads == 0 || p.rows == 0 {
		return
	}
	c := f.call
	k, v := f.splitKV(f.kv, f.rank)
	carry := kernel.Carry[T]{
		O: rowsOf(f.carry.O, p, f.rows, c.ValueDim), M: rowsOf(f.carry.M, p, f.rows, 1), L: rowsOf(f.carry.L, p, f.rows, 1),
	}
	f.kernel.Forward(carry, rowsOf(f.q, p, f.rows, c.Dim), f.keysOf(k, p, c.Dim), f.keysOf(v, p, c.ValueDim), f.partBlock(p))
}

// room is n elements, of spare if that has them. What travels as a share goes from owner to owner: who has added it up gives it back.
func room[T kernel.Float](spare []T, n int) []T {
	if cap(spare) < n {
		giveBack(spare)
		return borrow[T](n)
	}
	return spare[:n]
}
