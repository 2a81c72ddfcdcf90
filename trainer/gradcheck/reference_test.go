package gradcheck

import (
	"context"
	"fmt"
	"os"
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
		equalsReference(t, filepath.Join(dir, name))
	}
}

// equalsReference checks a folder in both types on one rank, and in every layout over a ring.
func equalsReference(t *testing.T, dir string) {
	t.Helper()
	for _, o := range []Options{
		{Rings: []int{1}, Layouts: []shard.Layout{shard.Contiguous}},
		{Rings: []int{3}, Layouts: []shard.Layout{shard.Contiguous, shard.Zigzag, shard.Striped}, DTypes: []string{Float32}},
	} {
		results, err := CheckModel(context.Background(), dir, o)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			worst, rel := r.Worst()
			what := fmt.Sprintf("%s ring %d %s %s: loss %v (expected %v), worst %s %.1e", filepath.Base(dir), r.Ring, r.Layout, r.DType, r.Loss, r.LossExpected, worst, rel)
			if !r.OK || rel > 2e-5 {
				t.Errorf("%s %s", what, r.Error)
			} else {
				t.Log(what)
			}
		}
	}
}

// TestUnsupportedModelIsRefusedByName names the experts.
func TestUnsupportedModelIsRefusedByName(t *testing.T) {
	dir := t.TempDir()
	config := `{"architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "num_local_experts": 32}`
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := CheckModel(context.Background(), dir, Options{})
	if err == nil || !strings.Contains(err.Error(), "num_local_experts 32") {
		t.Error(err)
	}
}

// TestGradientsOfNothingButRoundingAreMeasuredByTheLargest: a query that sees one key has no gradient, and every program gives its
// own noise for it.
func TestGradientsOfNothingButRoundingAreMeasuredByTheLargest(t *testing.T) {
	want := outcome{grads: map[string][]float64{"q_proj": {0, 0}, "k_proj": {3e-17, 0}, "v_proj": {-4, 1}}}
	got := outcome{grads: map[string][]float64{"q_proj": {1e-16, 0}, "k_proj": {0, -2e-17}, "v_proj": {-4, 1}}}
	for name, rel := range differences(got, want) {
		if rel > 1e-16 {
			t.Errorf("%s: %v", name, rel)
		}
	}
	got.grads["q_proj"] = []float64{0, 0.5}
	if rel := differences(got, want)["grad.q_proj"]; rel != 0.125 {
		t.Errorf("a gradient where none should be: %v, want 0.5/4", rel)
	}
	if rel := differences(outcome{grads: got.grads}, outcome{grads: map[string][]float64{"q_proj": {0, 0}}})["grad.q_proj"]; rel != incomparable {
		t.Errorf("a gradient where all should be 0: %v", rel)
	}
}
