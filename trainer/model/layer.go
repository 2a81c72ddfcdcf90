package model

import (
	"context"
	"strings"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// layer is the graph of one transformer layer on N = B·S rows and its two programs. It is run for every layer of the model in
// turn, with that layer's weights bound.
type layer[T ops.Float] struct {
	rows, width int

	x, y      *gorgonia.Node // [N, hidden]
	weights   gorgonia.Nodes // in the order of hf.Config.LayerParameters
	attention *ringattn.Op
	forward   gorgonia.VM

	dy    *gorgonia.Node
	grads gorgonia.Nodes // of x, then of the weights
	full  gorgonia.VM
}

// layerPlan is what a layer's graph depends on.
type layerPlan struct {
	cfg       hf.Config
	rows      int
	table     *ops.RoPETable
	attention ringattn.Config
}

// newLayer builds the graph; ops.BuildMutex must be held.
func newLayer[T ops.Float](p layerPlan) (*layer[T], error) {
	g := gorgonia.NewGraph()
	l := &layer[T]{rows: p.rows, width: p.cfg.HiddenSize}
	l.x = input[T](g, "x", p.rows, p.cfg.HiddenSize)
	named := map[string]*gorgonia.Node{}
	for _, w := range p.cfg.LayerParameters(0) {
		name := strings.TrimPrefix(w.Name, "model.layers.0.")
		named[name] = input[T](g, name, w.Shape...)
		l.weights = append(l.weights, named[name])
	}
	b := &builder{}
	l.y = l.formula(b, p, named)
	if b.err != nil {
		return nil, b.err
	}
	inputs := append(gorgonia.Nodes{l.x}, l.weights...)
	var err error
	if l.forward, err = compileForward(g, inputs, l.y); err != nil {
		return nil, err
	}
	l.dy = input[T](g, "dy", p.rows, p.cfg.HiddenSize)
	if l.grads, err = gorgonia.Backpropagate(gorgonia.Nodes{l.y}, gorgonia.Nodes{l.dy}, inputs); err != nil {
		return nil, err
	}
	l.full, err = compileAll(g)
	return l, err
}

// formula is the layer: y = h + mlp(norm(h)) with h = x + attention(norm(x)).
func (l *layer[T]) formula(b *builder, p layerPlan, w map[string]*gorgonia.Node) *gorgonia.Node {
	c := p.cfg
	linear := func(x *gorgonia.Node, name string) *gorgonia.Node {
		return b.linear(x, w[name+".weight"], w[name+".bias"])
	}
	// 1. Queries, keys and values, [N, heads·D]; Qwen3 norms every head of q and k.
	n := b.norm(l.x, w["input_layernorm.weight"], c.RMSNormEps, 1)
	q, k, v := linear(n, "self_attn.q_proj"), linear(n, "self_attn.k_proj"), linear(n, "self_attn.v_proj")
	if c.QKNorm {
		q = b.norm(q, w["self_attn.q_norm.weight"], c.RMSNormEps, c.NumHeads)
		k = b.norm(k, w["self_attn.k_norm.weight"], c.RMSNormEps, c.NumKVHeads)
	}
	q, k = b.rope(q, c.NumHeads, p.table), b.rope(k, c.NumKVHeads, p.table)

	// 2. Attention over the keys of all ranks, and the first residual.
	o := b.do(func() (out *gorgonia.Node, err error) {
		out, l.attention, err = ringattn.Apply(q, k, v, p.attention)
		return out, err
	})
	h := b.add(l.x, linear(o, "self_attn.o_proj"))

	// 3. The gated feed-forward net and the second residual.
	n = b.norm(h, w["post_attention_layernorm.weight"], c.RMSNormEps, 1)
	return b.add(h, linear(b.swiglu(linear(n, "mlp.gate_proj"), linear(n, "mlp.up_proj")), "mlp.down_proj"))
}

// bind gives the layer its input x [N, hidden] and the weights of one layer of the model.
func (l *layer[T]) bind(x []T, weights []*tensor.Dense) error {
	if err := bind(l.x, header(x, l.rows, l.width)); err != nil {
		return err
	}
	for i, w := range l.weights {
		if err := bind(w, weights[i]); err != nil {
			return err
		}
	}
	return nil
}

// runForward writes y [N, hidden] and returns what attention saved for the backward.
func (l *layer[T]) runForward(ctx context.Context, y []T) (ringattn.Saved, error) {
	l.attention.SetContext(ctx)
	if err := l.run(l.forward); err != nil {
		return ringattn.Saved{}, err
	}
	out, err := data[T](l.y)
	if err != nil {
		return ringattn.Saved{}, err
	}
	copy(y, out)
	return l.attention.Saved(), nil
}

// runFull computes the layer again, attention from saved, and the gradients for dy [N, hidden].
func (l *layer[T]) runFull(ctx context.Context, dy []T, saved ringattn.Saved) error {
	if err := bind(l.dy, header(dy, l.rows, l.width)); err != nil {
		return err
	}
	l.attention.SetContext(ctx)
	l.attention.Replay(saved)
	return l.run(l.full)
}

// run prefers the attention's own error: gorgonia's hides what it wraps.
func (l *layer[T]) run(vm gorgonia.VM) error {
	err := run(vm)
	if cause := l.attention.Err(); err != nil && cause != nil {
		return cause
	}
	return err
}

func (l *layer[T]) close() error { return closeAll(l.forward, l.full) }
