package trainer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/config"
)

// packedRun is a tiny run whose seven documents are three packs.
func packedRun(t *testing.T) config.Config {
	cfg := tinyRun(t)
	cfg.SequenceLen, cfg.SamplePacking = 48, true
	return cfg
}

// TestPackedTrainingIsThatOfTheDocumentsOneByOne takes an epoch a step: as packs one after the other, as packs folded into one
// sequence, over rings and layouts, and in batches of documents.
func TestPackedTrainingIsThatOfTheDocumentsOneByOne(t *testing.T) {
	cfg := packedRun(t)
	cfg.MaxSteps = 4
	plain := elsewhere(cfg, "plain")
	plain.SamplePacking, plain.MicroBatchSize, plain.GradientAccumulationSteps = false, 7, 1
	trained(t, plain, Options{})
	want := curve(t, plain.OutputDir)
	for _, c := range []struct {
		ring, micro, accumulation int
		layout                    string
	}{{1, 1, 3, "zigzag"}, {1, 3, 1, "balanced"}, {3, 3, 1, "zigzag"}, {4, 1, 3, "balanced"}, {5, 3, 1, "balanced"}} {
		packed := elsewhere(cfg, fmt.Sprintf("packed-%+v", c))
		packed.ContextParallelSize, packed.MicroBatchSize, packed.GradientAccumulationSteps, packed.RingAttnFunc = c.ring, c.micro, c.accumulation, c.layout
		trained(t, packed, Options{})
		got := curve(t, packed.OutputDir)
		for i := range got { // which count the tokens of padding, and epochs by packs
			got[i].Tokens, got[i].Epoch = want[i].Tokens, want[i].Epoch
		}
		nearlyEqual(t, fmt.Sprintf("%+v", c), got, want, 1e-5)
	}
}

// TestAPackedRunGoesOnBitForBit with packs of another order each epoch, dropout and shards whose lengths depend on the documents.
func TestAPackedRunGoesOnBitForBit(t *testing.T) {
	cfg := packedRun(t)
	cfg.ValSetSize, cfg.EvalSteps, cfg.ContextParallelSize, cfg.RingAttnFunc = 2, 3, 3, "balanced"
	cfg.AttentionDropout = new(0.2)
	trained(t, cfg, Options{})
	want := curve(t, cfg.OutputDir)
	if last := want[len(want)-1]; last.Step != 8 || last.EvalLoss == 0 {
		t.Fatalf("the run is to end with an evaluation: %+v", want)
	}
	weights := snapshot(t, cfg.OutputDir)[filepath.Join(cfg.OutputDir, "model.safetensors")]
	for _, stops := range [][]int{{1}, {3}, {2, 5}} {
		c := elsewhere(cfg, fmt.Sprint("stopped", stops))
		resume := ""
		for _, step := range stops {
			interrupted(t, c, step, resume)
			resume = "latest"
		}
		trained(t, c, Options{Resume: resume})
		if got := curve(t, c.OutputDir); !slices.Equal(got, want) {
			t.Errorf("stopped after %v:\n%+v, want\n%+v", stops, got, want)
		}
		if snapshot(t, c.OutputDir)[filepath.Join(c.OutputDir, "model.safetensors")] != weights {
			t.Errorf("stopped after %v: the final weights differ", stops)
		}
	}
	c := elsewhere(cfg, "stopped[1]")
	c.MaxSteps = 9
	for change, words := range map[string]func(*config.Config){
		"sample_packing was true and is false now": func(c *config.Config) { c.SamplePacking = false },
		"it was made with attention_dropout 0.2":   func(c *config.Config) { c.AttentionDropout = new(0.1) },
	} {
		other := c
		words(&other)
		_, err := New(other, Options{Resume: "latest"})
		wantError(t, err, change)
	}
}

// TestDropoutIsTheSameForEveryRing, and another one in each step; the model's own is the default, and 0 switches it off.
func TestDropoutIsTheSameForEveryRing(t *testing.T) {
	base := tinyRun(t)
	base.MaxSteps = 5
	curves := map[string][]point{}
	for name, change := range map[string]func(*config.Config){
		"none":            func(*config.Config) {},
		"ring of 1":       func(c *config.Config) { c.AttentionDropout = new(0.3) },
		"ring of 4":       func(c *config.Config) { c.AttentionDropout, c.ContextParallelSize = new(0.3), 4 },
		"the model's own": func(c *config.Config) { c.Model["attention_dropout"] = 0.3 },
		"switched off":    func(c *config.Config) { c.Model["attention_dropout"] = 0.3; c.AttentionDropout = new(0.) },
		"queries travel": func(c *config.Config) {
			c.AttentionDropout, c.ContextParallelSize, c.RingTravel, c.RingInnerSize = new(0.3), 4, "q", 2
		},
	} {
		cfg := elsewhere(base, strings.ReplaceAll(name, " ", "-"))
		cfg.Model = tinyModel()
		change(&cfg)
		trained(t, cfg, Options{})
		curves[name] = curve(t, cfg.OutputDir)
	}
	nearlyEqual(t, "dropout, ring of 4", curves["ring of 4"], curves["ring of 1"], 1e-5)
	nearlyEqual(t, "dropout, queries travel", curves["queries travel"], curves["ring of 1"], 1e-5)
	if !slices.Equal(curves["the model's own"], curves["ring of 1"]) || !slices.Equal(curves["switched off"], curves["none"]) {
		t.Error("the model's own attention_dropout is not what applies when the key is left out")
	}
	if slices.Equal(curves["none"], curves["ring of 1"]) {
		t.Error("dropout changes nothing")
	}
}

// TestEpochsOfPacksAreWholeEpochs: three packs an epoch, two a step.
func TestEpochsOfPacksAreWholeEpochs(t *testing.T) {
	cfg := packedRun(t)
	cfg.MaxSteps, cfg.NumEpochs = 0, 2
	if got := prepared(t, cfg, Options{}).Plan(); got.Steps != 3 || !got.Packed {
		t.Errorf("%d steps of packs: %v, want 3", got.Steps, got.Packed)
	}
}

// TestThePacksAreTold before the run.
func TestThePacksAreTold(t *testing.T) {
	var notes []string
	cfg := packedRun(t)
	prepared(t, cfg, Options{Observer: Observer{Noted: func(text string) { notes = append(notes, text) }}})
	if want := "packed for the first epoch: 7 sequences in 3 packs of 48 tokens, 81.9 % full"; !slices.Contains(notes, want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
}

// TestUlyssesGroupsThatDoNotFitTheModelAreRefused with the key.
func TestUlyssesGroupsThatDoNotFitTheModelAreRefused(t *testing.T) {
	cfg := tinyRun(t)
	cfg.ContextParallelSize, cfg.UlyssesSize = 2, 2
	_, err := New(cfg, Options{})
	wantError(t, err, "ulysses_size is 2, which does not divide the model's 2 query heads and 1 KV heads; use 1")
}

// TestUlyssesTrainsTheSame as one rank.
func TestUlyssesTrainsTheSame(t *testing.T) {
	cfg := tinyRun(t)
	cfg.Model["num_key_value_heads"] = 2
	trained(t, cfg, Options{})
	hybrid := elsewhere(cfg, "ulysses")
	hybrid.ContextParallelSize, hybrid.UlyssesSize = 4, 2
	trained(t, hybrid, Options{})
	nearlyEqual(t, "Ulysses", curve(t, hybrid.OutputDir), curve(t, cfg.OutputDir), 1e-5)
}

// TestPackedEvaluationIsThatOfTheDocumentsOneByOne for every document.
func TestPackedEvaluationIsThatOfTheDocumentsOneByOne(t *testing.T) {
	cfg := tinyRun(t)
	cfg.MaxSteps = 1
	trained(t, cfg, Options{})
	o := EvalOptions{Model: cfg.OutputDir, Data: cfg.Datasets[0].Path, Field: "text", Set: []string{"tokenizer_config=" + cfg.TokenizerConfig}}
	want, err := Evaluate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Set = append(o.Set, "sample_packing=true", "sequence_len=48", "context_parallel_size=3", "ring_attn_func=balanced")
	got, err := Evaluate(t.Context(), o)
	if err != nil || len(got.Documents) != len(want.Documents) || got.Tokens != want.Tokens {
		t.Fatalf("%+v, %v: want %+v", got, err, want)
	}
	for i, d := range got.Documents {
		if w := want.Documents[i]; d.Tokens != w.Tokens || d.Loss-w.Loss > 1e-5 || w.Loss-d.Loss > 1e-5 {
			t.Errorf("document %d: %+v, want %+v", i, d, w)
		}
	}
	o.Set = o.Set[:2]
	_, err = Evaluate(t.Context(), o)
	wantError(t, err, "sample_packing is true but sequence_len is not given")
}
