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
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// checkpoint writes checkpoint-N on the leader while the other ranks wait. N updates are done.
func (w *worker) checkpoint(ctx context.Context, step int) error {
	if w.leader() && !w.run.state.onDisk {
		if err := w.run.saveCheckpoint(step); err != nil {
			return err
		}
	}
	return dist.Barrier(ctx, w.comm)
}

func (r *run) saveCheckpoint(step int) error {
	if err := r.checkFinite(step); err != nil {
		return err
	}
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
		return checkpoint.WriteState(dir, r.savedState(step))
	})
	if err != nil {
		return err
	}
	r.state.onDisk = true
	if r.observer.Saved != nil {
		r.observer.Saved(step, path)
	}
	return checkpoint.Prune(r.cfg.OutputDir, r.cfg.SaveTotalLimit)
}

func (r *run) savedState(step int) savedState {
	s := r.state
	data := r.dataState()
	return savedState{
		Version: stateVersion, Step: step, Epoch: r.epoch(), MaxSteps: r.steps, Tokens: s.tokens, Loss: s.lastLoss, EvalLoss: s.evalLoss,
		Pending: s.evalPending, Cursor: s.cursor, Seed: r.cfg.Seed, Position: s.position, Data: &data,
		AttentionDtype: r.cfg.AttentionDtype, AttentionDropout: r.dropout(), Seconds: (s.before + time.Since(s.began)).Seconds(),
	}
}

// checkFinite refuses to save what nobody could go on from: an update may overflow though its gradients were finite.
func (r *run) checkFinite(step int) error {
	for _, p := range r.params.All() {
		moments := r.moments[p.Name]
		for _, part := range []struct {
			what   string
			values []float32
		}{{"parameter", p.Data}, {"first moment of", moments.M}, {"second moment of", moments.V}} {
			if v, found := notFinite(part.values); found {
				return fmt.Errorf("trainer: step %d left %v in %s %s: %w; it is not saved, and earlier checkpoints are whole. Lower learning_rate or max_grad_norm", step, v, part.what, p.Name, ErrNotFinite)
			}
		}
	}
	return nil
}

// folder is the model as it is saved: float32 in checkpoints, save_dtype at the end.
func (r *run) folder(dtype string) hf.Folder {
	return hf.Folder{Config: r.model, Tensors: r.params.HF(), DType: dtype, SourceDir: r.tokenizerDir}
}

// saveFinal writes the trained model into output_dir itself. If that fails, a run that has no checkpoint of its last step gets one,
// so that nothing is trained in vain.
func (r *run) saveFinal() error {
	if err := r.checkFinite(r.steps); err != nil {
		return err
	}
	err := r.writeFinal()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("trainer: the final model could not be saved: %w", err)
	if r.state.onDisk {
		return fmt.Errorf("%w; the checkpoint of step %d is whole", err, r.steps)
	}
	return errors.Join(err, r.saveCheckpoint(r.steps))
}

// writeFinal completes all files before the first of them appears in output_dir.
func (r *run) writeFinal() error {
	root := r.cfg.OutputDir
	dir, err := os.MkdirTemp(root, ".tmp-checkpoint-final-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := hf.Save(dir, r.folder(r.cfg.SaveDtype)); err != nil {
		return err
	}
	items, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := os.Rename(filepath.Join(dir, item.Name()), filepath.Join(root, item.Name())); err != nil {
			return err
		}
	}
	return nil
}
