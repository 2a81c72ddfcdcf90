package model

import (
	"errors"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// head is the final norm with the cross-entropy over the vocabulary, on N = B·S rows, and its two programs.
type head[T ops.Float] struct {
	rows, width int

	x, norm, w *gorgonia.Node // [N, hidden], [hidden], [vocabulary, hidden]
	labels     *ops.Labels
	forward    gorgonia.VM
	full       gorgonia.VM
	grads      gorgonia.Nodes // of x, norm, w
}

// newHead builds the graph; ops.BuildMutex must be held.
func newHead[T ops.Float](cfg hf.Config, rows int) (*head[T], error) {
	g := gorgonia.NewGraph()
	h := &head[T]{rows: rows, width: cfg.HiddenSize, labels: ops.NewLabels(rows)}
	h.x = input[T](g, "x", rows, cfg.HiddenSize)
	h.norm = input[T](g, "norm", cfg.HiddenSize)
	h.w = input[T](g, "w", cfg.VocabSize, cfg.HiddenSize)
	b := &builder{}
	n := b.norm(h.x, h.norm, cfg.RMSNormEps, 1)
	cost := b.do(func() (*gorgonia.Node, error) { return ops.CrossEntropy(n, h.w, h.labels) })
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

// bind gives the head its input x [N, hidden], its weights and one label per row.
func (h *head[T]) bind(x []T, norm, w *tensor.Dense, labels []int32) error {
	return errors.Join(bind(h.x, header(x, h.rows, h.width)), bind(h.norm, norm), bind(h.w, w), h.labels.Set(labels))
}

// runForward leaves each row's NLL in labels.
func (h *head[T]) runForward() error {
	h.labels.ForwardOnly, h.labels.Scale = true, 1
	return run(h.forward)
}

// runFull leaves each row's NLL in labels and the gradients of scale times their sum.
func (h *head[T]) runFull(scale float64) error {
	h.labels.ForwardOnly, h.labels.Scale = false, scale
	return run(h.full)
}

func (h *head[T]) close() error { return closeAll(h.forward, h.full) }

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
	b := &builder{}
	p.logits = b.linear(b.norm(p.x, p.norm, cfg.RMSNormEps, 1), p.w, nil)
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
