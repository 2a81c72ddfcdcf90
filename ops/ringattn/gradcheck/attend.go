package gradcheck

import (
	"context"
	"errors"
	"fmt"

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

// session is one graph with one op over a ring in this process, which may be run several times.
type session struct {
	problem       ringattn.DenseInputs
	op            *ringattn.Op
	out           *gorgonia.Node
	q, k, v, dOut *gorgonia.Node
	dq, dk, dv    *gorgonia.Node
	outV          gorgonia.Value
	dqV, dkV, dvV gorgonia.Value
	machine       gorgonia.VM
	dtype         tensor.Dtype
}

// attend runs a problem forward and backward through the op in a graph of its own. The result is in float64 whatever the
// dtype of the run.
func attend(ctx context.Context, in ringattn.DenseInputs, s setup) (ringattn.DenseResult, ringattn.Ledger, error) {
	x, err := newSession(ctx, in, s)
	if err != nil {
		return ringattn.DenseResult{}, nil, err
	}
	defer x.close()
	r, err := x.run()
	return r, x.op.Ledger(), err
}

func newSession(ctx context.Context, in ringattn.DenseInputs, s setup) (x *session, err error) {
	x = &session{problem: in, dtype: tensor.Float64}
	switch s.DType {
	case Float64:
	case Float32:
		x.dtype = tensor.Float32
	default:
		return nil, fmt.Errorf("gradcheck: dtype %q: give %s or %s", s.DType, Float64, Float32)
	}
	err = ops.Build(func() error { return x.build(ctx, s) })
	return x, err
}

func (x *session) build(ctx context.Context, s setup) error {
	in, g := x.problem, gorgonia.NewGraph()
	node := func(name string, data []float64, heads, dim int) *gorgonia.Node {
		shape := tensor.Shape{in.Batch, in.Tokens, heads, dim}
		return gorgonia.NewTensor(g, x.dtype, 4, gorgonia.WithShape(shape...), gorgonia.WithName(name),
			gorgonia.WithValue(x.tensor(data, shape)))
	}
	x.q, x.k = node("q", in.Q, in.Heads, in.Dim), node("k", in.K, in.KVHeads, in.Dim)
	x.v, x.dOut = node("v", in.V, in.KVHeads, in.ValueDim), node("dOut", in.DOut, in.Heads, in.ValueDim)
	var err error
	x.out, x.op, err = ringattn.Apply(x.q, x.k, x.v, ringattn.Config{
		Causal: in.Causal, SoftmaxScale: in.Scale, Layout: s.Layout, Devices: s.Ring, Context: ctx,
	})
	if err != nil {
		return err
	}
	grads, err := gorgonia.Backpropagate(gorgonia.Nodes{x.out}, gorgonia.Nodes{x.dOut}, gorgonia.Nodes{x.q, x.k, x.v})
	if err != nil {
		return fmt.Errorf("gradcheck: gradients of the graph: %w", err)
	}
	x.dq, x.dk, x.dv = grads[0], grads[1], grads[2]
	for _, r := range []struct {
		n  *gorgonia.Node
		to *gorgonia.Value
	}{{x.out, &x.outV}, {x.dq, &x.dqV}, {x.dk, &x.dkV}, {x.dv, &x.dvV}} {
		gorgonia.Read(r.n, r.to)
	}
	x.machine = gorgonia.NewTapeMachine(g)
	return nil
}

// tensor copies data into a tensor of the session's dtype.
func (x *session) tensor(data []float64, shape tensor.Shape) *tensor.Dense {
	return newDense(data, shape, x.dtype)
}

func newDense(data []float64, shape tensor.Shape, dtype tensor.Dtype) *tensor.Dense {
	if dtype == tensor.Float64 {
		return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(append([]float64(nil), data...)))
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
		return ringattn.DenseResult{}, errors.Join(x.op.Err(), hide(err, x.op.Err()))
	}
	return ringattn.DenseResult{
		Out: float64s(x.outV), LSE: x.op.LSE(), DQ: float64s(x.dqV), DK: float64s(x.dkV), DV: float64s(x.dvV),
	}, nil
}

// hide drops gorgonia's wrapping of an error that the op reports better itself.
func hide(wrapped, own error) error {
	if own != nil {
		return nil
	}
	return wrapped
}

func (x *session) close() { x.machine.Close() }

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
	s := Sends{
		ForwardKV: int(l[dist.ForwardKV].Hops), BackwardKV: int(l[dist.BackwardKV].Hops), BackwardDKV: int(l[dist.BackwardDKV].Hops),
	}
	for _, e := range l {
		s.Bytes += int64(e.Bytes)
	}
	return s
}
