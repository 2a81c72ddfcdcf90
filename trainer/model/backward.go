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
// ranks. grad is shaped as the parameter and the sink's until the next LossAndGrad.
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
	m.entered("loss")
	// 1. The losses, and the gradient of the last layer's output.
	if m.dHead == nil {
		m.dHead = make([]T, len(m.embedding))
	}
	clear(m.dHead)
	grads := headGrads[T]{dx: make([]T, s.rows*m.cfg.HiddenSize), dNorm: make([]T, m.cfg.HiddenSize), dW: m.dHead}
	if sum, tokens, err = s.head.runFull(m.headInputs(s, b), scale, grads); err != nil {
		return 0, 0, fmt.Errorf("model: head: %w", err)
	}
	s.forget(m.cfg.NumLayers)
	dEmbedding := grads.dW // not all of it yet in a tied model, and another matrix's in others
	if !m.cfg.TieWordEmbeddings {
		if err := sink(hf.HeadName, grads.dW); err != nil {
			return 0, 0, err
		}
		dEmbedding = nil
	}
	if err := sink(hf.NormName, grads.dNorm); err != nil {
		return 0, 0, err
	}
	// 2. The layers, from the last to the first: dx becomes the gradient of their inputs.
	for i := m.cfg.NumLayers - 1; i >= 0; i-- {
		m.entered(fmt.Sprintf("backward, layer %d of %d", i+1, m.cfg.NumLayers))
		if err := m.layerBackward(ctx, s, i, grads.dx, sink); err != nil {
			return 0, 0, fmt.Errorf("model: layer %d backward: %w", i, err)
		}
		s.forget(i)
	}
	// 3. The embedding.
	m.entered("embedding")
	return sum, tokens, m.embeddingBackward(s, b, grads.dx, dEmbedding, sink)
}

// layerBackward runs layer i again and back: dx, the gradient of its output, becomes that of its input.
func (m *Model[T]) layerBackward(ctx context.Context, s *shape[T], i int, dx []T, sink Sink[T]) error {
	pass := backwardOf[T]{x: s.x[i], dy: dx, saved: s.saved[i], weights: m.layers[i]}
	feed, attend := feedParameters(m.cfg, i), attendParameters(m.cfg, i)
	dFeed := zerosLike[T](feed)
	dO, err := s.layer.runFeedBackward(pass, dFeed)
	if err != nil {
		return err
	}
	if err := giveAll(sink, feed, dFeed); err != nil {
		return err
	}
	dAttend := zerosLike[T](attend)
	if err := s.layer.runAttendBackward(ctx, pass, dO, dAttend); err != nil {
		return err
	}
	return giveAll(sink, attend, dAttend)
}

// embeddingBackward adds the rows of dx to the rows of their tokens, in order, but for padding; in a tied model they join
// the head's gradient.
func (m *Model[T]) embeddingBackward(s *shape[T], b Batch, dx, grad []T, sink Sink[T]) error {
	if grad == nil {
		grad = make([]T, len(m.embedding))
	}
	width, scale := m.cfg.HiddenSize, m.embeddingScale()
	ids := ownRows(s.sharding, m.rank, b.IDs, 0)
	for i, id := range ids[:s.real] {
		if int(id) == m.cfg.Pad {
			continue // as torch.nn.Embedding with a padding_idx
		}
		sum := grad[int(id)*width : (int(id)+1)*width]
		for j, d := range dx[i*width : (i+1)*width] {
			sum[j] += scale * d
		}
	}
	return sink(hf.EmbeddingName, grad)
}

// zerosLike makes room for the gradients of some parameters.
func zerosLike[T ops.Float](parameters []hf.Parameter) [][]T {
	zeros := make([][]T, len(parameters))
	for i, p := range parameters {
		zeros[i] = make([]T, p.Len())
	}
	return zeros
}

// giveAll hands the gradients of some parameters to the sink.
func giveAll[T ops.Float](sink Sink[T], parameters []hf.Parameter, grads [][]T) error {
	for i, p := range parameters {
		if err := sink(p.Name, grads[i]); err != nil {
			return fmt.Errorf("%w: gradient of %s", err, p.Name)
		}
	}
	return nil
}

// copyValue copies the value of a node.
func copyValue[T ops.Float](to []T, n *gorgonia.Node) error {
	d, err := data[T](n)
	if err != nil {
		return err
	}
	copy(to, d)
	return nil
}
