package estimate_test

import (
	"context"
	"runtime"
	"testing"

	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/estimate"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
)

func alive() int64 {
	var m runtime.MemStats
	for range 3 { // gorgonia's machines have finalizers, and pools survive one collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// liveIn returns the most memory that the ranks hold when a gradient is complete, with the gradients that the first rank keeps:
// all but attention's working memory.
func liveIn(t *testing.T, c hf.Config, r estimate.Run) int64 {
	t.Helper()
	params := model.Init[float32](c, 1)
	batch := batchOf(c, r.MicroBatch, r.SequenceLen)
	batch.Documents = r.Documents
	before, most := alive(), int64(0)
	err := local.Run(context.Background(), r.Ring, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		m, err := model.New(c, params, comm, model.Options{Layout: r.Layout, UlyssesSize: r.Ulysses, Travel: r.Travel})
		if err != nil {
			return err
		}
		for step := range 2 { // buffers are made when they are first used
			var kept [][]float32
			_, _, err := m.LossAndGrad(ctx, batch, 1, func(_ string, grad []float32) error {
				if comm.Rank() == 0 {
					kept = append(kept, grad)
				}
				if step == 0 || len(grad) < 1000 { // few, and little was added
					return nil
				}
				if err := dist.Barrier(ctx, comm); err != nil { // nobody computes any more
					return err
				}
				if comm.Rank() == 0 {
					most = max(most, alive())
				}
				return dist.Barrier(ctx, comm)
			})
			if err != nil {
				return err
			}
			runtime.KeepAlive(kept)
		}
		runtime.KeepAlive(m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(params)
	return most - before
}

func TestMemoryIsWhatAStepHolds(t *testing.T) {
	tensor.DontUsePool() // as the command does
	c := configOf(t, map[string]any{
		"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 24,
		"vocab_size": 512, "max_position_embeddings": 1024,
	})
	for _, r := range []estimate.Run{
		{SequenceLen: 512, Ring: 1, MicroBatch: 1, Accumulation: 1, Layout: shard.Contiguous},
		{SequenceLen: 768, Ring: 3, MicroBatch: 1, Accumulation: 1, Layout: shard.Zigzag},
		{SequenceLen: 1536, Ring: 1, MicroBatch: 2, Accumulation: 1, Layout: shard.Contiguous}, // in chunks
		{SequenceLen: 768, Ring: 4, MicroBatch: 1, Accumulation: 1, Layout: shard.Zigzag, Ulysses: 2},
		{SequenceLen: 768, Ring: 3, MicroBatch: 1, Accumulation: 1, Layout: shard.Balanced, Travel: ring.Q, Documents: []int{0, 100, 500, 768}},
	} {
		e := estimate.Compute(estimate.ModelOf(c), r)
		want := e.Memory.Process - e.Memory.Garbage - e.Memory.Shared.Program - e.Memory.Shared.Weights - e.Memory.Shared.Optimizer
		want -= int64(r.Ring) * (e.Memory.Parts.Attention + e.Memory.Parts.RingBuffers)
		got := liveIn(t, c, r)
		t.Logf("ring %d of %d tokens: %d bytes are alive, %d estimated, ratio %.3f", r.Ring, r.SequenceLen, got, want, float64(got)/float64(want))
		if ratio := float64(got) / float64(want); ratio < 0.9 || ratio > 1.1 {
			t.Errorf("ring %d: %d bytes are alive, %d estimated: %.2f times as much", r.Ring, got, want, ratio)
		}
	}
}
