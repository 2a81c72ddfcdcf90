package gradcheck

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// problem is a model and a batch.
type problem struct {
	cfg     hf.Config
	weights map[string]hf.Tensor
	batch   model.Batch
}

// targets is the number of labels of the batch.
func (p problem) targets() int {
	n := 0
	for _, l := range p.batch.Labels {
		if l >= 0 {
			n++
		}
	}
	return n
}

// outcome is what a model computes for a batch: the mean loss over the targets, its gradients, and the logits [B, T, vocabulary].
type outcome struct {
	loss   float64
	logits []float64
	grads  map[string][]float64
}

// evaluate computes a problem over a ring of goroutines.
func evaluate(ctx context.Context, p problem, s setting) (outcome, error) {
	if s.dtype == Float32 {
		return evaluateIn[float32](ctx, p, s)
	}
	return evaluateIn[float64](ctx, p, s)
}

func evaluateIn[T ops.Float](ctx context.Context, p problem, s setting) (outcome, error) {
	params, err := model.FromHF[T](p.cfg, p.weights)
	if err != nil {
		return outcome{}, err
	}
	out := outcome{grads: map[string][]float64{}, logits: make([]float64, p.batch.B*p.batch.T*p.cfg.VocabSize)}
	err = local.Run(ctx, s.ring, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		m, err := model.New(p.cfg, params, comm, model.Options{Layout: s.layout, Device: s.device})
		if err != nil {
			return err
		}
		defer m.Close() //nolint:errcheck // nothing is written
		logits, err := m.Logits(ctx, p.batch, nil)
		if err != nil {
			return err
		}
		p.gather(m.Sharding(p.batch), comm.Rank(), widen(logits), out.logits) // ranks write different rows
		sum := []float64{0}
		if sum[0], err = gradients(ctx, m, comm, p, out.grads); err != nil {
			return err
		}
		if err := dist.AllReduce(ctx, comm, sum); err != nil {
			return err
		}
		if comm.Rank() == 0 {
			out.loss = sum[0] / float64(p.targets())
		}
		return nil
	})
	return out, err
}

// gradients adds every gradient up over the ranks; rank 0 keeps them. It returns this rank's part of the summed loss.
func gradients[T ops.Float](ctx context.Context, m *model.Model[T], comm *dist.Comm, p problem, keep map[string][]float64) (float64, error) {
	sum, _, err := m.LossAndGrad(ctx, p.batch, 1/float64(p.targets()), func(name string, grad []T) error {
		if err := dist.AllReduce(ctx, comm, grad); err != nil {
			return fmt.Errorf("gradient of %s: %w", name, err)
		}
		if comm.Rank() == 0 {
			keep[name] = widen(grad)
		}
		return nil
	})
	return sum, err
}

// gather writes a rank's logits [B·S, vocabulary] to their places in [B, T, vocabulary].
func (p problem) gather(s shard.Sharding, rank int, logits, global []float64) {
	rows, width := s.Len(rank)*p.cfg.VocabSize, p.batch.T*p.cfg.VocabSize
	for b := range p.batch.B {
		shard.Gather(s, rank, logits[b*rows:(b+1)*rows], global[b*width:(b+1)*width], p.cfg.VocabSize)
	}
}

// widen copies to float64.
func widen[T ops.Float](x []T) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
