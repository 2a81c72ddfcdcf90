package gradcheck

import (
	"context"
	"fmt"
	"slices"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Dtypes that attention is checked in.
const (
	Float64 = "float64"
	Float32 = "float32"
)

// setup is one way to run a problem through the op.
type setup struct {
	Ring   int
	Layout shard.Layout
	DType  string
}

// session is one graph with one op, which may be run several times: over a ring inside of it, or, with a communicator, as
// one rank of a ring.
type session struct {
	problem      ringattn.DenseInputs
	cfg          ringattn.Config
	dtype        tensor.Dtype
	op           *ringattn.Op
	q, k, v, out *gorgonia.Node
	values       [4]gorgonia.Value // of out, dq, dk, dv
	machine      gorgonia.VM
}

// attend runs a problem forward and backward through the op in a graph of its own. The result is in float64 whatever the
// dtype of the run.
func attend(ctx context.Context, in ringattn.DenseInputs, s setup) (ringattn.DenseResult, ringattn.Ledger, error) {
	x, err := newSession(in, s.DType, ringattn.Config{Layout: s.Layout, Devices: s.Ring, Context: ctx})
	if err != nil {
		return ringattn.DenseResult{}, nil, err
	}
	defer x.close()
	r, err := x.run()
	return r, x.op.Ledger(), err
}

// newSession builds the graph of a problem with its gradients.
func newSession(in ringattn.DenseInputs, dtype string, cfg ringattn.Config) (*session, error) {
	x := &session{problem: in, cfg: cfg}
	switch dtype {
	case Float64:
		x.dtype = tensor.Float64
	case Float32:
		x.dtype = tensor.Float32
	default:
		return nil, fmt.Errorf("gradcheck: dtype %q: give %s or %s", dtype, Float64, Float32)
	}
	err := ops.Build(func() error {
		if err := x.build(); err != nil {
			return err
		}
		return x.differentiate()
	})
	return x, err
}

// build adds the attention to a new graph.
func (x *session) build() (err error) {
	in, g := x.problem, gorgonia.NewGraph()
	x.q = x.node(g, "q", in.Q, in.Heads, in.Dim)
	x.k = x.node(g, "k", in.K, in.KVHeads, in.Dim)
	x.v = x.node(g, "v", in.V, in.KVHeads, in.ValueDim)
	cfg := x.cfg
	cfg.Causal, cfg.SoftmaxScale = in.Causal, in.Scale
	x.out, x.op, err = ringattn.Apply(x.q, x.k, x.v, cfg)
	return err
}

func (x *session) node(g *gorgonia.ExprGraph, name string, data []float64, heads, width int) *gorgonia.Node {
	shape := tensor.Shape{x.problem.Batch, x.problem.Tokens, heads, width}
	return gorgonia.NewTensor(g, x.dtype, 4, gorgonia.WithShape(shape...), gorgonia.WithName(name),
		gorgonia.WithValue(newDense(data, shape, x.dtype)))
}

// differentiate adds the gradients and compiles the graph.
func (x *session) differentiate() error {
	in, g := x.problem, x.out.Graph()
	dOut := x.node(g, "dOut", in.DOut, in.Heads, in.ValueDim)
	grads, err := gorgonia.Backpropagate(gorgonia.Nodes{x.out}, gorgonia.Nodes{dOut}, gorgonia.Nodes{x.q, x.k, x.v})
	if err != nil {
		return fmt.Errorf("gradcheck: gradients of the graph: %w", err)
	}
	for i, n := range append(gorgonia.Nodes{x.out}, grads...) {
		gorgonia.Read(n, &x.values[i]) // a node's own value may be overwritten by a later op
	}
	x.machine = gorgonia.NewTapeMachine(g)
	return nil
}

// newDense copies data into a tensor of the dtype.
func newDense(data []float64, shape tensor.Shape, dtype tensor.Dtype) *tensor.Dense {
	if dtype == tensor.Float64 {
		return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(slices.Clone(data)))
	}
	f := make([]float32, len(data))
	for i, v := range data {
		f[i] = float32(v)
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(f))
}

// run runs the graph once.
func (x *session) run() (ringattn.DenseResult, error) {
	defer x.machine.Reset()
	if err := x.machine.RunAll(); err != nil {
		if own := x.op.Err(); own != nil {
			err = own // says what gorgonia's error only wraps
		}
		return ringattn.DenseResult{}, err
	}
	data := func(i int) []float64 { return float64s(x.values[i]) }
	return ringattn.DenseResult{Out: data(0), LSE: x.op.LSE(), DQ: data(1), DK: data(2), DV: data(3)}, nil
}

func (x *session) close() { _ = x.machine.Close() }

// float64s copies the elements of a tensor.
func float64s(v gorgonia.Value) []float64 {
	switch d := v.Data().(type) {
	case []float64:
		return append([]float64(nil), d...)
	case []float32:
		out := make([]float64, len(d))
		for i, f := range d {
			out[i] = float64(f)
		}
		return out
	case float64:
		return []float64{d}
	case float32:
		return []float64{float64(d)}
	}
	return nil
}

// Sends is what one run sent: hops of a rank by kind, and the bytes of all ranks.
type Sends struct {
	ForwardKV   int   `json:"forward_kv"`
	BackwardKV  int   `json:"backward_kv"`
	BackwardDKV int   `json:"backward_dkv"`
	Bytes       int64 `json:"bytes"`
}

func sendsOf(l ringattn.Ledger) Sends {
	s := Sends{ForwardKV: l[dist.ForwardKV].Hops, BackwardKV: l[dist.BackwardKV].Hops, BackwardDKV: l[dist.BackwardDKV].Hops}
	for _, e := range l {
		s.Bytes += e.Bytes
	}
	return s
}
