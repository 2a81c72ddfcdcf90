package estimate_test

import (
	"context"
	"maps"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/trainer/estimate"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
)

func configOf(t testing.TB, changes map[string]any) hf.Config {
	t.Helper()
	m := map[string]any{
		"model_type": "llama", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 6,
		"num_key_value_heads": 2, "head_dim": 4, "vocab_size": 33, "max_position_embeddings": 64,
	}
	maps.Copy(m, changes)
	c, err := hf.ConfigFromMap(m)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func batchOf(c hf.Config, b, t int) model.Batch {
	batch := model.Batch{B: b, T: t, IDs: make([]int32, b*t), Labels: make([]int32, b*t)}
	for i := range batch.IDs {
		batch.IDs[i], batch.Labels[i] = int32(i*7%c.VocabSize), int32((i*7+7)%c.VocabSize)
	}
	return batch
}

// step trains one step as package trainer does, without the update, and returns what each rank sent.
func step(t *testing.T, c hf.Config, r estimate.Run) []map[dist.Kind]dist.Entry {
	t.Helper()
	params := model.Init[float32](c, 1)
	sent := make([]map[dist.Kind]dist.Entry, r.Ring)
	var mu sync.Mutex
	err := local.Run(context.Background(), r.Ring, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		m, err := model.New(c, params, comm, model.Options{Layout: r.Layout, AttentionDType: ringattn.DType(r.Attention)})
		if err != nil {
			return err
		}
		for range r.Accumulation {
			_, _, err := m.LossAndGrad(ctx, batchOf(c, r.MicroBatch, r.SequenceLen), 0.1, func(_ string, grad []float32) error {
				return dist.AllReduce(ctx, comm, grad)
			})
			if err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		sent[comm.Rank()] = comm.Ledger().Snapshot()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

func TestWireEqualsTheLedgerOfATrainedStep(t *testing.T) {
	for name, c := range map[string]struct {
		config map[string]any
		run    estimate.Run
	}{
		"uneven zigzag, accumulated": {nil, estimate.Run{SequenceLen: 13, Ring: 3, MicroBatch: 2, Accumulation: 2, Layout: shard.Zigzag}},
		"tied, striped":              {map[string]any{"tie_word_embeddings": true}, estimate.Run{SequenceLen: 9, Ring: 4, MicroBatch: 1, Accumulation: 1, Layout: shard.Striped}},
		"qk norm, multi-query":       {map[string]any{"model_type": "qwen3", "num_key_value_heads": 1}, estimate.Run{SequenceLen: 8, Ring: 2, MicroBatch: 1, Accumulation: 1, Layout: shard.Contiguous}},
		"shards without rows":        {nil, estimate.Run{SequenceLen: 3, Ring: 5, MicroBatch: 1, Accumulation: 1, Layout: shard.Zigzag}},
		"bfloat16":                   {nil, estimate.Run{SequenceLen: 13, Ring: 3, MicroBatch: 1, Accumulation: 1, Layout: shard.Zigzag, Attention: "bfloat16"}},
		"one rank":                   {nil, estimate.Run{SequenceLen: 7, Ring: 1, MicroBatch: 1, Accumulation: 1, Layout: shard.Contiguous}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := (ringattn.Config{DType: ringattn.DType(c.run.Attention)}).Validate(); err != nil {
				t.Skip(err)
			}
			cfg := configOf(t, c.config)
			e := estimate.Compute(estimate.ModelOf(cfg), c.run)
			ranks := step(t, cfg, c.run)
			for kind, want := range map[dist.Kind]estimate.Traffic{
				dist.ForwardKV: e.Wire.ForwardKV, dist.BackwardKV: e.Wire.BackwardKV, dist.BackwardDKV: e.Wire.BackwardDKV, dist.Collective: e.Wire.Collective,
			} {
				var sum dist.Entry
				for rank, sent := range ranks {
					if hops := int64(sent[kind].Hops); hops != want.Hops {
						t.Errorf("%s: rank %d made %d hops, estimated %d", kind, rank, hops, want.Hops)
					}
					sum = sum.Plus(sent[kind])
				}
				if sum.Bytes != want.Bytes {
					t.Errorf("%s: %d bytes sent, estimated %d", kind, sum.Bytes, want.Bytes)
				}
			}
		})
	}
}
