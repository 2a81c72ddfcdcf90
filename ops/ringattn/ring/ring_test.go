package ring_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/internal/seam"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

func newCall(t testing.TB, layout shard.Layout, tokens, size int) ring.Call {
	t.Helper()
	s, err := shard.New(layout, tokens, size)
	if err != nil {
		t.Fatal(err)
	}
	return ring.Call{Batch: 1, Heads: 2, KVHeads: 1, Dim: 4, ValueDim: 6, Scale: 0.5, Mask: mask.CausalOrder(), Sharding: s}
}

// inputs of one rank: row t of head h is a function of the global position, so that all ranks agree.
func inputs[T kernel.Float](c ring.Call, rank int) (in ring.Inputs[T], dOut []T) {
	fill := func(seed uint64, heads, width int) []T {
		var out []T
		for b := range c.Batch {
			for i := range c.Sharding.Len(rank) {
				r := rand.New(rand.NewPCG(seed, uint64(b<<32|c.Sharding.Position(rank, i))))
				for range heads * width {
					out = append(out, T(r.NormFloat64()))
				}
			}
		}
		return out
	}
	return ring.Inputs[T]{Q: fill(1, c.Heads, c.Dim), K: fill(2, c.KVHeads, c.Dim), V: fill(3, c.KVHeads, c.ValueDim)}, fill(4, c.Heads, c.ValueDim)
}

// pass runs forward and backward of one rank.
func pass[T kernel.Float](ctx context.Context, comm *dist.Comm, c ring.Call) (*ring.Saved[T], ring.Gradients[T], error) {
	var g ring.Gradients[T]
	r, err := ring.NewRank[T](comm, c)
	if err != nil {
		return nil, g, err
	}
	in, dOut := inputs[T](c, comm.Rank())
	s, err := r.Forward(ctx, in)
	if err != nil {
		return nil, g, err
	}
	g, err = r.Backward(ctx, in, s, dOut)
	return s, g, err
}

func TestLedgerCountsTheHopsOfEachRank(t *testing.T) {
	for size := 1; size <= 8; size++ {
		c := newCall(t, shard.Zigzag, 8*size, size) // every rank sees keys of every other
		err := local.Run(t.Context(), size, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
			if _, _, err := pass[float32](ctx, comm, c); err != nil {
				return err
			}
			block := int64(8 * c.KVHeads * (c.Dim + c.ValueDim) * 4)
			for _, k := range []dist.Kind{dist.ForwardKV, dist.BackwardKV, dist.BackwardDKV} {
				e := comm.Ledger().Snapshot()[k]
				if e.Hops != size-1 || e.Tensors != 2*(size-1) || e.Bytes != block*int64(size-1) {
					return fmt.Errorf("ring %d, %s: %d hops, %d tensors, %d bytes; want %d hops of 2 tensors and %d bytes",
						size, k, e.Hops, e.Tensors, e.Bytes, size-1, block)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestEmptyShardsSendNothing(t *testing.T) {
	c := newCall(t, shard.Zigzag, 3, 7)
	err := local.Run(t.Context(), 7, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		s, g, err := pass[float64](ctx, comm, c)
		if err != nil {
			return err
		}
		rows := c.Sharding.Len(comm.Rank())
		if len(s.LSE()) != 2*rows || len(g.DQ) != 8*rows {
			return fmt.Errorf("%d rows have %d lse and %d dQ", rows, len(s.LSE()), len(g.DQ))
		}
		for k, e := range comm.Ledger().Snapshot() {
			if rows == 0 && e.Hops != 0 || e.Hops > 2 {
				return fmt.Errorf("rank %d of %d rows, %s: %d hops", comm.Rank(), rows, k, e.Hops)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// tracer notes which blocks the kernel of each rank meets, told apart by their first key.
type tracer struct {
	kernel.Attention[float64]
	mu              *sync.Mutex
	forward, backup *[]int
}

func (k tracer) Forward(c kernel.Carry[float64], q, key, v []float64, b kernel.Block) {
	k.mu.Lock()
	*k.forward = append(*k.forward, b.Cols[0].Start)
	k.mu.Unlock()
	k.Attention.Forward(c, q, key, v, b)
}

func (k tracer) Backward(g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
	k.mu.Lock()
	*k.backup = append(*k.backup, b.Cols[0].Start)
	k.mu.Unlock()
	k.Attention.Backward(g, in, b)
}

func TestBackwardMeetsFirstTheBlockThatForwardMetLast(t *testing.T) {
	const size = 5
	c := newCall(t, shard.Contiguous, 2*size, size)
	c.Mask = nil // every block is seen
	err := local.Run(t.Context(), size, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		var forward, backward []int
		ctx = seam.With(ctx, seam.Hooks[float64]{Kernel: func(k kernel.Attention[float64]) kernel.Attention[float64] {
			return tracer{k, new(sync.Mutex), &forward, &backward}
		}})
		if _, _, err := pass[float64](ctx, comm, c); err != nil {
			return err
		}
		// the own block twice, in halves: first, and behind all foreign blocks
		own, foreign := 2*comm.Rank(), slices.Clone(forward[1:])
		slices.Reverse(foreign)
		want := append(append([]int{own}, foreign...), own)
		if forward[0] != own || !slices.Equal(backward, want) {
			return fmt.Errorf("rank %d met blocks %v forward and %v backward, want %v", comm.Rank(), forward, backward, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// noted is a pending block whose arrival is waited for.
type noted struct {
	seam.Pending[float64]
	note func()
}

func (p noted) Wait(ctx context.Context) ([]float64, error) {
	p.note()
	return p.Pending.Wait(ctx)
}

func TestEveryHopIsHiddenBehindWork(t *testing.T) {
	const size = 3
	c := newCall(t, shard.Contiguous, 4*size, size)
	c.Mask = nil
	want := []string{
		"send forward_kv 1", "work", "wait forward_kv 1", "send forward_kv 2", "work", "wait forward_kv 2", "work",
		"send backward_kv 1", "work", "wait backward_kv 1", // half of the own block
		"send backward_kv 2", "work", "send backward_dkv 1",
		"wait backward_kv 2", "work", "wait backward_dkv 1", "send backward_dkv 2",
		"work", "wait backward_dkv 2", // the other half
	}
	err := local.Run(t.Context(), size, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		var events []string
		note := func(format string, args ...any) { events = append(events, fmt.Sprintf(format, args...)) }
		ctx = seam.With(ctx, seam.Hooks[float64]{
			Kernel: func(k kernel.Attention[float64]) kernel.Attention[float64] { return worker{k, func() { note("work") }} },
			Transfer: func(c *dist.Comm, x dist.Exchange, b []float64, n int) seam.Pending[float64] {
				p := dist.SendRecv(c, x, b, n)
				if x.To != dist.None {
					note("send %s %d", x.Kind, x.Hop)
					return p
				}
				return noted{p, func() { note("wait %s %d", x.Kind, x.Hop) }}
			},
		})
		if _, _, err := pass[float64](ctx, comm, c); err != nil {
			return err
		}
		if !slices.Equal(events, want) {
			return fmt.Errorf("rank %d: %q, want %q", comm.Rank(), events, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// worker notes when the kernel works on a block.
type worker struct {
	kernel.Attention[float64]
	note func()
}

func (k worker) Forward(c kernel.Carry[float64], q, key, v []float64, b kernel.Block) {
	k.note()
	k.Attention.Forward(c, q, key, v, b)
}

func (k worker) Backward(g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
	k.note()
	k.Attention.Backward(g, in, b)
}

func TestWrongLengthsAndSizesAreErrors(t *testing.T) {
	c := newCall(t, shard.Contiguous, 8, 1)
	r, err := ring.NewRank[float64](nil, c)
	if err != nil {
		t.Fatal(err)
	}
	in, dOut := inputs[float64](c, 0)
	short := in
	short.K = in.K[1:]
	if _, err := r.Forward(t.Context(), short); err == nil {
		t.Error("a short k is taken")
	}
	s, err := r.Forward(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Backward(t.Context(), in, s, dOut[1:]); err == nil {
		t.Error("a short dOut is taken")
	}
	if _, err := r.Backward(t.Context(), in, nil, dOut); err == nil {
		t.Error("a backward without a forward is taken")
	}
	c.Sharding, _ = shard.New(shard.Contiguous, 8, 2)
	if _, err := ring.NewRank[float64](nil, c); err == nil {
		t.Error("a sharding over 2 ranks is taken by a ring of one")
	}
	c.Heads, c.Dim, c.Scale = 0, 300, math.NaN()
	if _, err := ring.NewRank[float64](nil, c); err == nil {
		t.Error("a call without heads is taken")
	}
}
