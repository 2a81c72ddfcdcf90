package gradcheck

import (
	"path/filepath"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
)

// TestMaskedModelsEqualTransformers compares logits, loss and every gradient of models with sliding windows on all and on some layers,
// capped scores and logits, and attention sinks.
func TestMaskedModelsEqualTransformers(t *testing.T) {
	for _, name := range []string{"mistral_window", "qwen3_window", "gemma2", "gpt_oss"} {
		t.Run(name, func(t *testing.T) { equalsReference(t, filepath.Join("..", "model", "testdata", name)) })
	}
	t.Run("another mistral_window", func(t *testing.T) { equalsReference(t, realdata.Path(t, "hf/mistral_window")) })
}
