package trainer

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
)

// stopAfter is an observer that stops its trainer when a step is done.
func stopAfter(step int, stop *func()) Observer {
	return Observer{Advanced: func(done int) {
		if done == step {
			(*stop)()
		}
	}}
}

// interrupted runs cfg and stops it after a step; the run must say so and leave that checkpoint.
func interrupted(t *testing.T, cfg config.Config, step int, resume string) {
	t.Helper()
	var stop func()
	trainer := prepared(t, cfg, Options{Resume: resume, Observer: stopAfter(step, &stop)})
	stop = trainer.Stop
	_, err := trainer.Run(t.Context())
	wantInterrupted(t, cfg, step, err)
}

func wantInterrupted(t *testing.T, cfg config.Config, step int, err error) {
	t.Helper()
	if err == nil || fmt.Sprint(err) != fmt.Sprintf("trainer: interrupted after step %d; continue with --resume latest", step) {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.OutputDir, fmt.Sprintf("checkpoint-%d", step), "files.json")); err != nil {
		t.Fatal(err)
	}
}

// withEvaluation is a tiny run of eight steps, over two epochs, that evaluates on the way.
func withEvaluation(t *testing.T) config.Config {
	cfg := tinyRun(t)
	cfg.ValSetSize, cfg.EvalSteps, cfg.MicroBatchSize = 2, 3, 1
	return cfg
}

// elsewhere is the same run in another folder.
func elsewhere(cfg config.Config, name string) config.Config {
	cfg.OutputDir = filepath.Join(filepath.Dir(cfg.OutputDir), name)
	return cfg
}

// TestAStoppedRunGoesOnBitForBit stops after every step in turn, once twice, and wants the metrics and the weights of a run that was
// never stopped.
func TestAStoppedRunGoesOnBitForBit(t *testing.T) {
	cfg := withEvaluation(t)
	cfg.ContextParallelSize = 2
	trained(t, cfg, Options{})
	want := curve(t, cfg.OutputDir)
	if last := want[len(want)-1]; last.Step != 8 || last.EvalLoss == 0 || want[len(want)-2].Epoch < 2 {
		t.Fatalf("the run is to end with an evaluation in its third epoch: %+v", want)
	}
	weights := snapshot(t, cfg.OutputDir)[filepath.Join(cfg.OutputDir, "model.safetensors")]
	for _, stops := range [][]int{{1}, {3}, {2, 6}, {8}} {
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
}

// TestAnotherRingResumes goes on with rings of other sizes and wants the curve of the first.
func TestAnotherRingResumes(t *testing.T) {
	cfg := withEvaluation(t)
	trained(t, cfg, Options{})
	want := curve(t, cfg.OutputDir)
	for _, ring := range []int{2, 3} {
		c := elsewhere(cfg, fmt.Sprint("ring", ring))
		interrupted(t, c, 3, "")
		c.ContextParallelSize = ring
		trained(t, c, Options{Resume: "latest"})
		nearlyEqual(t, fmt.Sprintf("ring 1, then %d", ring), curve(t, c.OutputDir), want, 1e-5)
	}
}

// TestEveryArchitectureAndRoPEResumes wants what a checkpoint's config.json says to be read back as the same model.
func TestEveryArchitectureAndRoPEResumes(t *testing.T) {
	goesOn := func(name string, cfg config.Config) {
		cfg.MaxSteps, cfg.SaveSteps = 2, 1
		trained(t, cfg, Options{})
		want := curve(t, cfg.OutputDir)
		trained(t, cfg, Options{Resume: filepath.Join(cfg.OutputDir, "checkpoint-1")})
		if got := curve(t, cfg.OutputDir); !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	for _, rope := range []config.RopeScaling{
		{RopeType: "default"},
		{RopeType: "linear", Factor: 2.5},
		{RopeType: "llama3", Factor: 4, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositionEmbeddings: 16},
		{RopeType: "yarn", Factor: 3, BetaFast: 16, AttentionFactor: 1.1},
	} {
		cfg := tinyRun(t)
		cfg.RopeScaling, cfg.RopeTheta = &rope, 5000
		goesOn(rope.RopeType, cfg)
	}
	root := realdata.Path(t, "hf")
	for _, name := range []string{"llama", "llama_untied_bias", "llama3_rope", "linear_rope", "yarn_rope", "qwen2", "qwen3"} {
		cfg := tinyRun(t)
		cfg.Model, cfg.BaseModel = nil, filepath.Join(root, name)
		goesOn(name, cfg)
	}
}

// TestACheckpointCanBeNamed resumes from an older checkpoint, in its own folder and in a new one; auto starts where there is none.
func TestACheckpointCanBeNamed(t *testing.T) {
	cfg := tinyRun(t)
	cfg.SaveSteps, cfg.ResumeFromCheckpoint = 3, "auto"
	trained(t, cfg, Options{})
	want := curve(t, cfg.OutputDir)
	older := filepath.Join(cfg.OutputDir, "checkpoint-3")
	for _, name := range []string{"checkpoint-3", "checkpoint-6", "checkpoint-8"} {
		if _, err := os.Stat(filepath.Join(cfg.OutputDir, name)); err != nil {
			t.Error(err)
		}
	}
	fresh := elsewhere(cfg, "fresh")
	trained(t, fresh, Options{Resume: older})
	if got := curve(t, fresh.OutputDir); !slices.Equal(got, want[3:]) {
		t.Errorf("in a new folder: %+v, want %+v", got, want[3:])
	}
	trained(t, cfg, Options{Resume: older})
	if got := curve(t, cfg.OutputDir); !slices.Equal(got, want) {
		t.Errorf("in its own folder: %+v, want %+v", got, want)
	}
	trained(t, cfg, Options{}) // auto: the newest is the last step, so there is nothing left to train
	if got := curve(t, cfg.OutputDir); !slices.Equal(got, want) {
		t.Errorf("auto: %+v, want %+v", got, want)
	}
}

// TestAResumedRunThatIsNoContinuationIsRefused changes what a run may not change, and wants an error that names it, from New,
// and a folder that is as it was.
func TestAResumedRunThatIsNoContinuationIsRefused(t *testing.T) {
	cfg := tinyRun(t)
	interrupted(t, cfg, 5, "")
	before := snapshot(t, filepath.Dir(cfg.OutputDir))
	checkpoint := filepath.Join(cfg.OutputDir, "checkpoint-5")
	for name, c := range map[string]struct {
		resume string
		change func(*config.Config)
		words  []string
	}{
		"seed":          {"latest", func(c *config.Config) { c.Seed = 7 }, []string{"checkpoint-5", "seed 42", "seed=42"}},
		"max_steps":     {"latest", func(c *config.Config) { c.MaxSteps = 4 }, []string{"step 5", "4 steps", "raise max_steps"}},
		"sequence_len":  {"latest", func(c *config.Config) { c.SequenceLen = 20 }, []string{"sequence_len was 24", "is 20 now", "set sequence_len=24"}},
		"order":         {"latest", func(c *config.Config) { c.ShuffleMergedDatasets = false }, []string{"shuffle_merged_datasets was true"}},
		"val_set_size":  {"auto", func(c *config.Config) { c.ValSetSize = 1 }, []string{"val_set_size was 0"}},
		"data":          {"latest", func(c *config.Config) { c.Datasets = append(c.Datasets, c.Datasets...) }, []string{"training data have changed"}},
		"layers":        {"latest", func(c *config.Config) { c.Model = changed("num_hidden_layers", 1) }, []string{"num_hidden_layers is 2 there and 1 in this run"}},
		"width":         {checkpoint, func(c *config.Config) { c.Model = changed("intermediate_size", 32) }, []string{"intermediate_size is 24 there"}},
		"rope":          {checkpoint, func(c *config.Config) { c.RopeTheta = 500 }, []string{"RoPE"}},
		"no checkpoint": {"latest", func(c *config.Config) { c.OutputDir += "-other" }, []string{"no checkpoint", "out-other"}},
		"no folder":     {checkpoint + "0", func(*config.Config) {}, []string{"checkpoint-50", "files.json"}},
	} {
		t.Run(name, func(t *testing.T) {
			changed := cfg
			c.change(&changed)
			_, err := New(changed, Options{Resume: c.resume})
			wantError(t, err, c.words...)
			if !errors.Is(err, ErrInput) {
				t.Errorf("%v is not marked as a mistake of the input", err)
			}
		})
	}
	if !maps.Equal(snapshot(t, filepath.Dir(cfg.OutputDir)), before) {
		t.Error("something was written")
	}
}

// changed is the tiny model with another value.
func changed(key string, value any) map[string]any {
	m := tinyModel()
	m[key] = value
	return m
}

// TestADamagedCheckpointIsRefusedByNameAndTheOneBeforeServes cuts, changes and removes files of the newest checkpoint.
func TestADamagedCheckpointIsRefusedByNameAndTheOneBeforeServes(t *testing.T) {
	cfg := tinyRun(t)
	cfg.SaveSteps = 3
	interrupted(t, cfg, 6, "")
	newest := filepath.Join(cfg.OutputDir, "checkpoint-6")
	for _, name := range []string{"model.safetensors", "optimizer.safetensors", "trainer_state.json", "config.json", "files.json"} {
		path := filepath.Join(newest, name)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for what, damage := range map[string]string{"cut": string(text[:len(text)/2]), "changed": string(text[:20]) + "?" + string(text[21:])} {
			writeFile(t, path, damage)
			if _, err := New(cfg, Options{Resume: "latest"}); err == nil {
				t.Errorf("%s %s was read", name, what)
			} else {
				wantError(t, err, "checkpoint-6", name, "checkpoint-3")
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		_, err = New(cfg, Options{Resume: "latest"})
		wantError(t, err, "checkpoint-6", name)
		writeFile(t, path, string(text))
	}
	trained(t, cfg, Options{Resume: filepath.Join(cfg.OutputDir, "checkpoint-3")})
	if got := curve(t, cfg.OutputDir); len(got) != 8 {
		t.Errorf("%d lines, want 8", len(got))
	}
}
