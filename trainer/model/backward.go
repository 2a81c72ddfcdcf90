package model

import (
	"context"
	"fmt"
	"math"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"gorgonia.org/gorgonia"
)

// Sink takes the finished gradient of one parameter, this rank's part of the sum over ranks. Every rank's sink is called once for
// each parameter and in the same order (head, norm, layers from the last to the first, embedding), so that it may add up over the
// ranks. grad is shaped as the parameter, may be overwritten, and is only valid during the call.
type Sink[T ops.Float] func(name string, grad []T) error

// LossAndGrad returns the sum of the negative log-likelihoods of the local rows and the number of their labels, and gives the sink
// the local part of the gradients of scale times the sum over all ranks. With scale 1/(labels of all ranks and micro-batches) the
// gradients of ranks and micro-batches add up to those of the mean loss. Values are not checked for NaN.
func (m *Model[T]) LossAndGrad(ctx context.Context, b Batch, scale float64, sink Sink[T]) (sum float64, tokens int, err error) {
	if scale == 0 || math.IsNaN(scale) || math.IsInf(scale, 0) {
		return 0, 0, fmt.Errorf("model: the scale of the loss is %v; give 1/(number of labels)", scale)
	}
	s, err := m.hidden(ctx, b, true)
	if err != nil {
		return 0, 0, err
	}
	dHead, err := m.headBackward(s, b, scale, sink)
	if err != nil {
		return 0, 0, err
	}
	for i := m.cfg.NumLayers - 1; i >= 0; i-- {
		if err := m.layerBackward(ctx, s, i, sink); err != nil {
			return 0, 0, err
		}
	}
	if err := m.embeddingBackward(s, b, dHead, sink); err != nil {
		return 0, 0, err
	}
	return s.head.labels.Sum(), s.head.labels.Count(), nil
}

// headBackward computes the losses and leaves the gradient of the last layer's output in s.dx. It returns the gradient of the
// output matrix where that is the embedding, which has not got all of its gradient yet.
func (m *Model[T]) headBackward(s *shape[T], b Batch, scale float64, sink Sink[T]) ([]T, error) {
	if err := m.bindHead(s, b); err != nil {
		return nil, err
	}
	if err := s.head.runFull(scale); err != nil {
		return nil, fmt.Errorf("model: head: %w", err)
	}
	dx, dNorm, dHead := s.head.grads[0], s.head.grads[1], s.head.grads[2]
	if err := copyValue(s.dx, dx); err != nil {
		return nil, err
	}
	d, err := data[T](dHead)
	if err != nil {
		return nil, err
	}
	if !m.cfg.TieWordEmbeddings {
		if err := sink(hf.HeadName, d); err != nil {
			return nil, err
		}
		d = nil
	}
	return d, give(sink, hf.NormName, dNorm)
}

// layerBackward runs layer i again and back: s.dx, the gradient of its output, becomes that of its input.
func (m *Model[T]) layerBackward(ctx context.Context, s *shape[T], i int, sink Sink[T]) error {
	if err := s.layer.bind(s.x[i], m.layers[i]); err != nil {
		return err
	}
	if err := s.layer.runFull(ctx, s.dx, s.saved[i]); err != nil {
		return fmt.Errorf("model: layer %d backward: %w", i, err)
	}
	s.forget(i)
	if err := copyValue(s.dx, s.layer.grads[0]); err != nil {
		return err
	}
	for j, name := range m.names[i] {
		if err := give(sink, name, s.layer.grads[j+1]); err != nil {
			return err
		}
	}
	return nil
}

// embeddingBackward adds the rows of s.dx to the rows of their tokens, in order; in a tied model they join the head's gradient.
func (m *Model[T]) embeddingBackward(s *shape[T], b Batch, grad []T, sink Sink[T]) error {
	if grad == nil {
		if m.dEmbedding == nil {
			m.dEmbedding = make([]T, len(m.embedding))
		}
		clear(m.dEmbedding)
		grad = m.dEmbedding
	}
	width := m.cfg.HiddenSize
	ids := ownRows(s.sharding, m.rank, b.IDs, 0)
	for i, id := range ids[:s.real] {
		sum := grad[int(id)*width : (int(id)+1)*width]
		for j, d := range s.dx[i*width : (i+1)*width] {
			sum[j] += d
		}
	}
	return sink(hf.EmbeddingName, grad)
}

// give hands the value of a gradient node to the sink.
func give[T ops.Float](sink Sink[T], name string, n *gorgonia.Node) error {
	d, err := data[T](n)
	if err != nil {
		return fmt.Errorf("%w: gradient of %s", err, name)
	}
	return sink(name, d)
}

func copyValue[T ops.Float](to []T, n *gorgonia.Node) error {
	d, err := data[T](n)
	if err != nil {
		return err
	}
	copy(to, d)
	return nil
}
