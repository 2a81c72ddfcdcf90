package trainer

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/disttest"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/trainer/checkpoint"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/data"
)

// plantGradient makes a number part of the next step's gradient of a parameter.
func plantGradient(r *run, name string, value float64) {
	parameter, _ := r.params.Get(name)
	r.grads[name] = make([]float32, len(parameter.Data))
	r.grads[name][5] = float32(value)
}

// TestANumberThatIsNotFiniteEndsTheRunBeforeTheUpdate breaks a weight or a gradient after step 3: step 4 must name the culprit, leave
// the weights alone, and leave checkpoint-2 to go on from.
func TestANumberThatIsNotFiniteEndsTheRunBeforeTheUpdate(t *testing.T) {
	whole := tinyRun(t)
	whole.ContextParallelSize = 2
	trained(t, whole, Options{})
	for name, c := range map[string]struct {
		breakIt func(*run)
		words   []string
	}{
		"weight NaN":   {func(r *run) { r.params.All()[3].Data[1] = float32(math.NaN()) }, []string{"step 4", "the loss is NaN"}},
		"gradient NaN": {func(r *run) { plantGradient(r, "model.norm.weight", math.NaN()) }, []string{"step 4", "gradient of model.norm.weight", "NaN"}},
		"gradient Inf": {func(r *run) {
			plantGradient(r, "model.layers.1.mlp.up_proj.weight", math.Inf(-1))
		}, []string{"step 4", "gradient of model.layers.1.mlp.up_proj.weight", "-Inf"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := elsewhere(whole, name)
			cfg.SaveSteps = 2
			trainer := prepared(t, cfg, Options{})
			r := trainer.run
			var weights []float32
			r.observer.Advanced = func(step int) {
				if step == 3 {
					c.breakIt(r)
					weights = slices.Clone(r.params.All()[0].Data)
				}
			}
			_, err := trainer.Run(t.Context())
			wantError(t, err, append(c.words, "nothing was updated")...)
			if !errors.Is(err, ErrNotFinite) || errors.Is(err, ErrInput) {
				t.Errorf("error %v is of the wrong kind", err)
			}
			if !slices.Equal(r.params.All()[0].Data, weights) {
				t.Error("weights were updated")
			}
			if latest, err := checkpoint.Latest(cfg.OutputDir); err != nil || latest.Step != 2 {
				t.Errorf("the last checkpoint is %+v, %v", latest, err)
			}
			trained(t, cfg, Options{Resume: "latest"})
			if got, want := curve(t, cfg.OutputDir), curve(t, whole.OutputDir); !slices.Equal(got, want) {
				t.Errorf("resumed: %+v, want %+v", got, want)
			}
		})
	}
}

// TestAnUpdateThatOverflowsIsNotSaved has a learning rate beyond float32: no checkpoint and no model may hold what it made.
func TestAnUpdateThatOverflowsIsNotSaved(t *testing.T) {
	for _, steps := range []int{1, 8} {
		cfg := tinyRun(t)
		cfg.LearningRate, cfg.WarmupSteps, cfg.LrScheduler, cfg.MaxSteps, cfg.WeightDecay = 1e39, 0, "constant", steps, 0
		if steps > 1 {
			cfg.SaveSteps = 1
		}
		_, err := prepared(t, cfg, Options{}).Run(t.Context())
		if !errors.Is(err, ErrNotFinite) {
			t.Errorf("error %v", err)
		}
		wantError(t, err, "step 1", "model.embed_tokens.weight", "learning_rate")
		if holds(cfg.OutputDir, "checkpoint-*") || holds(cfg.OutputDir, "model.safetensors") {
			t.Error("it was saved")
		}
	}
}

// TestARankThatFailsEndsTheRunWithItsCause breaks rank 1 of 3 in four ways, and then resumes.
func TestARankThatFailsEndsTheRunWithItsCause(t *testing.T) {
	faulty := func(f disttest.Faults) func(*run) {
		return func(r *run) {
			r.wrap = func(e dist.Engine) dist.Engine {
				if e.Rank() == 1 {
					return disttest.Faulty(e, f)
				}
				return e
			}
		}
	}
	fed := func(f func() (data.Batch, error)) func(*run) {
		return func(r *run) {
			r.feed = func(rank int) batches {
				if rank == 1 {
					return &failing{batches: r.loader(), left: 9, then: f}
				}
				return r.loader()
			}
		}
	}
	broken := errors.New("the cable is out")
	for name, c := range map[string]struct {
		breakIt func(*run)
		want    func(error) bool
		words   []string
	}{
		"stalls": {faulty(disttest.Faults{DieAt: 400}), func(err error) bool { return errors.Is(err, dist.ErrTimeout) }, []string{"rank 1"}},
		"aborts": {faulty(disttest.Faults{AbortAt: 400}), func(err error) bool { return errors.Is(err, disttest.ErrInjected) }, nil},
		"fails":  {fed(func() (data.Batch, error) { return data.Batch{}, broken }), func(err error) bool { return errors.Is(err, broken) }, []string{"rank 1"}},
		"panics": {fed(func() (data.Batch, error) { panic("out of range") }), func(err error) bool {
			var p *local.PanicError
			return errors.As(err, &p) && p.Rank == 1
		}, []string{"rank 1", "out of range"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := tinyRun(t)
			cfg.ContextParallelSize, cfg.SaveSteps = 3, 1
			cfg.RingTimeout = config.Duration(time.Second)
			trainer := prepared(t, cfg, Options{})
			c.breakIt(trainer.run)
			_, err := trainer.Run(t.Context())
			if !c.want(err) || errors.Is(err, ErrInput) {
				t.Errorf("error %v", err)
			}
			wantError(t, err, c.words...)
			latest, err := checkpoint.Latest(cfg.OutputDir)
			if err != nil || latest.Step == 0 || latest.Step >= 8 {
				t.Fatalf("the fault is to come in the middle, and it came after %+v, %v", latest, err)
			}
			cfg.RingTimeout = 0
			trained(t, cfg, Options{Resume: "latest"})
		})
	}
}

// failing gives some batches, and then fails.
type failing struct {
	batches
	left int
	then func() (data.Batch, error)
}

func (f *failing) Next() (data.Batch, error) {
	f.left--
	if f.left < 0 {
		return f.then()
	}
	return f.batches.Next()
}

// TestAFolderThatHoldsSomethingElseIsLeftAlone wants an error that names the remedy and not a byte changed.
func TestAFolderThatHoldsSomethingElseIsLeftAlone(t *testing.T) {
	first := tinyRun(t)
	first.SaveSteps = 4
	trained(t, first, Options{})
	finished := elsewhere(first, "finished")
	finished.SaveSteps = 0
	trained(t, finished, Options{})
	_, err := prepared(t, finished, Options{}).Run(t.Context())
	wantError(t, err, finished.OutputDir, "already holds a model", "choose another output_dir")
	before := snapshot(t, filepath.Dir(first.OutputDir))
	for resume, words := range map[string][]string{
		"": {first.OutputDir, "already holds a run", "--resume latest", "another output_dir"},
		filepath.Join(filepath.Dir(first.OutputDir), "copy", "checkpoint-4"): {first.OutputDir, "already holds a run", "not one of its checkpoints"},
	} {
		if resume != "" {
			if err := os.CopyFS(resume, os.DirFS(filepath.Join(first.OutputDir, "checkpoint-4"))); err != nil {
				t.Fatal(err)
			}
		}
		_, err := prepared(t, first, Options{Resume: resume}).Run(t.Context())
		wantError(t, err, words...)
		if !errors.Is(err, ErrInput) {
			t.Errorf("%v is not marked as a mistake of the input", err)
		}
		if resume != "" {
			if err := os.RemoveAll(filepath.Dir(resume)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !maps.Equal(snapshot(t, filepath.Dir(first.OutputDir)), before) {
		t.Error("something was written")
	}
}

// TestAFolderThatCannotBeMadeIsAMistakeOfTheInput puts the run below a file.
func TestAFolderThatCannotBeMadeIsAMistakeOfTheInput(t *testing.T) {
	for _, below := range []string{"", "deep/er"} {
		cfg := tinyRun(t)
		cfg.OutputDir = filepath.Join(cfg.Datasets[0].Path, below)
		_, err := prepared(t, cfg, Options{}).Run(t.Context())
		wantError(t, err, cfg.OutputDir, "choose a folder that you may write to")
		if !errors.Is(err, ErrInput) {
			t.Errorf("%v is not marked as a mistake of the input", err)
		}
	}
}

// TestWrongInputWritesNothing gives New one mistake at a time.
func TestWrongInputWritesNothing(t *testing.T) {
	model := tinyRun(t)
	model.MaxSteps = 1
	trained(t, model, Options{})
	for name, c := range map[string]struct {
		change func(t *testing.T, c *config.Config)
		words  []string
	}{
		"unchecked config": {func(_ *testing.T, c *config.Config) { c.ContextParallelSize = 0 }, []string{"context_parallel_size is 0"}},
		"ring too large":   {func(_ *testing.T, c *config.Config) { c.ContextParallelSize = 25 }, []string{"context_parallel_size is 25", "24 tokens"}},
		"heads":            {func(_ *testing.T, c *config.Config) { c.Model = changed("num_key_value_heads", 3) }, []string{"num_key_value_heads", "3"}},
		"architecture":     {func(_ *testing.T, c *config.Config) { c.Model = changed("model_type", "mixtral") }, []string{"mixtral"}},
		"no data":          {func(_ *testing.T, c *config.Config) { c.Datasets[0].Path += ".missing" }, []string{"text.jsonl.missing"}},
		"all dropped": {func(t *testing.T, c *config.Config) {
			writeDocuments(t, c.Datasets[0].Path, 30, 30)
			c.ExcessLengthStrategy = "drop"
		}, []string{"dataset is empty", "2 dropped"}},
		"nothing held back": {func(t *testing.T, c *config.Config) {
			lossByPosition(t, c)
			writeDocuments(t, c.TestDatasets[0].Path, 30, 30)
			c.ExcessLengthStrategy, c.LossByPosition, c.EvalSteps = "drop", false, 1
		}, []string{"eval_steps is 1", "no held-back sequence", "test_datasets"}},
		"short documents": {func(t *testing.T, c *config.Config) {
			lossByPosition(t, c)
			writeDocuments(t, c.TestDatasets[0].Path, 9)
		}, []string{"loss_by_position", "24 tokens"}},
		"small vocabulary": {func(_ *testing.T, c *config.Config) { c.Model = changed("vocab_size", 26) }, []string{"27 tokens", "vocab_size is 26"}},
		"NaN weight": {func(t *testing.T, c *config.Config) {
			c.Model, c.TokenizerConfig, c.BaseModel = nil, "", filepath.Join(t.TempDir(), "nan")
			if err := os.CopyFS(c.BaseModel, os.DirFS(model.OutputDir)); err != nil {
				t.Fatal(err)
			}
			weights := filepath.Join(c.BaseModel, "model.safetensors")
			text, err := os.ReadFile(weights)
			if err != nil {
				t.Fatal(err)
			}
			copy(text[len(text)-4:], "\x00\x00\xc0\x7f")
			writeFile(t, weights, string(text))
		}, []string{"NaN", "model.safetensors"}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := tinyRun(t)
			c.change(t, &cfg)
			before := snapshot(t, filepath.Dir(cfg.OutputDir))
			_, err := New(cfg, Options{})
			wantError(t, err, c.words...)
			if !errors.Is(err, ErrInput) {
				t.Errorf("%v is not marked as a mistake of the input", err)
			}
			if _, err := os.Stat(cfg.OutputDir); !errors.Is(err, os.ErrNotExist) || fmt.Sprint(snapshot(t, filepath.Dir(cfg.OutputDir))) != fmt.Sprint(before) {
				t.Error("something was written")
			}
		})
	}
}
