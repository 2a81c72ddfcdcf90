package gradcheck

import (
	"math/rand/v2"

	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// tiny is a Qwen3-like model small enough to be computed a hundred times a second: grouped queries, normed heads, biases, YaRN,
// untied.
func tiny() (hf.Config, error) {
	return hf.ConfigFromMap(map[string]any{
		"model_type": "qwen3", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2,
		"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 50, "max_position_embeddings": 64,
		"attention_bias": true, "initializer_range": 0.3,
		"rope_parameters": map[string]any{"rope_type": "yarn", "rope_theta": 1000.0, "factor": 4.0, "original_max_position_embeddings": 16},
	})
}

// randomProblem draws weights and a batch. Norms and biases are drawn too, so that their gradients are tried away from 1 and 0,
// and every seventh label is ignored.
func randomProblem(cfg hf.Config, seed int64, batch, tokens int) problem {
	random := rand.New(rand.NewPCG(uint64(seed), 0x9e3779b97f4a7c15))
	p := problem{cfg: cfg, weights: map[string]hf.Tensor{}, batch: model.Batch{B: batch, T: tokens}}
	for _, t := range model.Init[float32](cfg, seed).HF() {
		if len(t.Shape) == 1 {
			for i := range t.Data {
				t.Data[i] += float32(0.2 * random.NormFloat64())
			}
		}
		p.weights[t.Name] = t
	}
	for i := range batch * tokens {
		id, label := random.IntN(cfg.VocabSize), random.IntN(cfg.VocabSize)
		if i%7 == 3 {
			label = model.IgnoreLabel
		}
		p.batch.IDs, p.batch.Labels = append(p.batch.IDs, int32(id)), append(p.batch.Labels, int32(label))
	}
	return p
}
