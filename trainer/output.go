package trainer

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/ringgrad/ringgrad/trainer/checkpoint"
	"github.com/ringgrad/ringgrad/trainer/metrics"
)

// metricsFile holds a line a logged step.
const metricsFile = "metrics.jsonl"

// openOutput takes the output folder: it must be new, free of runs, or belong to the run that is resumed. A folder that is refused
// is left as it was.
func (r *run) openOutput() (unlock func(), err error) {
	dir := r.cfg.OutputDir
	if err := r.mayWriteTo(dir); err != nil {
		return nil, inputError{err}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, inputError{fmt.Errorf("trainer: output_dir %s cannot be made: %w; choose a folder that you may write to", dir, err)}
	}
	unlock, err = checkpoint.Lock(dir)
	if err != nil {
		return nil, inputError{err}
	}
	if err := r.prepareOutput(dir); err != nil {
		unlock()
		return nil, inputError{err}
	}
	return unlock, nil
}

// prepareOutput makes a locked folder ready for the run's first line.
func (r *run) prepareOutput(dir string) error {
	if err := r.mayWriteTo(dir); err != nil { // another process may have come and gone
		return err
	}
	if err := checkpoint.Clean(dir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), r.cfg.YAML(), 0o644); err != nil {
		return fmt.Errorf("trainer: output_dir %s cannot be written to: %w; choose a folder that you may write to", dir, err)
	}
	var err error
	r.recorder, err = metrics.Open(filepath.Join(dir, metricsFile), r.state.step)
	return err
}

// mayWriteTo refuses a folder that holds something that this run is not the continuation of.
func (r *run) mayWriteTo(dir string) error {
	if r.resumedFrom != "" && sameFolder(filepath.Dir(r.resumedFrom), dir) {
		return nil
	}
	switch {
	case holds(dir, "checkpoint-*") && r.resumedFrom != "":
		return fmt.Errorf("trainer: output_dir %s already holds a run, and %s is not one of its checkpoints; choose another output_dir, or set it to %s", dir, r.resumedFrom, filepath.Dir(r.resumedFrom))
	case holds(dir, "checkpoint-*"):
		return fmt.Errorf("trainer: output_dir %s already holds a run; continue it with --resume latest, or choose another output_dir", dir)
	case holds(dir, "config.json"):
		return fmt.Errorf("trainer: output_dir %s already holds a model, of a finished run or another; choose another output_dir, and give this one as base_model to train it further", dir)
	case holds(dir, metricsFile) && !r.mayStartAnew:
		return fmt.Errorf("trainer: output_dir %s already holds a run that ended before its first checkpoint; remove the folder, or choose another output_dir", dir)
	}
	return nil
}

func holds(dir, pattern string) bool {
	items, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, item := range items {
		if ok, _ := filepath.Match(pattern, item.Name()); ok {
			return true
		}
	}
	return false
}

// sameFolder compares two spellings of a path.
func sameFolder(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

func (r *run) closeOutput() error { return r.recorder.Close() }
