package model

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/ringattn"
)

// Losses returns the negative log-likelihood in nats of every local row [B·S] (none for a rank without rows), 0 where the label is
// negative. No gradients, no logits beyond a chunk.
func (m *Model[T]) Losses(ctx context.Context, b Batch) ([]float32, error) {
	s, err := m.hidden(ctx, b, false)
	if err != nil {
		return nil, err
	}
	if err := s.head.runForward(m.headInputs(s, b)); err != nil {
		return nil, fmt.Errorf("model: head: %w", err)
	}
	losses := make([]float32, s.real)
	for i := range losses {
		losses[i] = float32(s.head.nll[i])
	}
	return losses, nil
}

// Logits returns the logits [len(rows), vocabulary] of the given local rows of [B·S]; nil means all of them, an empty list none
// (the rank still takes part in the ring).
func (m *Model[T]) Logits(ctx context.Context, b Batch, rows []int) ([]T, error) {
	s, err := m.hidden(ctx, b, false)
	if err != nil {
		return nil, err
	}
	if rows == nil {
		for i := range s.real {
			rows = append(rows, i)
		}
	}
	for _, r := range rows {
		if r < 0 || r >= s.real {
			return nil, fmt.Errorf("model: row %d of the %d local rows of rank %d; rows count from 0", r, s.real, m.rank)
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return m.project(s.x[m.cfg.NumLayers], rows)
}

// project computes the logits of rows of x [N, hidden].
func (m *Model[T]) project(x []T, rows []int) ([]T, error) {
	p, err := m.projections.get(len(rows), func() (p *projection[T], err error) {
		err = ops.Build(func() error {
			p, err = newProjection[T](m.cfg, len(rows))
			return err
		})
		return p, err
	})
	if err != nil {
		return nil, err
	}
	width := m.cfg.HiddenSize
	in := make([]T, len(rows)*width)
	for i, r := range rows {
		copy(in[i*width:(i+1)*width], x[r*width:])
	}
	if err := bind(p.x, header(in, len(rows), width)); err != nil {
		return nil, err
	}
	if err := bind(p.norm, m.norm); err != nil {
		return nil, err
	}
	if err := bind(p.w, m.w); err != nil {
		return nil, err
	}
	if err := run(p.program); err != nil {
		return nil, fmt.Errorf("model: logits: %w", err)
	}
	out, err := data[T](p.logits)
	if err != nil {
		return nil, err
	}
	return append([]T(nil), out...), nil
}

// hidden runs embedding and layers: s.x holds the input of the head, and with keep, which is training, that of every layer and what
// attention saved, for the backward.
func (m *Model[T]) hidden(ctx context.Context, b Batch, keep bool) (*shape[T], error) {
	if err := b.check(m.cfg.VocabSize); err != nil {
		return nil, err
	}
	s, err := m.shape(b)
	if err != nil {
		return nil, err
	}
	width := m.cfg.HiddenSize
	s.x[0] = make([]T, s.rows*width)
	for i, id := range ownRows(s.sharding, m.rank, b.IDs, 0) {
		copy(s.x[0][i*width:(i+1)*width], m.embedding[int(id)*width:])
	}
	if scale := m.embeddingScale(); scale != 1 {
		for i := range s.x[0] {
			s.x[0][i] *= scale
		}
	}
	for i, weights := range m.layers {
		m.entered(fmt.Sprintf("forward, layer %d of %d", i+1, m.cfg.NumLayers))
		s.x[i+1] = make([]T, s.rows*width)
		s.layer.setDropout(weights, b.Step, keep)
		if s.saved[i], err = s.layer.runForward(ctx, weights, s.x[i], s.x[i+1]); err != nil {
			return nil, fmt.Errorf("model: layer %d: %w", i, err)
		}
		if !keep {
			s.forget(i)
		}
	}
	return s, nil
}

// embeddingScale is what the embedding's rows are multiplied by on their way into the first layer.
func (m *Model[T]) embeddingScale() T {
	if m.cfg.EmbeddingScale == 0 {
		return 1
	}
	return T(m.cfg.EmbeddingScale)
}

func (m *Model[T]) headInputs(s *shape[T], b Batch) headInputs[T] {
	return headInputs[T]{s.x[m.cfg.NumLayers], m.norm, m.w, ownRows(s.sharding, m.rank, b.Labels, IgnoreLabel)}
}

// forget lets go of the input of layer i, or of the head, and of what attention saved there.
func (s *shape[T]) forget(i int) {
	s.x[i] = nil
	if i < len(s.saved) {
		s.saved[i] = ringattn.Saved{}
	}
}
