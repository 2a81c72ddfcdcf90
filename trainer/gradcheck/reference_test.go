package gradcheck

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"

	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
)

// TestModelsEqualTransformers compares logits, loss and every gradient of seven model families to 2e-5.
func TestModelsEqualTransformers(t *testing.T) {
	dir := realdata.Path(t, "hf")
	for _, name := range []string{"llama", "llama_untied_bias", "llama3_rope", "linear_rope", "yarn_rope", "qwen2", "qwen3"} {
		for _, o := range []Options{
			{Rings: []int{1}, Layouts: []shard.Layout{shard.Contiguous}},
			{Rings: []int{3}, Layouts: []shard.Layout{shard.Contiguous, shard.Zigzag, shard.Striped}, DTypes: []string{Float32}},
		} {
			results, err := CheckModel(context.Background(), filepath.Join(dir, name), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				worst, rel := r.Worst()
				what := fmt.Sprintf("%s ring %d %s %s: loss %v (expected %v), worst %s %.1e", name, r.Ring, r.Layout, r.DType, r.Loss, r.LossExpected, worst, rel)
				if !r.OK || rel > 2e-5 {
					t.Errorf("%s %s", what, r.Error)
				} else {
					t.Log(what)
				}
			}
		}
	}
}

// TestUnsupportedModelIsRefusedByName names Mistral's window.
func TestUnsupportedModelIsRefusedByName(t *testing.T) {
	_, err := CheckModel(context.Background(), realdata.Path(t, "hf/mistral_window"), Options{})
	if err == nil || !strings.Contains(err.Error(), "MistralForCausalLM") || !strings.Contains(err.Error(), "sliding_window 20") {
		t.Error(err)
	}
}
