package ring_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// bfloat16Call is a call with odd sizes: two KV heads of an odd number of elements for some ranks.
func bfloat16Call(t *testing.T, layout shard.Layout, size int) ring.Call {
	t.Helper()
	c := newCall(t, layout, 203, size)
	c.Heads, c.KVHeads, c.Dim, c.ValueDim, c.DType = 4, 2, 7, 5, ring.BFloat16
	err := c.Validate()
	if errors.Is(err, ring.ErrNoBFloat16) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBFloat16HalvesWhatKeysAndValuesSend(t *testing.T) {
	const size = 3
	c := bfloat16Call(t, shard.Zigzag, size)
	err := local.Run(t.Context(), size, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		if _, _, err := pass[float32](ctx, comm, c); err != nil {
			return err
		}
		bytes := func(step int) (keys, gradients int64) {
			for hop := range size - 1 {
				rows := c.Sharding.Len((comm.Rank() + step*(hop+1) - step + 2*size) % size)
				k, v := rows*c.KVHeads*c.Dim, rows*c.KVHeads*c.ValueDim
				keys += int64((k+1)/2+(v+1)/2) * 4
				rows = c.Sharding.Len((comm.Rank() + hop + 1) % size)
				gradients += int64(rows*c.KVHeads*(c.Dim+c.ValueDim)) * 4
			}
			return keys, gradients
		}
		forward, _ := bytes(-1)
		backward, gradients := bytes(1)
		for k, want := range map[dist.Kind]int64{dist.ForwardKV: forward, dist.BackwardKV: backward, dist.BackwardDKV: gradients} {
			if e := comm.Ledger().Snapshot()[k]; e.Hops != size-1 || e.Bytes != want {
				return fmt.Errorf("rank %d, %s: %d hops with %d bytes, want %d and %d", comm.Rank(), k, e.Hops, e.Bytes, size-1, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// bfloat16Pass runs all ranks and puts their rows together: out, dQ, dK, dV over the sequence.
func bfloat16Pass(t *testing.T, c ring.Call, size int) (all [4][]float32) {
	t.Helper()
	widths := [4]int{c.Heads * c.ValueDim, c.Heads * c.Dim, c.KVHeads * c.Dim, c.KVHeads * c.ValueDim}
	for i, w := range widths {
		all[i] = make([]float32, 203*w)
	}
	err := local.Run(t.Context(), size, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		s, g, err := pass[float32](ctx, comm, c)
		if err != nil {
			return err
		}
		for i, x := range [][]float32{s.Out(), g.DQ, g.DK, g.DV} {
			shard.Gather(c.Sharding, comm.Rank(), x, all[i], widths[i])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestBFloat16DoesNotDependOnTheRing(t *testing.T) {
	exact := bfloat16Call(t, shard.Contiguous, 1)
	exact.DType = ""
	want := bfloat16Pass(t, exact, 1)
	for _, size := range []int{1, 2, 5} {
		for _, layout := range []shard.Layout{shard.Contiguous, shard.Zigzag, shard.Striped} {
			for i, x := range bfloat16Pass(t, bfloat16Call(t, layout, size), size) {
				if e := relative(x, want[i]); !(e > 0 && e < 0.012) {
					t.Errorf("%s, ring of %d: %s is %.2g (root mean square) from float32", layout, size, []string{"out", "dQ", "dK", "dV"}[i], e)
				}
			}
		}
	}
}

func relative(x, want []float32) float64 {
	e, size := 0.0, 0.0
	for i, w := range want {
		e += math.Pow(float64(x[i]-w), 2)
		size += math.Pow(float64(w), 2)
	}
	return math.Sqrt(e / size)
}

func TestBFloat16IsOfFloat32(t *testing.T) {
	c := bfloat16Call(t, shard.Contiguous, 1)
	if _, err := ring.NewRank[float64](nil, c); err == nil || errors.Is(err, ring.ErrNoBFloat16) {
		t.Errorf("a rank of float64 gives %v", err)
	}
}
