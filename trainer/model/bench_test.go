package model

import (
	"context"
	"fmt"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
)

// BenchmarkStep is forward and backward of the base configuration (6 layers of 128, 1.2M parameters), without the update.
func BenchmarkStep(b *testing.B) {
	cfg := testConfig(b, map[string]any{"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 6, "num_attention_heads": 2,
		"num_key_value_heads": 1, "vocab_size": 260, "initializer_range": 0.02})
	for _, c := range []struct{ ring, batch, tokens int }{{1, 8, 512}, {1, 1, 4096}, {4, 1, 4096}} {
		b.Run(fmt.Sprintf("ring%d/%dx%d", c.ring, c.batch, c.tokens), func(b *testing.B) {
			b.ReportAllocs()
			batch := testBatch(cfg, c.batch, c.tokens)
			err := onRing(cfg, Init[float32](cfg, 1), c.ring, shard.Zigzag, func(ctx context.Context, m *Model[float32], comm *dist.Comm) error {
				for range b.N {
					if _, _, err := m.LossAndGrad(ctx, batch, 1, discard); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N*c.batch*c.tokens)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
