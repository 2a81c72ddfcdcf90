package trainer

import (
	"cmp"
	"context"
	"fmt"
	"math"
	runtimemetrics "runtime/metrics"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/bench"
	"github.com/ringgrad/ringgrad/trainer/data"
	"github.com/ringgrad/ringgrad/trainer/metrics"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// evaluate measures the mean loss over the held-back sequences, one at a time or one pack at a time, and records it. A wish to stop cuts it short; the
// resumed run does it then.
func (w *worker) evaluate(ctx context.Context, step int) error {
	held := w.run.heldBack()
	n := held.Rows(0)
	if limit := w.run.cfg.EvalBatches; limit > 0 {
		n = min(n, limit)
	}
	start := time.Now()
	totals := []float64{0, 0}                  // sum of losses, targets; of this rank
	for from := 0; from < n; from += w.rings { // a row for each ring at a time
		if stop, err := w.agreeToStop(ctx); err != nil || stop {
			if w.leads() {
				w.run.state.evalPending = true
			}
			return err
		}
		b, some, err := w.ownRow(held, min(w.rings, n-from))
		if err != nil {
			return fmt.Errorf("trainer: evaluation after step %d: %w", step, err)
		}
		if !some {
			continue
		}
		losses, err := w.model.Losses(ctx, b)
		if err != nil {
			return fmt.Errorf("trainer: evaluation after step %d: %w", step, err)
		}
		for _, loss := range losses {
			totals[0] += float64(loss)
		}
		if w.ring.Rank() == 0 {
			totals[1] += float64(countTargets([]model.Batch{b}))
		}
	}
	if err := dist.AllReduce(ctx, w.world, totals); err != nil {
		return fmt.Errorf("trainer: evaluation after step %d: %w", step, err)
	}
	if !w.leads() || totals[1] == 0 {
		return nil
	}
	return w.run.recordEval(metrics.Eval{Step: step, EvalLoss: totals[0] / totals[1], Tokens: int(totals[1]), Seconds: time.Since(start).Seconds()})
}

// ownRow reads the next rows, of which the own ring has the one of its number, if there are so many.
func (w *worker) ownRow(held *data.Loader, rows int) (own model.Batch, some bool, err error) {
	for i := range rows {
		next, err := held.Next()
		if err != nil {
			return own, false, err
		}
		if i == w.data {
			own, some = toModel(next), true
		}
	}
	return own, some, nil
}

func (r *run) recordEval(e metrics.Eval) error {
	if math.IsNaN(e.EvalLoss) || math.IsInf(e.EvalLoss, 0) {
		return fmt.Errorf("trainer: step %d: the loss on held-back data is %v: %w; the last checkpoint stays. Lower learning_rate or max_grad_norm", e.Step, e.EvalLoss, ErrNotFinite)
	}
	r.state.onDisk = r.state.onDisk && !r.state.evalPending // the checkpoint would have it done again
	r.state.evalLoss, r.state.evalPending = &e.EvalLoss, false
	if r.observer.Evaluated != nil {
		r.observer.Evaluated(e.Step, e.EvalLoss)
	}
	return r.recorder.Eval(e)
}

// record keeps what a step measured, for people and in metrics.jsonl.
func (w *worker) record(step int, s stepStats) error {
	if !w.leads() {
		return nil
	}
	r := w.run
	r.state.step, r.state.onDisk = step+1, false
	r.state.cursor = w.batches.State()
	r.state.tokens += int64(s.tokens)
	r.state.lastLoss, r.state.lastRingWait = s.loss, s.ringWait
	r.state.flops, r.state.computing = r.state.flops+s.flops, r.state.computing+s.seconds
	if r.observer.Advanced != nil {
		r.observer.Advanced(step + 1)
	}
	if !due(r.cfg.LoggingSteps, step+1, r.steps) {
		return nil
	}
	rate := float64(s.tokens) / s.seconds
	if r.observer.Stepped != nil {
		perStep := time.Since(w.began) / time.Duration(step+1-w.beganStep)
		r.observer.Stepped(StepReport{
			Step: step + 1, Steps: r.steps, Tokens: s.tokens, Loss: s.loss, GradNorm: s.gradNorm, LearningRate: r.schedule.LR(step),
			TokensPerSecond: rate, RingWait: s.ringWait, Left: perStep * time.Duration(r.steps-step-1),
		})
	}
	return r.recorder.Step(metrics.Step{
		Step: step + 1, Loss: s.loss, GradNorm: s.gradNorm, LearningRate: r.schedule.LR(step),
		Tokens: s.tokens, TokensPerSecond: rate, RingWait: s.ringWait, Epoch: r.epoch(), Seconds: s.seconds,
		GFlops: s.flops / s.seconds / 1e9, MemoryBytes: memory(), PeakMemoryBytes: bench.PeakMemory(),
	})
}

// memory is what the process has from the system and has not given back, in bytes.
func memory() uint64 {
	sample := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	runtimemetrics.Read(sample)
	return sample[0].Value.Uint64() - sample[1].Value.Uint64()
}

// epoch is the place in the data as a number of passes.
func (r *run) epoch() float64 {
	c := r.state.cursor
	return float64(c.Epoch) + float64(c.Index)/float64(max(1, cmp.Or(c.Packs, r.data.Train.Len())))
}
