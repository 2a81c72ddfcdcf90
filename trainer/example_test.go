package trainer_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/config"
)

// A model of two layers is trained from scratch, over a ring of two ranks, and then evaluated over a ring of three.
func Example() {
	dir, err := os.MkdirTemp("", "ringgrad-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	text := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(text, []byte(strings.Repeat("round and round the ring. ", 40)), 0o644); err != nil {
		log.Fatal(err)
	}

	cfg := config.Default()
	cfg.Model = map[string]any{
		"model_type": "llama", "vocab_size": 256, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
		"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64, "tie_word_embeddings": true,
	}
	cfg.TokenizerConfig = "../testdata/bytes" // one token a byte
	cfg.Datasets = []config.Dataset{{Path: text}}
	cfg.Concatenate = true
	cfg.SequenceLen = 64
	cfg.ContextParallelSize = 2
	cfg.MaxSteps = 30
	cfg.LearningRate = 1e-2
	cfg.OutputDir = filepath.Join(dir, "out")

	var first float64
	t, err := trainer.New(cfg, trainer.Options{Observer: trainer.Observer{
		Stepped: func(s trainer.StepReport) {
			if s.Step == 1 {
				first = s.Loss
			}
		},
	}})
	if err != nil {
		log.Fatal(err)
	}
	result, err := t.Run(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d steps of %d tokens; learnt: %v\n", result.Steps, t.Plan().TokensPerStep, result.Loss < first/1.5)

	evaluated, err := trainer.Evaluate(context.Background(), trainer.EvalOptions{
		Model: cfg.OutputDir, Data: text, Set: []string{"context_parallel_size=3"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d targets; perplexity below 16: %v\n", evaluated.Tokens, evaluated.Perplexity < 16)
	// Output:
	// 30 steps of 64 tokens; learnt: true
	// 1039 targets; perplexity below 16: true
}
