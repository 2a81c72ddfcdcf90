package gradcheck

import (
	"context"
	"fmt"
	"slices"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Dtypes that attention is checked in.
const (
	Float64 = "float64"
	Float32 = "float32"

	// Arithmetics of float32 nodes, in which golden files alone are checked.
	BFloat16 = "bfloat16"
	Float16  = "float16"
)

// narrow reports whether a dtype is a 16-bit arithmetic of float32 nodes.
func narrow(dtype string) bool { return dtype == BFloat16 || dtype == Float16 }

// setup is one way to run a problem through the op.
type setup struct {
	Ring   int
	Layout shard.Layout
	DType  string
	Way
	Device ring.Device
}

// config is the op's.
func (s setup) config(ctx context.Context) ringattn.Config {
	return ringattn.Config{
		Layout: s.Layout, Devices: s.Ring, Context: ctx, Travel: s.Travel, UlyssesSize: s.Ulysses, InnerRing: s.InnerRing, Device: s.Device,
	}
}

// session is one graph with one op, which may be run several times: over a ring inside of it, or, with a communicator, as
// one rank of a ring.
type session struct {
	problem      ringattn.DenseInputs
	queries      int // rows of the nodes of a sequence
	keys         int
	cfg          ringattn.Config
	dtype        tensor.Dtype
	op           *ringattn.Op
	q, k, v, out *gorgonia.Node
	sinks        *gorgonia.Node
	values       [5]gorgonia.Value // of out, dq, dk, dv, dSinks
	machine      gorgonia.VM
}

// attend runs a problem forward and backward through the op in a graph of its own. The result is in float64 whatever the
// dtype of the run. It is an error if the ring sent anything else than planned.
func attend(ctx context.Context, in ringattn.DenseInputs, s setup) (ringattn.DenseResult, Sends, error) {
	x, err := newSession(in, s.DType, s.config(ctx))
	if err != nil {
		return ringattn.DenseResult{}, Sends{}, err
	}
	defer x.close()
	r, err := x.run()
	if err != nil {
		return r, Sends{}, err
	}
	sends, planned := sendsOf(x.op.Ledger()), s.planned(x.op.Plan())
	if exchanged := sends; s.Ulysses > 1 { // of which the plan says nothing
		planned.Ulysses, planned.Bytes = exchanged.Ulysses, exchanged.Bytes
	}
	if sends != planned {
		err = fmt.Errorf("gradcheck: sent %+v, planned %+v", sends, planned)
	}
	return r, sends, err
}

// planned is what a run should send.
func (s setup) planned(p *ring.Plan) Sends {
	element := 8
	if s.DType != Float64 {
		element = 4
	}
	all := ringattn.Ledger{}
	for rank := range s.Ring / max(s.Ulysses, 1) {
		for k, e := range p.Sends(rank, element) {
			sum := all[k]
			sum.Hops, sum.Bytes = max(sum.Hops, e.Hops), sum.Bytes+e.Bytes
			all[k] = sum
		}
	}
	return sendsOf(all)
}

// newSession builds the graph of a problem with its gradients.
func newSession(in ringattn.DenseInputs, dtype string, cfg ringattn.Config) (*session, error) {
	return newSessionOf(in, in.Queries(), in.Tokens, dtype, cfg)
}

// newSessionOf builds the graph over so many of a problem's queries and keys, which are the data of in.
func newSessionOf(in ringattn.DenseInputs, queries, keys int, dtype string, cfg ringattn.Config) (*session, error) {
	x := &session{problem: in, queries: queries, keys: keys, cfg: cfg}
	switch dtype {
	case Float64:
		x.dtype = tensor.Float64
	case Float32:
		x.dtype = tensor.Float32
	case BFloat16, Float16:
		x.dtype, x.cfg.DType = tensor.Float32, ring.DType(dtype)
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
	x.q = x.node(g, "q", in.Q, x.queries, in.Heads, in.Dim)
	x.k = x.node(g, "k", in.K, x.keys, in.KVHeads, in.Dim)
	x.v = x.node(g, "v", in.V, x.keys, in.KVHeads, in.ValueDim)
	cfg := in.Config(x.cfg)
	if in.Sinks != nil {
		x.sinks = gorgonia.NewVector(g, x.dtype, gorgonia.WithShape(in.Heads), gorgonia.WithName("sinks"),
			gorgonia.WithValue(newDense(in.Sinks, tensor.Shape{in.Heads}, x.dtype)))
		cfg.Sinks = x.sinks
	}
	if x.out, x.op, err = ringattn.Apply(x.q, x.k, x.v, cfg); err != nil {
		return err
	}
	x.op.SetStep(in.Step, 0)
	return nil
}

// inputs are the nodes that have gradients.
func (x *session) inputs() gorgonia.Nodes {
	if x.sinks == nil {
		return gorgonia.Nodes{x.q, x.k, x.v}
	}
	return gorgonia.Nodes{x.q, x.k, x.v, x.sinks}
}

func (x *session) node(g *gorgonia.ExprGraph, name string, data []float64, rows, heads, width int) *gorgonia.Node {
	shape := tensor.Shape{x.problem.Batch, rows, heads, width}
	return gorgonia.NewTensor(g, x.dtype, 4, gorgonia.WithShape(shape...), gorgonia.WithName(name),
		gorgonia.WithValue(newDense(data, shape, x.dtype)))
}

// differentiate adds the gradients and compiles the graph.
func (x *session) differentiate() error {
	in, g := x.problem, x.out.Graph()
	dOut := x.node(g, "dOut", in.DOut, x.queries, in.Heads, in.ValueDim)
	grads, err := gorgonia.Backpropagate(gorgonia.Nodes{x.out}, gorgonia.Nodes{dOut}, x.inputs())
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
	r := ringattn.DenseResult{Out: data(0), LSE: x.op.LSE(), DQ: data(1), DK: data(2), DV: data(3)}
	if x.sinks != nil {
		r.DSinks = data(4)
	}
	return r, nil
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

// Sends is what one run sent: hops of a rank by kind, and the bytes of all ranks. The outer hops of a double ring count as their kind.
type Sends struct {
	ForwardKV    int   `json:"forward_kv"`
	BackwardKV   int   `json:"backward_kv"`
	BackwardDKV  int   `json:"backward_dkv"`
	ForwardQ     int   `json:"forward_q,omitempty"`
	ForwardCarry int   `json:"forward_carry,omitempty"`
	BackwardQ    int   `json:"backward_q,omitempty"`
	BackwardDQ   int   `json:"backward_dq,omitempty"`
	Ulysses      int   `json:"ulysses,omitempty"`
	Bytes        int64 `json:"bytes"`
}

// hops are the most of one kind. Ulysses' exchanges are not hops of the ring.
func (s Sends) hops() int {
	return max(s.ForwardKV, s.BackwardKV, s.BackwardDKV, s.ForwardQ, s.ForwardCarry, s.BackwardQ, s.BackwardDQ)
}

func sendsOf(l ringattn.Ledger) Sends {
	hops := func(k dist.Kind) int { return l[k].Hops + l[k.Outer()].Hops }
	s := Sends{
		ForwardKV: hops(dist.ForwardKV), BackwardKV: hops(dist.BackwardKV), BackwardDKV: hops(dist.BackwardDKV),
		ForwardQ: hops(dist.ForwardQ), ForwardCarry: hops(dist.ForwardCarry), BackwardQ: hops(dist.BackwardQ), BackwardDQ: hops(dist.BackwardDQ),
		Ulysses: hops(dist.Ulysses),
	}
	for _, e := range l {
		s.Bytes += e.Bytes
	}
	return s
}
