package model

import (
	"context"
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
)

// masked are models with all that attention can hide, cap and add.
var masked = []map[string]any{
	{"model_type": "mistral", "sliding_window": 3},
	{"model_type": "gemma2", "head_dim": 6, "sliding_window": 4, "attn_logit_softcapping": 2, "final_logit_softcapping": 3},
	{"model_type": "gpt_oss", "head_dim": 6, "sliding_window": 5, "num_local_experts": 1, "num_experts_per_tok": 1, "swiglu_limit": 0.5},
}

// TestMaskedChunksOfRowsAddUp is TestChunksOfRowsAddUp.
func TestMaskedChunksOfRowsAddUp(t *testing.T) {
	for _, change := range masked {
		chunksAddUp(t, testConfig(t, change))
	}
}

// TestMaskedSinksGetEveryParameterOnceInOneOrder is TestSinksGetEveryParameterOnceInOneOrder.
func TestMaskedSinksGetEveryParameterOnceInOneOrder(t *testing.T) {
	for _, change := range masked {
		sinksGetEverythingOnce(t, testConfig(t, change))
	}
}

// TestMaskedGradientsDoNotDependOnTheRing adds the ranks' gradients up, those of the sinks too, over two steps.
func TestMaskedGradientsDoNotDependOnTheRing(t *testing.T) {
	for _, change := range masked {
		cfg := testConfig(t, change)
		p := Init[float32](cfg, 1)
		b := testBatch(cfg, 2, 11)
		want := collect(t, alone(t, cfg, p), b, 0.1)
		for _, layout := range shard.Layouts() {
			err := onRing(cfg, p, 3, layout, func(ctx context.Context, m *Model[float32], c *dist.Comm) error {
				for range 2 {
					_, _, err := m.LossAndGrad(ctx, b, 0.1, func(name string, grad []float32) error {
						if err := dist.AllReduce(ctx, c, grad); err != nil {
							return err
						}
						if d := distance(grad, want[name]); d > 1e-5 || math.IsNaN(d) {
							t.Errorf("%s %s: gradient of %s differs by %.1g of its largest entry", cfg.ModelType, layout, name, d)
						}
						return nil
					})
					if err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
