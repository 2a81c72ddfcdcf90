package model

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// layer is one transformer layer on N = B·S rows in two sections. It is run for every layer of the model in turn, with that
// layer's weights.
//
//	attend    o = attention(norm(x))                     all rows at once
//	feed      y = h + mlp(norm(h)), h = x + Wo·o          chunk by chunk
//
// Gemma 2 norms what is added to x and to h as well. Layers whose attention has other windows have first sections of their own.
type layer[T ops.Float] struct {
	width, inner int // of x and y, of o
	chunks       []chunk

	attend map[int]*attend[T]  // by the window of the layer
	feed   map[int]*section[T] // by the rows of a chunk
}

// attend is a first section with its attention.
type attend[T ops.Float] struct {
	*section[T]
	attention *ringattn.Op
}

// layerPlan is what a layer's graphs depend on.
type layerPlan struct {
	cfg       hf.Config
	rows      int
	chunks    []chunk // of rows
	table     *ops.RoPETable
	attention ringattn.Config
}

// newLayer builds the graphs; ops.BuildMutex must be held.
func newLayer[T ops.Float](p layerPlan) (*layer[T], error) {
	l := &layer[T]{chunks: p.chunks, width: p.cfg.HiddenSize, inner: p.cfg.NumHeads * p.cfg.HeadDim, attend: map[int]*attend[T]{}}
	for i := range p.cfg.NumLayers {
		window := p.cfg.Window(i)
		if _, ok := l.attend[window]; ok {
			continue
		}
		a, err := newAttend[T](p, window)
		if err != nil {
			return nil, err
		}
		l.attend[window] = a
	}
	var err error
	l.feed, err = eachSize(p.chunks, func(rows int) (*section[T], error) { return l.newFeed(p, rows) })
	return l, err
}

// weightNodes adds the nodes of some weights of a layer, under their names within it; nil for those that nothing depends on.
func weightNodes[T ops.Float](g *gorgonia.ExprGraph, weights []hf.Parameter) (nodes gorgonia.Nodes, named map[string]*gorgonia.Node) {
	named = map[string]*gorgonia.Node{}
	for _, w := range weights {
		name := strings.TrimPrefix(w.Name, "model.layers.0.")
		if !strings.HasPrefix(name, "mlp.router.") { // see builder.expert
			named[name] = input[T](g, name, shapeInGraph(w)...)
		}
		nodes = append(nodes, named[name])
	}
	return nodes, named
}

// shapeInGraph is the shape of a weight's node: that of the parameter, but for the experts' first dimension, which is 1.
func shapeInGraph(p hf.Parameter) []int {
	if strings.Contains(p.Name, ".mlp.experts.") {
		return p.Shape[1:]
	}
	return p.Shape
}

// newAttend is attention over the keys of all ranks, of queries, keys and values [N, heads·D], or over those of a window of so many
// positions; Qwen3 norms every head of q and k, and gpt-oss has a sink for every query head.
func newAttend[T ops.Float](p layerPlan, window int) (*attend[T], error) {
	c, g, b := p.cfg, gorgonia.NewGraph(), &builder{cfg: p.cfg}
	x := input[T](g, "x", p.rows, c.HiddenSize)
	weights, w := weightNodes[T](g, attendParameters(c, 0))
	n := b.norm(x, w["input_layernorm.weight"], 1)
	project := func(name string) *gorgonia.Node {
		return b.linear(n, w["self_attn."+name+".weight"], w["self_attn."+name+".bias"])
	}
	q, k, v := project("q_proj"), project("k_proj"), project("v_proj")
	if c.QKNorm {
		q = b.norm(q, w["self_attn.q_norm.weight"], c.NumHeads)
		k = b.norm(k, w["self_attn.k_norm.weight"], c.NumKVHeads)
	}
	q, k = b.rope(q, c.NumHeads, p.table), b.rope(k, c.NumKVHeads, p.table)
	attention := p.attention
	attention.Window = windowOf(window)
	attention.Sinks = w["self_attn.sinks"]
	var op *ringattn.Op
	o := b.do(func() (out *gorgonia.Node, err error) {
		out, op, err = ringattn.Apply(q, k, v, attention)
		return out, err
	})
	if b.err != nil {
		return nil, b.err
	}
	s, err := newSection[T](gorgonia.Nodes{x}, weights, o)
	return &attend[T]{s, op}, err
}

// newFeed is what each row does for itself: attention's projection with the residual, and the gated feed-forward net with its own.
func (l *layer[T]) newFeed(p layerPlan, rows int) (*section[T], error) {
	c, g, b := p.cfg, gorgonia.NewGraph(), &builder{cfg: p.cfg}
	x, o := input[T](g, "x", rows, c.HiddenSize), input[T](g, "o", rows, l.inner)
	weights, w := weightNodes[T](g, feedParameters(c, 0))
	linear := func(x *gorgonia.Node, name string) *gorgonia.Node {
		return b.linear(x, w[name+".weight"], w[name+".bias"])
	}
	norm := func(x *gorgonia.Node, name string) *gorgonia.Node { return b.norm(x, w[name+".weight"], 1) }
	mlp := func(n *gorgonia.Node) *gorgonia.Node {
		if c.Gate == hf.ClampedSwiGLU {
			return b.expert(n, w)
		}
		return linear(b.gate(linear(n, "mlp.gate_proj"), linear(n, "mlp.up_proj")), "mlp.down_proj")
	}
	attended := linear(o, "self_attn.o_proj")
	var y *gorgonia.Node
	if c.SandwichNorms {
		h := b.add(x, norm(attended, "post_attention_layernorm"))
		y = b.add(h, norm(mlp(norm(h, "pre_feedforward_layernorm")), "post_feedforward_layernorm"))
	} else { // here the norm's name says what is before it, not what it norms
		h := b.add(x, attended)
		y = b.add(h, mlp(norm(h, "post_attention_layernorm")))
	}
	if b.err != nil {
		return nil, b.err
	}
	return newSection[T](gorgonia.Nodes{x, o}, weights, y)
}

// attendParameters are the weights of a layer's first section, feedParameters those of its second.
func attendParameters(c hf.Config, layer int) []hf.Parameter {
	all := c.LayerParameters(layer)
	return all[:firstOfFeed(all)]
}

func feedParameters(c hf.Config, layer int) []hf.Parameter {
	all := c.LayerParameters(layer)
	return all[firstOfFeed(all):]
}

func firstOfFeed(all []hf.Parameter) int {
	for i, p := range all {
		if strings.HasSuffix(p.Name, "self_attn.o_proj.weight") {
			return i
		}
	}
	panic("model: a layer has no self_attn.o_proj")
}

// weightsOf are the headers of one layer's weights, by section, which layer it is, and the window that picks the first section.
type weightsOf struct {
	index        int
	window       int
	attend, feed []*tensor.Dense
}

// setDocuments is for later runs; see ringattn.Op.
func (l *layer[T]) setDocuments(bounds []int, shards *shard.Sharding) error {
	for _, a := range l.attend {
		if err := a.attention.SetDocumentsOver(bounds, shards); err != nil {
			return err
		}
	}
	return nil
}

// setDropout says which pairs the layer's next forward drops: those of a step of training, or none.
func (l *layer[T]) setDropout(w weightsOf, step uint64, training bool) {
	if op := l.attend[w.window].attention; training {
		op.SetStep(step, w.index)
	} else {
		op.SetEvaluation()
	}
}

// runForward writes y [N, hidden] and returns what attention saved for the backward.
func (l *layer[T]) runForward(ctx context.Context, w weightsOf, x, y []T) (ringattn.Saved, error) {
	attend := l.attend[w.window]
	if err := attend.bind(w.attend, x); err != nil {
		return ringattn.Saved{}, err
	}
	attend.attention.SetContext(ctx)
	o, err := attend.runForward()
	if err != nil {
		return ringattn.Saved{}, attend.cause(err)
	}
	for _, c := range l.chunks {
		feed := l.feed[c.rows()]
		if err := feed.bind(w.feed, of(c, x, l.width), of(c, o, l.inner)); err != nil {
			return ringattn.Saved{}, err
		}
		out, err := feed.runForward()
		if err != nil {
			return ringattn.Saved{}, err
		}
		copy(of(c, y, l.width), out)
	}
	return attend.attention.Saved(), nil
}

// backwardOf is a backward pass of one layer: its input x and the gradient dy of its output, which becomes that of x, both
// [N, hidden], and what attention saved.
type backwardOf[T ops.Float] struct {
	x, dy   []T
	saved   ringattn.Saved
	weights weightsOf
}

// runFeedBackward computes the second section again and back, adding the gradients of its weights to dWeights. It returns that of
// attention's output [N, heads·D]; dy becomes the gradient that reaches x past attention.
func (l *layer[T]) runFeedBackward(b backwardOf[T], dWeights [][]T) (dO []T, err error) {
	value, err := l.attend[b.weights.window].attention.Output(b.saved)
	if err != nil {
		return nil, err
	}
	o, ok := value.Data().([]T)
	if !ok {
		return nil, fmt.Errorf("model: attention saved %T", value.Data())
	}
	for _, c := range l.chunks {
		feed, dy, o := l.feed[c.rows()], of(c, b.dy, l.width), of(c, o, l.inner)
		if err := errors.Join(feed.lend(dWeights), feed.bind(b.weights.feed, of(c, b.x, l.width), o)); err != nil {
			return nil, err
		}
		if err := feed.runFull(dy); err != nil {
			return nil, err
		}
		// Nobody reads o and dy of the chunk any more.
		if err := errors.Join(copyValue(dy, feed.dIn[0]), copyValue(o, feed.dIn[1]), feed.lend(nil)); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// runAttendBackward computes the first section again, attention from what it saved, and back from dO, adding the gradients of its
// weights to dWeights. It completes dy.
func (l *layer[T]) runAttendBackward(ctx context.Context, b backwardOf[T], dO []T, dWeights [][]T) error {
	attend := l.attend[b.weights.window]
	if err := errors.Join(attend.lend(dWeights), attend.bind(b.weights.attend, b.x)); err != nil {
		return err
	}
	attend.attention.SetContext(ctx)
	attend.attention.Replay(b.saved)
	if err := attend.runFull(dO); err != nil {
		return attend.cause(err)
	}
	dx, err := data[T](attend.dIn[0])
	if err != nil {
		return err
	}
	ops.Accumulate(b.dy, dx)
	return attend.lend(nil)
}

// cause prefers the attention's own error: gorgonia's hides what it wraps.
func (a *attend[T]) cause(err error) error {
	if cause := a.attention.Err(); cause != nil {
		return cause
	}
	return err
}

func (l *layer[T]) close() error {
	var errs []error
	for _, a := range l.attend {
		errs = append(errs, a.close())
	}
	for _, f := range l.feed {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}
