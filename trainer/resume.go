package trainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/trainer/checkpoint"
	"github.com/ringgrad/ringgrad/trainer/data"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/metrics"
)

// stateVersion is the form of trainer_state.json.
const stateVersion = 1

// savedState is trainer_state.json.
type savedState struct {
	Version  int         `json:"version"`
	Step     int         `json:"global_step"`
	Epoch    float64     `json:"epoch"`
	MaxSteps int         `json:"max_steps"`
	Tokens   int64       `json:"tokens"`
	Loss     float64     `json:"loss"`
	EvalLoss *float64    `json:"eval_loss,omitempty"`
	Cursor   data.Cursor `json:"data_cursor"`
	Seed     int64       `json:"seed"`
	Position *Position   `json:"loss_by_position,omitempty"` // measured before the first step
}

// metricsFile holds a line a logged step.
const metricsFile = "metrics.jsonl"

// resume puts the run where a checkpoint left it; "" and the config's resume_from_checkpoint may start anew.
func (r *run) resume(from string) error {
	if from == "" {
		from = r.cfg.ResumeFromCheckpoint
	}
	path, err := findCheckpoint(from, r.cfg.OutputDir)
	if err != nil || path == "" {
		return err
	}
	if err := checkpoint.Verify(path); err != nil {
		return err
	}
	var s savedState
	if err := checkpoint.ReadState(path, &s); err != nil {
		return err
	}
	if s.Version != stateVersion {
		return fmt.Errorf("trainer: %s has trainer_state.json of version %d, this program reads %d", path, s.Version, stateVersion)
	}
	if s.Step > r.steps {
		return fmt.Errorf("trainer: %s is at step %d, beyond the %d steps of this run; raise max_steps", path, s.Step, r.steps)
	}
	if s.Seed != r.cfg.Seed {
		return fmt.Errorf("trainer: %s was made with seed %d, this run has %d: the data would come in another order; set seed=%d", path, s.Seed, r.cfg.Seed, s.Seed)
	}
	if err := r.readCheckpoint(path); err != nil {
		return err
	}
	r.state = state{step: s.Step, cursor: s.Cursor, tokens: s.Tokens, lastLoss: s.Loss, evalLoss: s.EvalLoss, position: s.Position}
	return nil
}

// findCheckpoint returns the folder to resume from, "" for none.
func findCheckpoint(from, outputDir string) (string, error) {
	switch from {
	case "":
		return "", nil
	case "latest", "auto":
		entry, err := checkpoint.Latest(outputDir)
		if from == "auto" && errors.Is(err, checkpoint.ErrNone) {
			return "", nil
		}
		return entry.Path, err
	}
	return from, nil
}

// readCheckpoint reads parameters and moments over the ones that were prepared.
func (r *run) readCheckpoint(path string) error {
	found, err := hf.ReadConfig(path)
	if err != nil {
		return err
	}
	if err := sameModel(found, r.model); err != nil {
		return fmt.Errorf("trainer: cannot resume from %s: %w; give the config that it was trained with, or start anew in another output_dir", path, err)
	}
	weights, err := hf.LoadWeights(path, r.model)
	if err != nil {
		return err
	}
	for _, p := range r.params.All() {
		copy(p.Data, weights[p.Name].Data)
	}
	return checkpoint.ReadOptimizer(path, r.model.Parameters(), r.moments)
}

// sameModel names the first difference that makes two configs different models.
func sameModel(got, want hf.Config) error {
	for _, field := range []struct {
		name      string
		got, want any
	}{
		{"model_type", got.ModelType, want.ModelType},
		{"hidden_size", got.HiddenSize, want.HiddenSize},
		{"intermediate_size", got.IntermediateSize, want.IntermediateSize},
		{"num_hidden_layers", got.NumLayers, want.NumLayers},
		{"num_attention_heads", got.NumHeads, want.NumHeads},
		{"num_key_value_heads", got.NumKVHeads, want.NumKVHeads},
		{"head_dim", got.HeadDim, want.HeadDim},
		{"vocab_size", got.VocabSize, want.VocabSize},
		{"tie_word_embeddings", got.TieWordEmbeddings, want.TieWordEmbeddings},
		{"rms_norm_eps", got.RMSNormEps, want.RMSNormEps},
		{"RoPE", got.RoPE, want.RoPE},
	} {
		if field.got != field.want {
			return fmt.Errorf("%s is %v there and %v in this run", field.name, field.got, field.want)
		}
	}
	return nil
}

// openOutput takes the output folder: it must be new, empty, or belong to the run that is resumed.
func (r *run) openOutput() (unlock func(), err error) {
	dir := r.cfg.OutputDir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, inputError{fmt.Errorf("trainer: output_dir %s cannot be made: %w; choose a folder that you may write to", dir, err)}
	}
	unlock, err = checkpoint.Lock(dir)
	if err != nil {
		return nil, inputError{err}
	}
	defer func() {
		if err != nil {
			unlock()
		}
	}()
	if r.state.step == 0 && holdsRun(dir) {
		return nil, inputError{fmt.Errorf("trainer: output_dir %s already holds a run; continue it with --resume latest, or choose another output_dir", dir)}
	}
	if err := checkpoint.Clean(dir); err != nil {
		return nil, inputError{err}
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), r.cfg.YAML(), 0o644); err != nil {
		return nil, inputError{fmt.Errorf("trainer: output_dir %s cannot be written to: %w", dir, err)}
	}
	if r.recorder, err = metrics.Open(filepath.Join(dir, metricsFile), r.state.step); err != nil {
		return nil, inputError{err}
	}
	r.state.began, r.state.beganStep = time.Now(), r.state.step
	return unlock, nil
}

// holdsRun reports whether a folder has the files of a run.
func holdsRun(dir string) bool {
	for _, pattern := range []string{metricsFile, "config.json", "checkpoint-*"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return true
		}
	}
	return false
}

func (r *run) closeOutput() error { return r.recorder.Close() }

// checkpoint writes checkpoint-N on the leader while the other ranks wait.
func (w *worker) checkpoint(ctx context.Context, step int) error {
	if w.leader() {
		if err := w.run.saveCheckpoint(step); err != nil {
			return err
		}
	}
	return dist.Barrier(ctx, w.comm)
}

func (r *run) saveCheckpoint(step int) error {
	if err := r.recorder.Sync(); err != nil {
		return err
	}
	path, err := checkpoint.Write(r.cfg.OutputDir, step, func(dir string) error {
		if err := hf.Save(dir, r.folder(hf.Float32)); err != nil {
			return err
		}
		if err := checkpoint.WriteOptimizer(dir, r.model.Parameters(), r.moments); err != nil {
			return err
		}
		return checkpoint.WriteState(dir, savedState{
			Version: stateVersion, Step: step, Epoch: r.epoch(), MaxSteps: r.steps, Tokens: r.state.tokens, Loss: r.state.lastLoss,
			EvalLoss: r.state.evalLoss, Cursor: r.state.cursor, Seed: r.cfg.Seed, Position: r.state.position,
		})
	})
	if err != nil {
		return err
	}
	if r.observer.Saved != nil {
		r.observer.Saved(step, path)
	}
	return checkpoint.Prune(r.cfg.OutputDir, r.cfg.SaveTotalLimit)
}

// folder is the model as it is saved: float32 in checkpoints, save_dtype at the end.
func (r *run) folder(dtype string) hf.Folder {
	return hf.Folder{Config: r.model, Tensors: r.params.HF(), DType: dtype, SourceDir: r.tokenizerDir}
}

// saveFinal writes the trained model into output_dir itself: all files are complete before the first of them appears there.
func (r *run) saveFinal() error {
	dir, err := os.MkdirTemp(r.cfg.OutputDir, ".tmp-checkpoint-final-")
	if err != nil {
		return fmt.Errorf("trainer: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := hf.Save(dir, r.folder(r.cfg.SaveDtype)); err != nil {
		return fmt.Errorf("trainer: the final model could not be saved; checkpoints are untouched: %w", err)
	}
	items, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("trainer: %w", err)
	}
	for _, item := range items {
		if err := os.Rename(filepath.Join(dir, item.Name()), filepath.Join(r.cfg.OutputDir, item.Name())); err != nil {
			return fmt.Errorf("trainer: %w", err)
		}
	}
	return nil
}
