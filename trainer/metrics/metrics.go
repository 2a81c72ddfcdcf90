// Package metrics writes a run's metrics.jsonl: one JSON object a line, a line for each logged step and each evaluation, in the
// order in which they happen.
//
// Every line is one write, so that readers (tail -f, a plot beside the run) see whole lines. A run that was killed leaves at worst
// a piece of a line at the end, which Open removes, with the lines of steps that a resumed run will take again: the file of an
// interrupted and resumed run has each step once.
package metrics

import (
	"encoding/json"
	"fmt"
	"os"
)

// Step is one logged update.
type Step struct {
	Step            int     `json:"step"`                        // updates done, this one included
	Loss            float64 `json:"loss"`                        // nats, mean over real targets, before the update
	GradNorm        float64 `json:"grad_norm"`                   // 2-norm over all parameters, before clipping
	LearningRate    float64 `json:"learning_rate"`               // of this update
	Tokens          int     `json:"tokens"`                      // put through the model in this step
	TokensPerSecond float64 `json:"tokens_per_second"`           // in this step
	RingWait        float64 `json:"ring_wait"`                   // share of the step spent waiting on communication, 0 to 1
	Epoch           float64 `json:"epoch"`                       // passes over the training data so far
	Seconds         float64 `json:"seconds"`                     // the step took
	GFlops          float64 `json:"gflops"`                      // 10^9 operations of matrix products and attention a second, all ranks of the process
	MemoryBytes     uint64  `json:"memory_bytes,omitempty"`      // of the process; 0 where it was not measured
	PeakMemoryBytes int64   `json:"peak_memory_bytes,omitempty"` // the most of the machine's memory that it has held so far
}

// Eval is one evaluation on held-back data.
type Eval struct {
	Step     int     `json:"step"`      // updates done before it
	EvalLoss float64 `json:"eval_loss"` // nats, mean over targets
	Tokens   int     `json:"eval_tokens"`
	Seconds  float64 `json:"eval_seconds"`
}

// Recorder appends to a metrics file. One goroutine uses it at a time. A nil one records nothing.
type Recorder struct {
	file *os.File
	path string
}

// Open opens a metrics file, which need not exist, to append what follows step resumeAfterStep. Lines of later steps are removed
// first, and a piece of a line that a killed run has left; the file is replaced as a whole, so it is never without its earlier
// lines. resumeAfterStep 0 begins anew.
func Open(path string, resumeAfterStep int) (*Recorder, error) {
	if err := cut(path, resumeAfterStep); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return &Recorder{file: file, path: path}, nil
}

// Step appends the line of a step. Its numbers must be finite: JSON has no others.
func (r *Recorder) Step(s Step) error { return r.line(s.Step, s) }

// Eval appends the line of an evaluation.
func (r *Recorder) Eval(e Eval) error { return r.line(e.Step, e) }

func (r *Recorder) line(step int, v any) error {
	if r == nil {
		return nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("metrics: step %d: %w", step, err)
	}
	if _, err := r.file.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("metrics: step %d: %w; free space or choose another output_dir", step, err)
	}
	return nil
}

// Sync makes the lines written so far survive a loss of power. Call it before a checkpoint appears, so that no checkpoint is
// ahead of its metrics.
func (r *Recorder) Sync() error {
	if r == nil {
		return nil
	}
	if err := r.file.Sync(); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// Close ends the recording.
func (r *Recorder) Close() error {
	if r == nil {
		return nil
	}
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}
