package trainer

import (
	"github.com/ringgrad/ringgrad/dist"
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/trainer/config"
)

// inBFloat16 is a tiny run with attention in bfloat16, over a ring.
func inBFloat16(t *testing.T) config.Config {
	t.Helper()
	if err := (ringattn.Config{DType: ringattn.BFloat16}).Validate(); err != nil {
		t.Skip(err)
	}
	cfg := tinyRun(t)
	cfg.AttentionDtype, cfg.ContextParallelSize = "bfloat16", 2
	return cfg
}

func TestABFloat16RunLearnsWhatAFloat32RunLearns(t *testing.T) {
	cfg := inBFloat16(t)
	narrow := prepared(t, cfg, Options{})
	sent := narrow.Plan().Estimate.Wire
	exact := cfg
	exact.AttentionDtype, exact.OutputDir = "float32", cfg.OutputDir+"-float32"
	wide := prepared(t, exact, Options{})
	if w := wide.Plan().Estimate.Wire; 2*sent[dist.ForwardKV].Bytes != w[dist.ForwardKV].Bytes || sent[dist.BackwardDKV] != w[dist.BackwardDKV] {
		t.Errorf("bfloat16 sends %+v, float32 %+v", sent, w)
	}
	var losses [2]float64
	for i, run := range []*Trainer{narrow, wide} {
		result, err := run.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		losses[i] = result.Loss
	}
	if d := math.Abs(losses[0] - losses[1]); !(d > 0 && d < 0.02) {
		t.Errorf("after the run the loss is %v, of float32 %v", losses[0], losses[1])
	}
}

func TestABFloat16RunGoesOnInBFloat16(t *testing.T) {
	cfg := inBFloat16(t)
	interrupted(t, cfg, 3, "")
	prepared(t, cfg, Options{Resume: "latest"})
	cfg.AttentionDtype = "float32"
	_, err := New(cfg, Options{Resume: "latest"})
	wantError(t, err, "checkpoint-3", "attention_dtype bfloat16", "set attention_dtype=bfloat16")
}
