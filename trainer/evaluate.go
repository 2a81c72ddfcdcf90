package trainer

import (
	"context"
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/trainer/eval"
	"github.com/ringgrad/ringgrad/trainer/metrics"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// evaluate measures the mean loss over the held-back sequences, in micro-batches, and records it.
func (w *worker) evaluate(ctx context.Context, step int) error {
	n := w.run.data.Val.Len()
	if limit := w.run.cfg.EvalBatches; limit > 0 {
		n = min(n, limit)
	}
	if n == 0 {
		return nil
	}
	totals := []float64{0, 0} // sum of losses, targets; of this rank
	for i := range n {
		if stop, err := w.agreeToStop(ctx); err != nil || stop {
			return stopOr(err)
		}
		b := w.heldBack(i)
		losses, err := w.model.Losses(ctx, b)
		if err != nil {
			return fmt.Errorf("trainer: evaluation after step %d: %w", step, err)
		}
		for _, loss := range losses {
			totals[0] += float64(loss)
		}
		if w.leader() {
			totals[1] += float64(countTargets([]model.Batch{b}))
		}
	}
	if err := dist.AllReduce(ctx, w.comm, totals); err != nil {
		return fmt.Errorf("trainer: evaluation after step %d: %w", step, err)
	}
	if !w.leader() || totals[1] == 0 {
		return nil
	}
	loss := totals[0] / totals[1]
	w.run.state.evalLoss = &loss
	if w.run.observer.Evaluated != nil {
		w.run.observer.Evaluated(step, loss)
	}
	return w.run.recorder.Eval(metrics.Eval{Step: step, EvalLoss: loss})
}

func stopOr(err error) error {
	if err != nil {
		return err
	}
	return eval.ErrStopped
}

// heldBack is one sequence of the held-back part as a batch.
func (w *worker) heldBack(i int) model.Batch {
	s := w.run.data.Val.Sequence(i)
	return model.Batch{IDs: s.IDs, Labels: s.Labels(), B: 1, T: len(s.IDs)}
}

// record keeps what a step measured, for people and in metrics.jsonl.
func (w *worker) record(step int, s stepStats) error {
	if !w.leader() {
		return nil
	}
	r := w.run
	r.state.step = step + 1
	r.state.cursor = w.loader.State()
	r.state.tokens += int64(s.tokens)
	r.state.lastLoss, r.state.lastRingWait = s.loss, s.ringWait
	if r.observer.Advanced != nil {
		r.observer.Advanced(step + 1)
	}
	if !due(r.cfg.LoggingSteps, step+1, r.steps) {
		return nil
	}
	rate := float64(s.tokens) / s.seconds
	if r.observer.Stepped != nil {
		perStep := time.Since(r.state.began) / time.Duration(step+1-r.state.beganStep)
		r.observer.Stepped(StepReport{
			Step: step + 1, Steps: r.steps, Loss: s.loss, GradNorm: s.gradNorm, LearningRate: r.schedule.LR(step),
			TokensPerSecond: rate, RingWait: s.ringWait, Left: perStep * time.Duration(r.steps-step-1),
		})
	}
	return r.recorder.Step(metrics.Step{
		Step: step + 1, Loss: s.loss, GradNorm: s.gradNorm, LearningRate: r.schedule.LR(step),
		Tokens: s.tokens, TokensPerSecond: rate, RingWait: s.ringWait, Epoch: r.epoch(), Seconds: s.seconds,
	})
}

// epoch is the place in the data as a number of passes.
func (r *run) epoch() float64 {
	n := r.data.Train.Len()
	return float64(r.state.cursor.Epoch) + float64(r.state.cursor.Index)/float64(max(1, n))
}
