package model_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// The gradients of one batch over a ring of three ranks.
func Example() {
	cfg, err := hf.ConfigFromMap(map[string]any{"model_type": "llama", "hidden_size": 16, "intermediate_size": 32,
		"num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 64, "tie_word_embeddings": true})
	if err != nil {
		fmt.Println(err)
		return
	}
	params := model.Init[float32](cfg, 42)
	batch := model.Batch{IDs: []int32{1, 5, 9, 13, 17, 21, 25}, Labels: []int32{5, 9, 13, 17, 21, 25, model.IgnoreLabel}, B: 1, T: 7}

	var mu sync.Mutex
	loss, gradients := 0.0, map[string]bool{}
	err = local.Run(context.Background(), 3, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		m, err := model.New(cfg, params, comm, model.Options{Layout: shard.Zigzag})
		if err != nil {
			return err
		}
		sum, _, err := m.LossAndGrad(ctx, batch, 1.0/6, func(name string, grad []float32) error {
			mu.Lock()
			gradients[name] = true
			mu.Unlock()
			return dist.AllReduce(ctx, comm, grad) // now the same on all ranks
		})
		mu.Lock()
		loss += sum / 6
		mu.Unlock()
		return err
	})
	fmt.Printf("loss %.2f, %d gradients, %v\n", loss, len(gradients), err)
	// Output: loss 4.12, 20 gradients, <nil>
}
