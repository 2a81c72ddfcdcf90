package trainer

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// gradient is that of one parameter, of one rank until it is summed.
type gradient struct {
	name   string
	values []float32
}

// sum goes through one micro-batch and adds its gradients up over the ranks of all rings, parameter by parameter in the order of the backward
// pass. Where ranks are in several processes that happens beside the rest of the pass, which is a layer ahead at most. The leaders of
// processes keep the sums.
func (w *worker) sum(ctx context.Context, b model.Batch, scale float64) (loss float64, err error) {
	if w.run.dealt.processes == 1 {
		loss, _, err = w.model.LossAndGrad(ctx, b, scale, func(name string, grad []float32) error { return w.add(ctx, w.world, gradient{name, grad}) })
		return loss, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	queue := make(chan gradient, max(1, len(w.run.model.LayerParameters(0))))
	added := make(chan error, 1)
	go func() { added <- w.addAll(ctx, stop, queue) }()
	loss, _, err = w.model.LossAndGrad(ctx, b, scale, func(name string, grad []float32) error {
		select {
		case queue <- gradient{name, grad}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	if err != nil {
		stop(err) // nobody sends what the sums wait for
	}
	close(queue)
	start := time.Now()
	if addErr := <-added; err == nil {
		err = addErr
	}
	w.waitedForSums += time.Since(start)
	return loss, err
}

// addAll adds what comes until the queue is closed or the pass is given up. It stops the pass with the first error.
func (w *worker) addAll(ctx context.Context, stop context.CancelCauseFunc, queue <-chan gradient) error {
	for {
		select {
		case g, more := <-queue:
			if !more {
				return nil
			}
			if err := w.add(ctx, w.sums, g); err != nil {
				stop(err)
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// add sums one gradient over the ranks of a group, and keeps it on leaders.
func (w *worker) add(ctx context.Context, group *dist.Comm, g gradient) error {
	if err := dist.AllReduce(ctx, group, g.values); err != nil {
		return fmt.Errorf("gradient of %s: %w", g.name, err)
	}
	switch sum := w.run.grads; {
	case !w.leads():
	case sum[g.name] == nil && w.run.cfg.GradientAccumulationSteps == 1:
		sum[g.name] = g.values
	case sum[g.name] == nil:
		sum[g.name] = slices.Clone(g.values)
	default:
		ops.Accumulate(sum[g.name], g.values)
	}
	return nil
}
