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

// checkpoint writes checkpoint-N: the root all but the optimizer's state, the leaders their shares of that, while the other ranks wait.
// N updates are done.
func (w *worker) checkpoint(ctx context.Context, step int) error {
	if w.leads() && !w.run.state.onDisk {
		if err := w.saveCheckpoint(ctx, step); err != nil {
			return err
		}
	}
	return dist.Barrier(ctx, w.world)
}

func (w *worker) saveCheckpoint(ctx context.Context, step int) error {
	r := w.run
	if err := r.checkFinite(step); err != nil {
		return err
	}
	if err := w.writeCheckpoint(ctx, step); err != nil {
		return err
	}
	r.state.onDisk = true
	return nil
}

// writeCheckpoint is the root's part, and that of a leader which keeps a share of the optimizer's state.
func (w *worker) writeCheckpoint(ctx context.Context, step int) error {
	if !w.root() {
		return w.writeShareBeside(ctx)
	}
	r := w.run
	if err := r.recorder.Sync(); err != nil {
		return err
	}
	path, err := checkpoint.Write(r.cfg.OutputDir, step, func(dir string) error {
		if err := hf.Save(dir, r.folder(hf.Float32)); err != nil {
			return err
		}
		if err := w.writeShares(ctx, dir); err != nil {
			return err
		}
		return checkpoint.WriteState(dir, r.savedState(step))
	})
	if err != nil {
		return err
	}
	if r.observer.Saved != nil {
		r.observer.Saved(step, path)
	}
	return checkpoint.Prune(r.cfg.OutputDir, r.cfg.SaveTotalLimit)
}

// writeShares has the optimizer's state written into the folder: by the root or, where it is shared out, by a leader of each share.
func (w *worker) writeShares(ctx context.Context, dir string) error {
	if w.run.dealt.share.Whole() {
		return w.writeShare(dir)
	}
	if _, err := dist.AllGather(ctx, w.across, []byte(dir)); err != nil {
		return err
	}
	own := w.writeShare(dir)
	all, err := dist.AllGather(ctx, w.across, []byte{})
	if err != nil {
		return errors.Join(own, err)
	}
	for i, text := range all {
		if len(text) > 0 {
			own = errors.Join(own, fmt.Errorf("share %d of the optimizer's state: %s", i+1, text))
		}
	}
	if own != nil {
		return own
	}
	return checkpoint.CheckShares(dir, w.run.dealt.share.Of)
}

// writeShareBeside is what the other leaders do meanwhile: the first one of each ring, since those of a ring keep the same. It gives no
// error of the disk, which is the root's to tell when it has removed what was written.
func (w *worker) writeShareBeside(ctx context.Context) error {
	if w.run.dealt.share.Whole() || w.ring.Rank() != 0 {
		return nil
	}
	folders, err := dist.AllGather(ctx, w.across, []byte{})
	if err != nil {
		return err
	}
	outcome := ""
	if err := w.writeShare(string(folders[0])); err != nil {
		outcome = fmt.Sprintf("on %s: %v", dist.Hostname(), err)
	}
	_, err = dist.AllGather(ctx, w.across, []byte(outcome))
	return err
}

// checkFolder finds out at the start whether a process that writes a share of the optimizer's state sees the folder of the root.
func (w *worker) checkFolder() error {
	if w.root() || !w.leads() || w.run.dealt.share.Whole() || w.ring.Rank() != 0 {
		return nil
	}
	if _, err := os.Stat(filepath.Join(w.run.cfg.OutputDir, "config.yaml")); err != nil {
		return fmt.Errorf("trainer: output_dir %s of the first process is not seen on %s (%w), where a share of the optimizer's state is written from; put it on a file system that all hosts share, or set zero_stage: 0",
			w.run.cfg.OutputDir, dist.Hostname(), err)
	}
	return nil
}

func (w *worker) writeShare(dir string) error {
	if w.run.saving != nil {
		w.run.saving(dir)
	}
	return checkpoint.WriteOptimizer(dir, w.run.dealt.share, w.run.model.Parameters(), w.run.moments)
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

// saveFinal has the root write the trained model into output_dir itself. If that fails, a run that has no checkpoint of its last step gets
// one, so that nothing is trained in vain.
func (w *worker) saveFinal(ctx context.Context) error {
	r := w.run
	var failure error
	if w.root() {
		if err := r.checkFinite(r.steps); err != nil {
			return err
		}
		if err := r.writeFinal(); err != nil {
			failure = fmt.Errorf("trainer: the final model could not be saved: %w", err)
		}
	}
	failed, err := dist.Any(ctx, w.world, failure != nil)
	switch {
	case err != nil || !failed:
		return err
	case r.state.onDisk && failure != nil:
		return fmt.Errorf("%w; the checkpoint of step %d is whole", failure, r.steps)
	}
	return errors.Join(failure, w.checkpoint(ctx, r.steps))
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
