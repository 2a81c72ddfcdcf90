package ring_test

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// allocated returns the bytes that one forward and backward over a ring allocates in all: nothing that is allocated on the
// way can hide from it by being freed.
func allocated(t *testing.T, tokens, size int) float64 {
	s, err := shard.New(shard.Zigzag, tokens, size)
	if err != nil {
		t.Fatal(err)
	}
	c := ring.Call{Batch: 1, Heads: 1, KVHeads: 1, Dim: 8, ValueDim: 8, Scale: 1, Mask: mask.CausalOrder(), Sharding: s}
	var before, after runtime.MemStats
	err = local.Run(t.Context(), size, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		r, err := ring.NewRank[float32](comm, c)
		if err != nil {
			return err
		}
		in, dOut := inputs[float32](c, comm.Rank())
		if err := dist.Barrier(ctx, comm); err != nil {
			return err
		}
		if comm.Rank() == 0 {
			runtime.ReadMemStats(&before)
		}
		if err := dist.Barrier(ctx, comm); err != nil {
			return err
		}
		saved, err := r.Forward(ctx, in)
		if err != nil {
			return err
		}
		if _, err := r.Backward(ctx, in, saved, dOut); err != nil {
			return err
		}
		if err := dist.Barrier(ctx, comm); err != nil {
			return err
		}
		if comm.Rank() == 0 {
			runtime.ReadMemStats(&after)
		}
		return dist.Barrier(ctx, comm)
	})
	if err != nil {
		t.Fatal(err)
	}
	return float64(after.TotalAlloc - before.TotalAlloc)
}

// steady is what a pass allocates once ring and kernel have their scratch, which they keep by size and number of concurrent calls: the
// least of several passes.
func steady(t *testing.T, tokens, size int) float64 {
	least := allocated(t, tokens, size)
	for range 9 {
		least = min(least, allocated(t, tokens, size))
	}
	return least
}

func TestMemoryOfARankIsProportionalToItsRows(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would drop the kernel's scratch, and it would count again
	if raceEnabled {
		t.Skip("SKIPPED: the race detector makes sync.Pool forget, which counts as allocation")
	}
	const tokens, size = 2048, 4
	small, large := steady(t, tokens, size), steady(t, 2*tokens, size)
	if large > 2.2*small {
		t.Errorf("twice the tokens allocate %.2f times the bytes: %.0f and %.0f", large/small, small, large)
	}
	perRank, block := large/size, float64(2*tokens/size*2*tokens*4)
	if perRank > block/2 {
		t.Errorf("a rank allocates %.0f bytes; an S×T buffer has %.0f", perRank, block)
	}
	// about 25 arrays of S×D: q, carry, out, dO, dQ, and k, v, dK, dV twice over, and the caller's copies
	if rows := float64(2 * tokens / size * 8 * 4); perRank > 40*rows {
		t.Errorf("a rank allocates %.0f bytes, %.0f times an array of its rows", perRank, perRank/rows)
	}
	// half, and what the scratch of a rank that another thread has last kept does not serve this time
	wide := steady(t, 2*tokens, 2*size)
	if perRank2 := wide / (2 * size); perRank2 > 0.85*perRank {
		t.Errorf("with twice the ranks a rank allocates %.0f bytes instead of %.0f", perRank2, perRank)
	}
}
