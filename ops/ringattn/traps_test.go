package ringattn

// Each test here pins a trap of gorgonia that the op is built around.

import (
	"fmt"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// backpropagated runs a graph that goes on from the attention and returns the gradients of q, k and v.
func backpropagated(t *testing.T, x *graph, in DenseInputs, out, dOut gorgonia.Nodes) DenseResult {
	t.Helper()
	x.bind(in)
	if dOut[0] != x.dOut {
		let(dOut[0], in.DOut)
	}
	grads, err := gorgonia.Backpropagate(out, dOut, gorgonia.Nodes{x.q, x.k, x.v})
	if err != nil {
		t.Fatal(err)
	}
	machine := gorgonia.NewTapeMachine(x.g)
	defer closing(t, machine)
	if err := machine.RunAll(); err != nil {
		t.Fatal(err)
	}
	data := func(n *gorgonia.Node) []float64 { return n.Value().Data().([]float64) }
	return DenseResult{DQ: data(grads[0]), DK: data(grads[1]), DV: data(grads[2])}
}

// fresh is newGraph without the gradients, so that a test can go on from the output.
func fresh(t *testing.T, in DenseInputs, cfg Config) *graph {
	t.Helper()
	x := &graph{g: gorgonia.NewGraph()}
	node := func(name string, heads, width int) *gorgonia.Node {
		return gorgonia.NewTensor(x.g, tensor.Float64, 3, gorgonia.WithName(name), gorgonia.WithShape(in.Tokens, heads, width))
	}
	x.q, x.k = node("q", in.Heads, in.Dim), node("k", in.KVHeads, in.Dim)
	x.v, x.dOut = node("v", in.KVHeads, in.ValueDim), node("dOut", in.Heads, in.ValueDim)
	cfg.Causal = in.Causal
	var err error
	if x.out, x.op, err = Apply(x.q, x.k, x.v, cfg); err != nil {
		t.Fatal(err)
	}
	return x
}

// gorgonia's Reshape aliases its input and its Add writes in place: together they destroy the op's output before its
// backward runs. The backward must not look at it.
func TestBackwardSurvivesAnOutputThatTheGraphHasOverwritten(t *testing.T) {
	in := problem(1, gqa)
	x := fresh(t, in, Config{Devices: 2})
	flat := tensor.Shape{in.Tokens * in.Heads, in.ValueDim}
	y := gorgonia.Must(gorgonia.Reshape(x.out, flat))
	noise := make([]float64, flat.TotalSize())
	for i := range noise {
		noise[i] = 1e3 + float64(i)
	}
	residual := gorgonia.NewTensor(x.g, tensor.Float64, 2, gorgonia.WithShape(flat...), gorgonia.WithName("residual"),
		gorgonia.WithValue(tensor.New(tensor.WithShape(flat...), tensor.WithBacking(noise))))
	dy := gorgonia.NewTensor(x.g, tensor.Float64, 2, gorgonia.WithShape(flat...), gorgonia.WithName("dy"))
	y = gorgonia.Must(gorgonia.Add(y, residual))
	got := backpropagated(t, x, in, gorgonia.Nodes{y}, gorgonia.Nodes{dy})
	want := Dense(in)
	got.Out, got.LSE = want.Out, x.op.LSE()
	requireEqual(t, "after Reshape and Add", got, want)
}

func TestTwoAttentionsOfOneGraphStayTwo(t *testing.T) {
	base := Config{Causal: true, Layout: shard.Contiguous, Devices: 2, SoftmaxScale: 0.5}
	same, full, scaled, zigzag, three := base, base, base, base, base
	full.Causal = false
	scaled.SoftmaxScale = 0.25
	zigzag.Layout = shard.Zigzag
	three.Devices = 3
	for name, second := range map[string]Config{"nothing": same, "causal": full, "scale": scaled, "layout": zigzag, "devices": three} {
		x := fresh(t, gqa, base)
		y, op, err := Apply(x.q, x.k, x.v, second)
		if err != nil {
			t.Fatal(err)
		}
		if y == x.out || op.Hashcode() == x.op.Hashcode() {
			t.Errorf("two attentions that differ in %s are one node", name)
		}
		x.bind(problem(2, gqa))
		machine := gorgonia.NewTapeMachine(x.g)
		if err := machine.RunAll(); err != nil {
			t.Fatal(err)
		}
		closing(t, machine)
		for _, o := range []*Op{x.op, op} {
			if f, _ := o.Counts(); f != 1 {
				t.Errorf("differing in %s: %v ran %d times", name, o, f)
			}
		}
	}
}

func TestOneNodeMayBeQueryKeyAndValueAndAttentionsMayBeStacked(t *testing.T) {
	in := problem(3, DenseInputs{Batch: 1, Tokens: 9, Heads: 2, KVHeads: 2, Dim: 3, ValueDim: 3, Causal: true})
	g := gorgonia.NewGraph()
	shape := tensor.Shape{in.Tokens, in.Heads, in.Dim}
	node := func(name string, data []float64) *gorgonia.Node {
		return gorgonia.NewTensor(g, tensor.Float64, 3, gorgonia.WithName(name), gorgonia.WithShape(shape...),
			gorgonia.WithValue(tensor.New(tensor.WithShape(shape...), tensor.WithBacking(append([]float64(nil), data...)))))
	}
	x, dy := node("x", in.Q), node("dy", in.DOut)
	cfg := Config{Causal: true, Devices: 3, Layout: shard.Zigzag}
	first, _, err := Apply(x, x, x, cfg)
	if err != nil {
		t.Fatal(err)
	}
	second, _, err := Apply(first, x, first, cfg)
	if err != nil {
		t.Fatal(err)
	}
	grads, err := gorgonia.Backpropagate(gorgonia.Nodes{second}, gorgonia.Nodes{dy}, gorgonia.Nodes{x})
	if err != nil {
		t.Fatal(err)
	}
	machine := gorgonia.NewTapeMachine(g)
	defer closing(t, machine)
	if err := machine.RunAll(); err != nil {
		t.Fatal(err)
	}

	self := in
	self.K, self.V, self.DOut = in.Q, in.Q, nil
	mid := in
	mid.Q, mid.K, mid.V = Dense(self).Out, in.Q, Dense(self).Out
	outer := Dense(mid)
	self.DOut = sum(outer.DQ, outer.DV)
	inner := Dense(self)
	got := DenseResult{Out: second.Value().Data().([]float64), DQ: grads[0].Value().Data().([]float64)}
	want := DenseResult{Out: outer.Out, DQ: sum(outer.DK, inner.DQ, inner.DK, inner.DV)}
	requireEqual(t, "stacked", got, want)
}

func sum(xs ...[]float64) []float64 {
	out := make([]float64, len(xs[0]))
	for _, x := range xs {
		for i, v := range x {
			out[i] += v
		}
	}
	return out
}

func TestInputsMayBeViewsAndTransposed(t *testing.T) {
	in := problem(4, DenseInputs{Batch: 1, Tokens: 6, Heads: 1, KVHeads: 1, Dim: 4, ValueDim: 4, Causal: true})
	want := Dense(in)
	transposed := func(x []float64) *tensor.Dense {
		d := tensor.New(tensor.WithShape(4, 6), tensor.WithBacking(make([]float64, 24)))
		for i := range 6 {
			for j := range 4 {
				d.Float64s()[j*6+i] = x[i*4+j]
			}
		}
		if err := d.T(); err != nil {
			t.Fatal(err)
		}
		return d
	}
	window := func(x []float64) *tensor.Dense {
		wide := make([]float64, 8*7)
		for i := range 6 {
			copy(wide[(i+1)*7+2:], x[i*4:][:4])
		}
		v, err := tensor.New(tensor.WithShape(8, 7), tensor.WithBacking(wide)).Slice(tensor.S(1, 7), tensor.S(2, 6))
		if err != nil {
			t.Fatal(err)
		}
		return v.(*tensor.Dense)
	}
	plain := func(x []float64) *tensor.Dense { return tensor.New(tensor.WithShape(6, 4), tensor.WithBacking(x)) }
	for name, form := range map[string]func([]float64) *tensor.Dense{"transposed": transposed, "view": window, "plain": plain} {
		x, err := newGraph(in, in.Tokens, 2, Config{Devices: 2})
		if err != nil {
			t.Fatal(err)
		}
		out, err := x.op.Do(form(in.Q), form(in.K), form(in.V))
		if err != nil {
			t.Fatal(err)
		}
		grads, err := x.op.backward([]gorgonia.Value{form(in.Q), form(in.K), form(in.V)}, form(in.DOut))
		if err != nil {
			t.Fatal(err)
		}
		got := DenseResult{Out: out.Data().([]float64), LSE: x.op.LSE(), DQ: grads[0].Float64s(), DK: grads[1].Float64s(), DV: grads[2].Float64s()}
		requireEqual(t, name, got, want)
	}
}

func TestOnlyOneGradientIsAskedForAndTheRingStillGoesRoundOnce(t *testing.T) {
	in := problem(5, gqa)
	x := fresh(t, in, Config{Devices: 2})
	x.bind(in)
	grads, err := gorgonia.Backpropagate(gorgonia.Nodes{x.out}, gorgonia.Nodes{x.dOut}, gorgonia.Nodes{x.v})
	if err != nil {
		t.Fatal(err)
	}
	prog, loc, err := gorgonia.CompileFunction(x.g, gorgonia.Nodes{x.q, x.k, x.v, x.dOut}, grads)
	if err != nil {
		t.Fatal(err)
	}
	machine := gorgonia.NewTapeMachine(x.g, gorgonia.WithPrecompiled(prog, loc))
	defer closing(t, machine)
	if err := machine.RunAll(); err != nil {
		t.Fatal(err)
	}
	requireEqual(t, "dV alone", DenseResult{DV: grads[0].Value().Data().([]float64)}, DenseResult{DV: Dense(in).DV})
	if f, b := x.op.Counts(); f != 1 || b != 1 {
		t.Errorf("%d forwards, %d backwards, want 1 and 1", f, b)
	}
}

func TestHashCoversEveryField(t *testing.T) {
	x := fresh(t, gqa, Config{Devices: 2})
	hashes := map[string]bool{}
	base := x.op
	for i, change := range []func(*Op){
		func(*Op) {},
		func(o *Op) { o.id++ },
		func(o *Op) { o.dtype = tensor.Float32 },
		func(o *Op) { o.cfg.Causal = !o.cfg.Causal },
		func(o *Op) { o.cfg.Layout = shard.Striped },
		func(o *Op) { o.cfg.SeqLen = 99 },
		func(o *Op) { o.cfg.Devices = 3 },
		func(o *Op) { o.geo.call.Scale = 3 },
		func(o *Op) { o.geo.call.Heads = 6 },
		func(o *Op) { o.geo.call.KVHeads = 4 },
		func(o *Op) { o.geo.call.Batch = 2 },
		func(o *Op) { o.geo.q = tensor.Shape{1, 2, 3} },
	} {
		o := Op{cfg: base.cfg, geo: base.geo, dims: base.dims, dtype: base.dtype, id: base.id}
		change(&o)
		h := fmt.Sprint(o.Hashcode())
		if hashes[h] {
			t.Errorf("change %d does not change the hash", i)
		}
		hashes[h] = true
	}
}
