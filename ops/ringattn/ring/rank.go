package ring

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/ringattn/internal/seam"
)

// Inputs are one rank's rows, token-major and dense: Q [B,S,H,D], K [B,N,K,D], V [B,N,K,Dv], and the Sinks [H] if the call has them.
// The ring reads them and never writes or keeps them.
type Inputs[T kernel.Float] struct {
	Q, K, V, Sinks []T
	Step           uint64 // of training: dropout drops other pairs in each
	Layer          int    // of the model where one Rank serves several; added to the call's
	KeepAll        bool   // dropout drops nothing in this run: evaluation
}

// Gradients are those of one rank's rows, shaped as Inputs and owned by the caller. DSinks [H] is what this rank's rows give; the
// whole gradient is the sum over ranks.
type Gradients[T kernel.Float] struct{ DQ, DK, DV, DSinks []T }

// Rank is one rank's part in an attention call that may be run many times, one run at a time.
type Rank[T kernel.Float] struct {
	traveller
	call   Call
	plan   *Plan
	kernel kernel.Attention[T]
	packer kernel.Packer[T] // of keys and values; nil where they travel as they are
	size   int              // of the ring
	rows   int              // S, local queries
	keys   int              // N, local keys; S but for calls with Queries

	home  *residence // where blocks stay on a device; nil on the CPU
	heads *heads[T]  // the exchange around the ring; nil without Ulysses
}

// NewRank returns the part of comm's rank in the call; a nil comm is a ring of one. The sharding must have as many ranks
// as comm.
func NewRank[T kernel.Float](comm *dist.Comm, call Call) (*Rank[T], error) {
	if err := call.Validate(); err != nil {
		return nil, err
	}
	call = call.Prepare()
	rank, size := 0, 1
	if comm != nil {
		rank, size = comm.Rank(), comm.Size()
	}
	k, err := computerOf[T](comm, call, rank)
	if err != nil {
		return nil, err
	}
	if n := call.Sharding.Ranks(); n != size {
		return nil, fmt.Errorf("ring: the sharding is over %d ranks, the communicator has %d", n, size)
	}
	if call.Ulysses > 1 {
		return newHeads(comm, call, k), nil
	}
	return newRank(comm, call, k, rank, place{0, 1}), nil
}

func newRank[T kernel.Float](comm *dist.Comm, call Call, k computer[T], rank int, p place) *Rank[T] {
	r := &Rank[T]{traveller: traveller{comm, rank, p}, call: call, plan: call.plan, kernel: k.kernel, home: k.home, size: call.Sharding.Ranks()}
	r.packer, _ = k.kernel.(kernel.Packer[T])
	r.rows, r.keys = call.rows(rank), call.keys(rank)
	return r
}

// Rows is S, the number of positions this rank holds of every sequence.
func (r *Rank[T]) Rows() int { return r.rows }

func (r *Rank[T]) check(in Inputs[T]) error {
	sinks := 0
	if r.call.Sinks {
		sinks = r.call.Heads
	}
	for _, c := range []struct {
		name            string
		got, want, rows int
	}{
		{"q", len(in.Q), r.call.qLen(r.rows), r.rows},
		{"k", len(in.K), r.call.kLen(r.keys), r.keys},
		{"v", len(in.V), r.call.vLen(r.keys), r.keys},
	} {
		if c.got != c.want {
			return fmt.Errorf("ring: rank %d: %s has %d elements, want %d for %d rows", r.rank, c.name, c.got, c.want, c.rows)
		}
	}
	if len(in.Sinks) != sinks {
		return fmt.Errorf("ring: rank %d: %d sinks for %d heads, want %d", r.rank, len(in.Sinks), r.call.Heads, sinks)
	}
	return nil
}

// run is one pass: the rank with the hooks of this pass, and what differs from run to run in its blocks.
type run[T kernel.Float] struct {
	*Rank[T]
	kernel   kernel.Attention[T]
	transfer transfer[T]
	drops    kernel.Dropout
	sinks    []float64 // [B·H]
}

func (r *Rank[T]) begin(ctx context.Context, in Inputs[T]) run[T] {
	p := run[T]{Rank: r, kernel: r.kernel, transfer: sendRecv[T], drops: r.call.drops(in.Step, in.Layer)}
	if in.KeepAll {
		p.drops = kernel.Dropout{}
	}
	if r.call.Sinks {
		for range r.call.Batch {
			for _, s := range in.Sinks {
				p.sinks = append(p.sinks, float64(s))
			}
		}
	}
	h := seam.From[T](ctx)
	if h.Kernel != nil {
		p.kernel = h.Kernel(r.kernel)
	}
	if h.Transfer != nil {
		p.transfer = h.Transfer
	}
	return p
}

// failed is the error of a kernel that can fail.
func (p *run[T]) failed() error {
	if k, ok := p.kernel.(kernel.Fallible); ok {
		return k.Err()
	}
	return nil
}

// block is the kernel's view of queries of rank row against keys of rank col in this run.
func (p *run[T]) block(row, col int) kernel.Block {
	b := p.call.block(row, col)
	b.Dropout, b.Sinks = p.drops, p.sinks
	return b
}

// sends reports whether the own block goes to other ranks. Then it is fresh on every pass, because engines may lend its memory to all
// of them for as long as the pass lasts.
func (r *Rank[T]) sends() bool { return len(r.plan.forward.stops[r.rank]) > 0 }

// queriesRoom is memory for what may travel of the queries, keysRoom for what may of the keys.
func (r *Rank[T]) queriesRoom(n int) []T {
	if r.plan.travel == Q && r.sends() {
		return make([]T, n)
	}
	return borrow[T](n)
}

func (r *Rank[T]) keysRoom(n int) []T {
	if r.plan.travel == KV && r.sends() {
		return make([]T, n)
	}
	return borrow[T](n)
}

// letGo gives back what nobody else has seen of the queries and the keys.
func (r *Rank[T]) letGo(queries, keys []T) {
	if r.plan.travel == KV || !r.sends() {
		giveBack(queries)
	}
	if r.plan.travel == Q || !r.sends() {
		giveBack(keys)
	}
}

// packKV lays this rank's keys and values out as one message, [K,S,D] and behind it [K,S,Dv], each packed where the kernel
// wants that.
func (r *Rank[T]) packKV(in Inputs[T]) []T {
	n := r.call.kvLen(r.keys)
	if r.packer != nil {
		return r.packed(in, borrow[T](n))
	}
	kv := r.keysRoom(n)
	r.layOut(kv, in)
	return kv
}

// packed is packKV in the kernel's type, by way of room.
func (r *Rank[T]) packed(in Inputs[T], room []T) []T {
	defer giveBack(room)
	r.layOut(room, in)
	k, v := r.split(room, r.rank)
	packed := r.keysRoom(r.messageLen(r.rank))
	packedK, packedV := r.splitKV(packed, r.rank)
	r.packer.Pack(packedK, k)
	r.packer.Pack(packedV, v)
	return packed
}

// layOut copies keys and values head by head.
func (r *Rank[T]) layOut(kv []T, in Inputs[T]) {
	k, v := r.split(kv, r.rank)
	c := r.call
	toHeads(k, in.K, dims{c.Batch, r.keys, c.KVHeads, c.Dim})
	toHeads(v, in.V, dims{c.Batch, r.keys, c.KVHeads, c.ValueDim})
}

// packedLen is how many T hold n elements of keys or values.
func (r *Rank[T]) packedLen(n int) int {
	if r.packer == nil {
		return n
	}
	return r.packer.PackedLen(n)
}

// messageLen is the length of the message with the keys and values of the given rank's block.
func (r *Rank[T]) messageLen(rank int) int {
	s := r.call.keys(rank)
	return r.packedLen(r.call.kLen(s)) + r.packedLen(r.call.vLen(s))
}

// splitKV cuts the message of the given rank's block into its keys and its values.
func (r *Rank[T]) splitKV(kv []T, rank int) (k, v []T) {
	n := r.packedLen(r.call.kLen(r.call.keys(rank)))
	return kv[:n:n], kv[n:]
}

// split cuts an array of the given rank's block into what belongs to its keys and to its values: dK and dV.
func (r *Rank[T]) split(kv []T, rank int) (k, v []T) {
	n := r.call.kLen(r.call.keys(rank))
	return kv[:n:n], kv[n:]
}
