package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/adamw"
	"github.com/ringgrad/ringgrad/ops/meter"
	"github.com/ringgrad/ringgrad/trainer/estimate"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// ErrNotFinite is returned when a loss or a gradient is NaN or infinite.
var ErrNotFinite = errors.New("not finite")

// stepStats is what a step measured; equal on all ranks.
type stepStats struct {
	loss     float64 // mean over the step's targets, before the update
	gradNorm float64 // before clipping
	tokens   int     // tokens put through the model
	targets  int
	seconds  float64
	ringWait float64 // share of the step that a rank waited on the ring, mean over ranks
	flops    float64 // that were done, by all processes
}

// step trains on the next micro-batches: forward and backward of each, sum of gradients, clip, update.
func (w *worker) step(ctx context.Context, step int) (stepStats, error) {
	start := time.Now()
	waited := w.ringWait()
	batches, err := w.nextBatches(step)
	if err != nil {
		return stepStats{}, err
	}
	stats := stepStats{targets: countTargets(batches), tokens: countTokens(batches)}
	if stats.targets == 0 {
		return stats, fmt.Errorf("trainer: step %d has no target token; check the datasets' documents and sequence_len", step+1)
	}
	if w.leads() {
		w.run.tracker.begin(step, w.run.flopsOf(batches)/float64(w.run.dealt.processes), w.ring)
		defer w.run.tracker.end()
	}
	sum := 0.0
	for _, b := range w.own(batches) {
		local, err := w.sum(ctx, b, 1/float64(stats.targets))
		if err != nil {
			return stats, fmt.Errorf("trainer: step %d: %w", step+1, err)
		}
		sum += local
	}
	wait := (w.ringWait() - waited).Seconds()
	totals := []float64{sum, wait, 0}
	if w.leads() {
		totals[2] = w.run.tracker.work()
	}
	if err := dist.AllReduce(ctx, w.world, totals); err != nil {
		return stats, fmt.Errorf("trainer: step %d: loss: %w", step+1, err)
	}
	stats.loss, stats.flops = totals[0]/float64(stats.targets), totals[2]
	if w.leads() {
		w.run.tracker.enter("update")
	}
	if err := w.update(ctx, step, &stats); err != nil {
		return stats, err
	}
	stats.seconds = time.Since(start).Seconds()
	stats.ringWait = totals[1] / float64(w.world.Size()) / stats.seconds
	return stats, nil
}

// update clips and applies the gradients on the leader of each process while its other ranks wait.
func (w *worker) update(ctx context.Context, step int, stats *stepStats) error {
	norm := []float64{0}
	if w.leads() {
		span := meter.Start(meter.Update)
		n, err := w.run.gradNorm(stats.loss)
		if err != nil {
			return fmt.Errorf("trainer: step %d: %w; nothing was updated. Lower learning_rate or max_grad_norm, or look at the data of this step", step+1, err)
		}
		if err := w.run.applyAdamW(step, n); err != nil {
			return fmt.Errorf("trainer: step %d: %w", step+1, err)
		}
		span.End()
		if err := w.gatherShares(ctx); err != nil {
			return fmt.Errorf("trainer: step %d: update: %w", step+1, err)
		}
		norm[0] = n
	}
	if err := dist.Broadcast(ctx, w.inside, norm, 0); err != nil {
		return fmt.Errorf("trainer: step %d: update: %w", step+1, err)
	}
	stats.gradNorm = norm[0]
	return nil
}

// gradNorm returns the 2-norm of all gradients, summed in float64 in parameter order, or ErrNotFinite naming the culprit.
func (r *run) gradNorm(loss float64) (float64, error) {
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, fmt.Errorf("the loss is %v: %w", loss, ErrNotFinite)
	}
	total := 0.0
	for _, p := range r.params.All() {
		sum := adamw.SumOfSquares(r.grads[p.Name])
		if math.IsNaN(sum) || math.IsInf(sum, 0) {
			v, _ := notFinite(r.grads[p.Name])
			return 0, fmt.Errorf("the gradient of %s holds %v: %w", p.Name, v, ErrNotFinite)
		}
		total += sum
	}
	return math.Sqrt(total), nil
}

// notFinite finds the first NaN or infinity.
func notFinite(values []float32) (v float32, found bool) {
	for _, v := range values {
		if v-v != 0 {
			return v, true
		}
	}
	return 0, false
}

// gatherShares gives the leaders' shares of all parameters, which each has updated, to each other.
func (w *worker) gatherShares(ctx context.Context) error {
	if w.run.dealt.share.Whole() {
		return nil
	}
	for _, p := range w.run.params.All() {
		lo, hi := w.run.dealt.share.Bounds(len(p.Data))
		parts, err := dist.AllGather(ctx, w.across, p.Data[lo:hi])
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		at := 0
		for _, part := range parts {
			at += copy(p.Data[at:], part)
		}
	}
	return nil
}

// applyAdamW updates this process's share of every parameter and lets go of the gradients. The step is zero-based.
func (r *run) applyAdamW(step int, norm float64) error {
	scale := 1.0
	if limit := r.cfg.MaxGradNorm; limit > 0 {
		scale = min(1, limit/(norm+1e-6)) // as torch.nn.utils.clip_grad_norm_
	}
	optimizer := adamw.Config{Beta1: given(r.cfg.AdamBeta1), Beta2: given(r.cfg.AdamBeta2), Epsilon: r.cfg.AdamEpsilon}
	for _, p := range r.params.All() {
		moments := r.moments[p.Name]
		lo, hi := r.dealt.share.Bounds(len(p.Data))
		err := adamw.Update(optimizer, adamw.Step{
			LR:          r.schedule.LR(step),
			WeightDecay: r.decay(p),
			Step:        step + 1,
			Param:       p.Data[lo:hi],
			Grad:        r.grads[p.Name][lo:hi],
			M:           moments.M,
			V:           moments.V,
			GradScale:   given(scale),
		})
		if err != nil {
			return err
		}
		delete(r.grads, p.Name)
	}
	return nil
}

// given passes a zero on to package adamw, to which 0 means its default, as the number that rounds to it.
func given(x float64) float64 { return max(x, math.SmallestNonzeroFloat64) }

// decay is the weight decay of a parameter: none for norms and biases unless the config asks for it.
func (r *run) decay(p model.Tensor[float32]) float64 {
	if len(p.Shape) < 2 && !r.cfg.WeightDecayOnNormAndBias {
		return 0
	}
	return r.cfg.WeightDecay
}

// flopsOf is the arithmetic of a step on the batches, over all ranks.
func (r *run) flopsOf(batches []model.Batch) float64 {
	m, total := estimate.ModelOf(r.model), 0.0
	for _, b := range batches {
		total += estimate.FlopsOf(m, estimate.Run{SequenceLen: b.T, MicroBatch: b.B, Documents: b.Documents}).Total
	}
	return total
}

func countTargets(batches []model.Batch) int {
	n := 0
	for _, b := range batches {
		for _, label := range b.Labels {
			if label >= 0 {
				n++
			}
		}
	}
	return n
}

func countTokens(batches []model.Batch) int {
	n := 0
	for _, b := range batches {
		n += len(b.IDs)
	}
	return n
}
