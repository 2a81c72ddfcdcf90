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
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
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
		m, err := model.New(c, params, comm, model.Options{
			Layout: r.Layout, AttentionDType: ringattn.DType(r.Attention), Travel: r.Travel, UlyssesSize: r.Ulysses, InnerRing: r.Inner,
		})
		if err != nil {
			return err
		}
		for range max(r.Accumulation, 1) {
			b := batchOf(c, max(r.MicroBatch, 1), r.SequenceLen)
			b.Documents = r.Documents
			_, _, err := m.LossAndGrad(ctx, b, 0.1, func(_ string, grad []float32) error {
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
		"uneven zigzag, accumulated":   {nil, estimate.Run{SequenceLen: 13, Ring: 3, MicroBatch: 2, Accumulation: 2, Layout: shard.Zigzag}},
		"tied, striped":                {map[string]any{"tie_word_embeddings": true}, estimate.Run{SequenceLen: 9, Ring: 4, MicroBatch: 1, Accumulation: 1, Layout: shard.Striped}},
		"qk norm, multi-query":         {map[string]any{"model_type": "qwen3", "num_key_value_heads": 1}, estimate.Run{SequenceLen: 8, Ring: 2, MicroBatch: 1, Accumulation: 1, Layout: shard.Contiguous}},
		"shards without rows":          {nil, estimate.Run{SequenceLen: 3, Ring: 5, MicroBatch: 1, Accumulation: 1, Layout: shard.Zigzag}},
		"bfloat16":                     {nil, estimate.Run{SequenceLen: 13, Ring: 3, MicroBatch: 1, Accumulation: 1, Layout: shard.Zigzag, Attention: "bfloat16"}},
		"one rank":                     {nil, estimate.Run{SequenceLen: 7, Ring: 1, MicroBatch: 1, Accumulation: 1, Layout: shard.Contiguous}},
		"contiguous":                   {nil, estimate.Run{SequenceLen: 16, Ring: 4, Layout: shard.Contiguous, Accumulation: 2}},
		"queries travel":               {nil, estimate.Run{SequenceLen: 16, Ring: 4, Layout: shard.Zigzag, Travel: ring.Q}},
		"auto, as many KV heads":       {map[string]any{"num_key_value_heads": 6}, estimate.Run{SequenceLen: 16, Ring: 4, MicroBatch: 2, Layout: shard.Contiguous, Travel: ring.Auto}},
		"windows":                      {map[string]any{"model_type": "mistral", "sliding_window": 5}, estimate.Run{SequenceLen: 32, Ring: 8, Layout: shard.Contiguous}},
		"windows in some layers":       {map[string]any{"model_type": "gemma2", "sliding_window": 5}, estimate.Run{SequenceLen: 31, Ring: 4, Layout: shard.Balanced}},
		"documents":                    {nil, estimate.Run{SequenceLen: 30, Ring: 4, Layout: shard.Contiguous, Documents: []int{0, 9, 9, 10, 22, 30}}},
		"documents, balanced, pass Q":  {nil, estimate.Run{SequenceLen: 30, Ring: 5, Layout: shard.Balanced, Travel: ring.Q, Documents: []int{0, 9, 10, 22, 30}}},
		"Ulysses":                      {nil, estimate.Run{SequenceLen: 17, Ring: 2, MicroBatch: 2, Layout: shard.Zigzag, Ulysses: 2}},
		"Ulysses and double rings":     {nil, estimate.Run{SequenceLen: 33, Ring: 8, Layout: shard.Zigzag, Ulysses: 2, Inner: 2}},
		"Ulysses, shards without rows": {nil, estimate.Run{SequenceLen: 3, Ring: 4, Layout: shard.Striped, Ulysses: 2}},
		"double ring of queries":       {nil, estimate.Run{SequenceLen: 33, Ring: 6, Layout: shard.Striped, Inner: 3, Travel: ring.Q, Documents: []int{0, 20, 33}}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := (ringattn.Config{DType: ringattn.DType(c.run.Attention)}).Validate(); err != nil {
				t.Skip(err)
			}
			cfg := configOf(t, c.config)
			e := estimate.Compute(estimate.ModelOf(cfg), c.run)
			ranks := step(t, cfg, c.run)
			sums, hops := map[dist.Kind]dist.Entry{}, map[dist.Kind]int64{}
			for kind := range e.Wire {
				hops[kind] = 0
			}
			for _, sent := range ranks {
				for kind, entry := range sent {
					sums[kind] = sums[kind].Plus(entry)
					hops[kind] = max(hops[kind], int64(entry.Hops))
				}
			}
			for kind := range hops {
				if got, want := (estimate.Traffic{Hops: hops[kind], Bytes: sums[kind].Bytes}), e.Wire[kind]; got != want {
					t.Errorf("%s: sent %+v, estimated %+v", kind, got, want)
				}
			}
			if c.run.Travel == ring.Q && (e.Travel.Travel != "q" || e.Wire[dist.ForwardKV].Bytes != 0) {
				t.Errorf("%+v travels", e.Travel)
			}
		})
	}
}
