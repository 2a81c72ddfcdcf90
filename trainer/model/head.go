package model

import (
	"errors"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// head is the final norm with the cross-entropy over the vocabulary, on N = B·S rows that go through it chunk by chunk.
type head[T ops.Float] struct {
	width  int
	chunks []chunk
	parts  map[int]*headPart[T] // by the rows of a chunk
	nll    []float64            // [N], of the last run
}

// headPart is the graph of a chunk, and its two programs.
type headPart[T ops.Float] struct {
	x, norm, w *gorgonia.Node // [rows, hidden], [hidden], [vocabulary, hidden]
	labels     *ops.Labels
	forward    gorgonia.VM
	full       gorgonia.VM
	grads      gorgonia.Nodes // of x, norm, w
}

// newHead builds the graphs; ops.BuildMutex must be held.
func newHead[T ops.Float](cfg hf.Config, chunks []chunk) (*head[T], error) {
	h := &head[T]{width: cfg.HiddenSize, chunks: chunks, nll: make([]float64, chunks[len(chunks)-1].to)}
	var err error
	h.parts, err = eachSize(chunks, func(rows int) (*headPart[T], error) { return newHeadPart[T](cfg, rows) })
	return h, err
}

func newHeadPart[T ops.Float](cfg hf.Config, rows int) (*headPart[T], error) {
	g := gorgonia.NewGraph()
	h := &headPart[T]{labels: ops.NewLabels(rows)}
	h.x = input[T](g, "x", rows, cfg.HiddenSize)
	h.norm = input[T](g, "norm", cfg.HiddenSize)
	h.w = input[T](g, "w", cfg.VocabSize, cfg.HiddenSize)
	b := &builder{cfg: cfg}
	n := b.norm(h.x, h.norm, 1)
	cost := b.do(func() (*gorgonia.Node, error) {
		if cfg.LogitSoftcap > 0 {
			return ops.CappedCrossEntropy(n, h.w, h.labels, cfg.LogitSoftcap)
		}
		return ops.CrossEntropy(n, h.w, h.labels)
	})
	if b.err != nil {
		return nil, b.err
	}
	inputs := gorgonia.Nodes{h.x, h.norm, h.w}
	var err error
	if h.forward, err = compileForward(g, inputs, cost); err != nil {
		return nil, err
	}
	if h.grads, err = gorgonia.Grad(cost, inputs...); err != nil {
		return nil, err
	}
	h.full, err = compileAll(g)
	return h, err
}

// headInputs are the head's input x [N, hidden], its weights and one label per row.
type headInputs[T ops.Float] struct {
	x       []T
	norm, w *tensor.Dense
	labels  []int32
}

// runForward leaves each row's NLL in nll.
func (h *head[T]) runForward(in headInputs[T]) error {
	return h.each(in, func(_ chunk, part *headPart[T]) error {
		part.labels.ForwardOnly, part.labels.Scale = true, 1
		return run(part.forward)
	})
}

// headGrads is where a backward leaves its gradients: that of x is written, those of norm and w are added to what is there.
type headGrads[T ops.Float] struct{ dx, dNorm, dW []T }

// runFull leaves each row's NLL in nll and the gradients of scale times their sum in grads. It returns the sum and the number of
// labels.
func (h *head[T]) runFull(in headInputs[T], scale float64, grads headGrads[T]) (sum float64, labels int, err error) {
	err = h.each(in, func(c chunk, part *headPart[T]) error {
		part.labels.ForwardOnly, part.labels.Scale = false, scale
		weights := part.grads[1:]
		if err := errors.Join(ops.Lend(weights[0], grads.dNorm), ops.Lend(weights[1], grads.dW)); err != nil {
			return err
		}
		if err := run(part.full); err != nil {
			return err
		}
		sum += part.labels.Sum()
		labels += part.labels.Count()
		return errors.Join(copyValue(of(c, grads.dx, h.width), part.grads[0]), ops.Lend[T](weights[0], nil), ops.Lend[T](weights[1], nil))
	})
	return sum, labels, err
}

// each runs the graph of every chunk with the chunk's inputs bound.
func (h *head[T]) each(in headInputs[T], run func(chunk, *headPart[T]) error) error {
	for _, c := range h.chunks {
		part := h.parts[c.rows()]
		x := header(of(c, in.x, h.width), c.rows(), h.width)
		if err := errors.Join(bind(part.x, x), bind(part.norm, in.norm), bind(part.w, in.w), part.labels.Set(of(c, in.labels, 1))); err != nil {
			return err
		}
		if err := run(c, part); err != nil {
			return err
		}
		copy(of(c, h.nll, 1), part.labels.NLL())
	}
	return nil
}

func (h *head[T]) close() error {
	var errs []error
	for _, part := range h.parts {
		errs = append(errs, closeAll(part.forward, part.full))
	}
	return errors.Join(errs...)
}

// projection is the final norm with the logits of n rows.
type projection[T ops.Float] struct {
	x, norm, w, logits *gorgonia.Node
	program            gorgonia.VM
}

// newProjection builds the graph; ops.BuildMutex must be held.
func newProjection[T ops.Float](cfg hf.Config, rows int) (*projection[T], error) {
	g := gorgonia.NewGraph()
	p := &projection[T]{}
	p.x = input[T](g, "x", rows, cfg.HiddenSize)
	p.norm = input[T](g, "norm", cfg.HiddenSize)
	p.w = input[T](g, "w", cfg.VocabSize, cfg.HiddenSize)
	b := &builder{cfg: cfg}
	p.logits = b.linear(b.norm(p.x, p.norm, 1), p.w, nil)
	if cfg.LogitSoftcap > 0 {
		p.logits = b.do(func() (*gorgonia.Node, error) { return ops.Softcap(p.logits, cfg.LogitSoftcap) })
	}
	if b.err != nil {
		return nil, b.err
	}
	var err error
	p.program, err = compileForward(g, gorgonia.Nodes{p.x, p.norm, p.w}, p.logits)
	return p, err
}

func (p *projection[T]) close() error { return closeAll(p.program) }

func closeAll(vms ...gorgonia.VM) error {
	var errs []error
	for _, vm := range vms {
		errs = append(errs, vm.Close())
	}
	return errors.Join(errs...)
}
