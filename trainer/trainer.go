package trainer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/hosts"
	"github.com/ringgrad/ringgrad/ops/bench"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/eval"
)

// ErrInterrupted is returned by Run after Stop, once the checkpoint is written.
var ErrInterrupted = errors.New("interrupted")

// Options of a run that are not part of its config.
type Options struct {
	Resume string // "": start; "latest": the newest checkpoint in output_dir; else a checkpoint folder
	// Processes, if set, joins the processes that train together, one of which this is: an engine between them, such as that of package
	// dist/mpi. The ranks of the config are dealt to them. All call New and Run together, and after an error end; the first one writes the
	// files and is the only one that its Observer hears of.
	Processes dist.Engine
	Random    bool // draw weights and tokens: of base_model only config.json is read, of tokenizer and datasets nothing
	Observer  Observer
}

// Observer is told what happens; every field may be nil. Calls come from one goroutine at a time.
type Observer struct {
	Started   func(Plan)
	Stepped   func(StepReport)                   // every logging_steps
	Advanced  func(step int)                     // every step
	Evaluated func(step int, loss float64)       // on the validation part
	Saved     func(step int, folder string)      // a checkpoint
	Measuring func(what string, done, total int) // evaluations, document by document
	Noted     func(message string)               // something worth a line
}

// StepReport is one logged step, for people.
type StepReport struct {
	Step, Steps     int
	Tokens          int // put through the model in this step
	Loss, GradNorm  float64
	LearningRate    float64
	TokensPerSecond float64
	RingWait        float64 // share of the step
	Left            time.Duration
}

// Result is what a finished run reports; the JSON form is that of `train --json`.
type Result struct {
	Steps        int       `json:"steps"`
	Loss         float64   `json:"loss"`
	EvalLoss     *float64  `json:"eval_loss,omitempty"`
	Tokens       int64     `json:"tokens"`
	Seconds      float64   `json:"seconds"`
	OutputDir    string    `json:"output_dir"`
	LossBy       *Position `json:"loss_by_position,omitempty"`
	LastRingWait float64   `json:"ring_wait"`

	GFlops          float64 `json:"gflops"`                 // 10^9 operations a second of matrix products and attention, in the steps of this process
	PeakMemory      int64   `json:"peak_memory_bytes"`      // of the process
	EstimatedMemory int64   `json:"estimated_memory_bytes"` // as train estimate says
}

// Trainer is one prepared run.
type Trainer struct {
	run  *run
	stop atomic.Bool
}

// New reads config, model, tokenizer, data and, when resuming, the checkpoint. It writes nothing; its errors are mistakes in what
// it was given.
func New(cfg config.Config, o Options) (*Trainer, error) {
	r, err := prepare(cfg, o)
	if err != nil {
		return nil, err
	}
	if o.Processes != nil {
		if err := r.agree(context.Background(), o.Processes); err != nil {
			return nil, inputError{err}
		}
	}
	return &Trainer{run: r}, nil
}

// Plan tells what will run.
func (t *Trainer) Plan() Plan { return t.run.plan() }

// Stop asks Run to end after the step in flight, with a checkpoint. It may be called from any goroutine.
func (t *Trainer) Stop() { t.stop.Store(true) }

// Run trains to the end, or until Stop, ctx's end or an error. Checkpoints that it wrote stay in every case.
func (t *Trainer) Run(ctx context.Context) (Result, error) {
	r := t.run
	r.state.began = time.Now()
	if r.dealt.process == 0 {
		unlock, err := r.openOutput()
		if err != nil {
			return Result{}, err
		}
		defer unlock()
	}
	if r.observer.Started != nil {
		r.observer.Started(r.plan())
	}
	result := Result{OutputDir: r.cfg.OutputDir}
	var interrupted error
	err := hosts.Run(ctx, r.processes, r.dealt.ranks, dist.Options{Timeout: r.timeout, Wrap: r.wrap}, func(ctx context.Context, comm *dist.Comm) error {
		w, err := newWorker(ctx, r, comm, t.stop.Load)
		if err != nil {
			return err
		}
		err = w.work(ctx, &result)
		if !errors.Is(err, ErrInterrupted) {
			return err
		}
		if w.leads() {
			interrupted = err
		}
		return nil // all ranks stop together, none because of another
	})
	result.Seconds = (r.state.before + time.Since(r.state.began)).Seconds()
	return result, cmp.Or(err, r.closeOutput(), interrupted)
}

// work is a rank's whole run.
func (w *worker) work(ctx context.Context, result *Result) error {
	defer func() { _ = w.model.Close() }() // only memory
	if err := w.checkFolder(); err != nil {
		return err
	}
	if err := w.measureBefore(ctx); err != nil {
		return w.stopped(ctx, err, w.run.state.step)
	}
	if err := w.train(ctx); err != nil {
		return err
	}
	return w.finish(ctx, result)
}

// train is the step loop.
func (w *worker) train(ctx context.Context) error {
	w.began, w.beganStep = time.Now(), w.run.state.step
	if w.run.state.evalPending {
		if err := w.evaluate(ctx, w.beganStep); err != nil {
			return err
		}
	}
	for step := w.beganStep; ; step++ {
		if stop, err := w.agreeToStop(ctx); err != nil || stop {
			return w.stopped(ctx, cmp.Or(err, eval.ErrStopped), step)
		}
		if step == w.run.steps {
			return nil
		}
		stats, err := w.step(ctx, step)
		if err != nil {
			return err
		}
		if err := w.record(step, stats); err != nil {
			return err
		}
		if due(w.run.cfg.EvalSteps, step+1, w.run.steps) {
			if err := w.evaluate(ctx, step+1); err != nil {
				return err
			}
		}
		if due(w.run.cfg.SaveSteps, step+1, w.run.steps) {
			if err := w.checkpoint(ctx, step+1); err != nil {
				return err
			}
		}
	}
}

// stopped turns a wish to stop (ErrStopped), which came after step updates, into a checkpoint and the run's own interruption.
func (w *worker) stopped(ctx context.Context, err error, step int) error {
	if !errors.Is(err, eval.ErrStopped) {
		return err
	}
	if err := w.checkpoint(ctx, step); err != nil {
		return err
	}
	return fmt.Errorf("trainer: %w after step %d; continue with --resume latest", ErrInterrupted, step)
}

// due reports whether something that happens every n steps (0: never) happens after this one; the last step always counts.
func due(every, step, steps int) bool { return every > 0 && (step%every == 0 || step == steps) }

// agreeToStop shares the processes' wishes to stop, so that all ranks end at the same step. The end of ctx is an error.
func (w *worker) agreeToStop(ctx context.Context) (bool, error) {
	if ctx.Err() != nil { // a ring of one waits for nobody who would see it
		return false, context.Cause(ctx)
	}
	return dist.Any(ctx, w.world, w.stop())
}

// finish writes the final model and, when asked for, the table of loss by position.
func (w *worker) finish(ctx context.Context, result *Result) error {
	if err := w.saveFinal(ctx); err != nil {
		return err
	}
	if w.root() {
		result.Steps = w.run.steps
		result.Loss = w.run.state.lastLoss
		result.LastRingWait = w.run.state.lastRingWait
		result.Tokens = w.run.state.tokens
		result.EvalLoss = w.run.state.evalLoss
		result.GFlops = w.run.state.flops / max(w.run.state.computing, 1e-9) / 1e9
		result.PeakMemory, result.EstimatedMemory = bench.PeakMemory(), w.run.memory()
	}
	position, err := w.measureAfter(ctx)
	if err != nil {
		return w.stopped(ctx, err, w.run.steps)
	}
	if position == nil {
		return nil
	}
	result.LossBy = position
	position.Plot = filepath.Join(w.run.cfg.OutputDir, "loss_by_position.png")
	return position.draw()
}
