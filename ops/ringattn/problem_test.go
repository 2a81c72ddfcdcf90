package ringattn

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// problem returns random inputs of the given sizes.
func problem(seed uint64, in DenseInputs) DenseInputs {
	r := rand.New(rand.NewPCG(seed, 7))
	normal := func(n int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = r.NormFloat64()
		}
		return x
	}
	n := in.Batch * in.Tokens
	in.Q, in.K = normal(n*in.Heads*in.Dim), normal(n*in.KVHeads*in.Dim)
	in.V, in.DOut = normal(n*in.KVHeads*in.ValueDim), normal(n*in.Heads*in.ValueDim)
	return in
}

var gqa = DenseInputs{Batch: 1, Tokens: 13, Heads: 4, KVHeads: 2, Dim: 3, ValueDim: 5, Causal: true}

// graph is one graph with one attention, on nodes of 2, 3 or 4 dimensions.
type graph struct {
	g             *gorgonia.ExprGraph
	q, k, v, dOut *gorgonia.Node
	op            *Op
	out           *gorgonia.Node
	grads         gorgonia.Nodes
	machine       gorgonia.VM
}

// nodeShape is the shape of a node with the given heads and width over so many rows per sequence.
func nodeShape(dims, batch, rows, heads, width int) tensor.Shape {
	switch dims {
	case 2:
		return tensor.Shape{batch * rows, heads * width}
	case 3:
		return tensor.Shape{rows, heads, width}
	}
	return tensor.Shape{batch, rows, heads, width}
}

// newGraph builds the graph for nodes that hold the given rows of each sequence.
func newGraph(in DenseInputs, rows, dims int, cfg Config) (*graph, error) {
	x := &graph{g: gorgonia.NewGraph()}
	node := func(name string, heads, width int) *gorgonia.Node {
		return gorgonia.NewTensor(x.g, tensor.Float64, dims, gorgonia.WithName(name),
			gorgonia.WithShape(nodeShape(dims, in.Batch, rows, heads, width)...))
	}
	x.q, x.k = node("q", in.Heads, in.Dim), node("k", in.KVHeads, in.Dim)
	x.v, x.dOut = node("v", in.KVHeads, in.ValueDim), node("dOut", in.Heads, in.ValueDim)
	if dims == 2 {
		cfg.NumHeads, cfg.NumKVHeads, cfg.Batch = in.Heads, in.KVHeads, in.Batch
	}
	cfg.Causal = in.Causal
	err := ops.Build(func() (err error) {
		if x.out, x.op, err = Apply(x.q, x.k, x.v, cfg); err != nil {
			return err
		}
		x.grads, err = gorgonia.Backpropagate(gorgonia.Nodes{x.out}, gorgonia.Nodes{x.dOut}, gorgonia.Nodes{x.q, x.k, x.v})
		if err == nil {
			x.machine = gorgonia.NewTapeMachine(x.g)
		}
		return err
	})
	return x, err
}

// bind gives the nodes new tensors of the rows in.
func (x *graph) bind(in DenseInputs) {
	for _, b := range []struct {
		n    *gorgonia.Node
		data []float64
	}{{x.q, in.Q}, {x.k, in.K}, {x.v, in.V}, {x.dOut, in.DOut}} {
		let(b.n, b.data)
	}
}

// let binds a copy of the data to a node.
func let(n *gorgonia.Node, data []float64) {
	t := tensor.New(tensor.WithShape(n.Shape()...), tensor.WithBacking(slices.Clone(data)))
	if err := gorgonia.Let(n, t); err != nil {
		panic(err)
	}
}

func closing(t *testing.T, machine gorgonia.VM) {
	if err := machine.Close(); err != nil {
		t.Error(err)
	}
}

// run runs the graph once on the rows in.
func (x *graph) run(in DenseInputs) (DenseResult, error) {
	x.bind(in)
	defer x.machine.Reset()
	if err := x.machine.RunAll(); err != nil {
		return DenseResult{}, err
	}
	data := func(n *gorgonia.Node) []float64 { return append([]float64(nil), n.Value().Data().([]float64)...) }
	return DenseResult{Out: data(x.out), LSE: x.op.LSE(), DQ: data(x.grads[0]), DK: data(x.grads[1]), DV: data(x.grads[2])}, nil
}

// spmd runs the problem with a graph on every rank of a local ring and puts the parts together.
func spmd(in DenseInputs, size, dims int, layout shard.Layout) (DenseResult, error) {
	s, err := in.Config(Config{Layout: layout}).Sharding(in.Tokens, size)
	if err != nil {
		return DenseResult{}, err
	}
	n := in.Batch * in.Tokens
	all := DenseResult{
		Out: make([]float64, n*in.Heads*in.ValueDim), LSE: make([]float64, n*in.Heads),
		DQ: make([]float64, len(in.Q)), DK: make([]float64, len(in.K)), DV: make([]float64, len(in.V)),
	}
	err = local.Run(context.Background(), size, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		rows := max(s.Len(c.Rank()), 1) // an empty shard is a row that does not count
		x, err := newGraph(in, rows, dims, Config{Layout: layout, SeqLen: in.Tokens, Comm: c, Context: ctx})
		if err != nil {
			return err
		}
		part := slice(in, s, c.Rank())
		r, err := x.run(part)
		if err != nil {
			return err
		}
		if s.Len(c.Rank()) > 0 {
			join(all, r, in, s, c.Rank())
		} else if magnitude(r.Out)+magnitude(r.DQ)+magnitude(r.DK)+magnitude(r.DV) != 0 {
			return fmt.Errorf("rank %d has no rows, but output or gradients", c.Rank())
		}
		return nil
	})
	return all, err
}

// slice cuts a rank's rows out of a problem; a rank without any gets one row of sevens.
func slice(in DenseInputs, s shard.Sharding, rank int) DenseInputs {
	cut := func(x []float64, width int) (out []float64) {
		n := in.Tokens * width
		for b := range in.Batch {
			out = append(out, shard.Scatter(s, rank, x[b*n:][:n], width)...)
			for range width * max(1-s.Len(rank), 0) {
				out = append(out, 7)
			}
		}
		return out
	}
	part := in
	part.Q, part.K = cut(in.Q, in.Heads*in.Dim), cut(in.K, in.KVHeads*in.Dim)
	part.V, part.DOut = cut(in.V, in.KVHeads*in.ValueDim), cut(in.DOut, in.Heads*in.ValueDim)
	return part
}

// join writes a rank's rows into the whole result.
func join(all, r DenseResult, in DenseInputs, s shard.Sharding, rank int) {
	paste := func(to, from []float64, blocks, width int) {
		n, m := in.Tokens*width, s.Len(rank)*width
		for b := range blocks {
			shard.Gather(s, rank, from[b*m:][:m], to[b*n:][:n], width)
		}
	}
	paste(all.Out, r.Out, in.Batch, in.Heads*in.ValueDim)
	paste(all.LSE, r.LSE, in.Batch*in.Heads, 1)
	paste(all.DQ, r.DQ, in.Batch, in.Heads*in.Dim)
	paste(all.DK, r.DK, in.Batch, in.KVHeads*in.Dim)
	paste(all.DV, r.DV, in.Batch, in.KVHeads*in.ValueDim)
}

func magnitude(x []float64) (top float64) {
	for _, v := range x {
		top = max(top, math.Abs(v))
	}
	return top
}

// requireEqual wants got to be want up to 1e-12 of each tensor's largest entry.
func requireEqual(t *testing.T, what string, got, want DenseResult) {
	t.Helper()
	for _, c := range []struct {
		name      string
		got, want []float64
	}{{"out", got.Out, want.Out}, {"lse", got.LSE, want.LSE}, {"dq", got.DQ, want.DQ}, {"dk", got.DK, want.DK}, {"dv", got.DV, want.DV}} {
		if len(c.got) != len(c.want) {
			t.Errorf("%s: %s has %d elements, want %d", what, c.name, len(c.got), len(c.want))
			continue
		}
		for i := range c.want {
			if d := math.Abs(c.got[i] - c.want[i]); !(d <= 1e-12*magnitude(c.want)) {
				t.Errorf("%s: %s[%d] is %v, want %v", what, c.name, i, c.got[i], c.want[i])
				break
			}
		}
	}
}
