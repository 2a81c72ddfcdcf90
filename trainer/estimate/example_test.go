package estimate_test

import (
	"fmt"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/trainer/estimate"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// A model of 1.2M parameters on 4,096 tokens: what does a ring of 4 take, and what a ring of 1?
func ExampleCompute() {
	c, err := hf.ConfigFromMap(map[string]any{
		"model_type": "llama", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 6, "num_attention_heads": 2,
		"num_key_value_heads": 1, "vocab_size": 256, "tie_word_embeddings": true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, ring := range []int{1, 4} {
		e := estimate.Compute(estimate.ModelOf(c), estimate.Run{SequenceLen: 4096, Ring: ring, Layout: shard.Zigzag})
		fmt.Printf("ring %d: %.1f MB a rank, %.1f MB on the wire, %.0f Gflop\n",
			ring, float64(e.Memory.Rank)/1e6, float64(e.WireBytes())/1e6, e.Flops.Total/1e9)
	}
	// Output:
	// ring 1: 127.3 MB a rank, 0.0 MB on the wire, 130 Gflop
	// ring 4: 45.6 MB a rank, 142.4 MB on the wire, 130 Gflop
}
