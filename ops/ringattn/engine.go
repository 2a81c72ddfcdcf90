package ringattn

import (
	"context"
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// engine runs the passes of one op for one element type.
type engine interface {
	forward(ctx context.Context, in []gorgonia.Value, at moment) (gorgonia.Value, error)
	replay(s Saved) (gorgonia.Value, error)
	backward(ctx context.Context, in []gorgonia.Value, dOut gorgonia.Value) ([]*tensor.Dense, error)
	// reshape replaces the geometry by one whose nodes have the same shapes.
	reshape(geo geometry) error
	saved() Saved
	lse() []float64
	sent() Ledger
}

// moment is what dropout depends on from run to run.
type moment struct {
	step    uint64
	layer   int
	keepAll bool
}

// rings is the engine: the rank of one communicator (SPMD), or all ranks of a ring in this process (Devices).
type rings[T kernel.Float] struct {
	geo   geometry
	comm  *dist.Comm
	size  int           // ranks run here: 1, or Devices
	alone *ring.Rank[T] // the SPMD rank

	last []*ring.Saved[T] // by rank run here; replaced, never written

	mu     sync.Mutex
	ledger Ledger
}

func newEngine[T kernel.Float](geo geometry, cfg Config) (engine, error) {
	e := &rings[T]{comm: cfg.Comm, size: max(cfg.Devices, 1), ledger: Ledger{}}
	return e, e.reshape(geo)
}

func (e *rings[T]) reshape(geo geometry) (err error) {
	if e.size == 1 {
		if e.alone, err = ring.NewRank[T](e.comm, geo.call); err != nil {
			return fmt.Errorf("ringattn: %w", err)
		}
	}
	e.geo = geo
	return nil
}

// each runs f for the ranks of this process, each on its goroutine, and enters what they sent into the ledger in place
// of the last entries of the given kinds.
func (e *rings[T]) each(ctx context.Context, kinds []dist.Kind, f func(ctx context.Context, i int, r *ring.Rank[T]) error) error {
	e.mu.Lock()
	for _, k := range kinds {
		delete(e.ledger, k)
	}
	e.mu.Unlock()
	if e.size == 1 {
		return e.counted(e.comm, kinds, func() error { return f(ctx, 0, e.alone) })
	}
	return local.Run(ctx, e.size, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		r, err := ring.NewRank[T](c, e.geo.call)
		if err != nil {
			return err
		}
		return e.counted(c, kinds, func() error { return f(ctx, c.Rank(), r) })
	})
}

// The kinds of each pass, for the ledger.
var (
	forwardKinds = []dist.Kind{
		dist.ForwardKV, dist.ForwardKVOuter, dist.ForwardQ, dist.ForwardQOuter, dist.ForwardCarry, dist.ForwardCarryOuter, dist.Ulysses,
	}
	backwardKinds = []dist.Kind{
		dist.BackwardKV, dist.BackwardKVOuter, dist.BackwardDKV, dist.BackwardDKVOuter,
		dist.BackwardQ, dist.BackwardQOuter, dist.BackwardDQ, dist.BackwardDQOuter, ulyssesBackward,
	}
)

// ulyssesBackward is where a Ledger has what Ulysses exchanged in the backward pass.
const ulyssesBackward dist.Kind = "ulysses_backward"

func (e *rings[T]) forward(ctx context.Context, in []gorgonia.Value, at moment) (gorgonia.Value, error) {
	data, err := e.inputs(in)
	if err != nil {
		return nil, err
	}
	data.Step, data.Layer, data.KeepAll = at.step, at.layer, at.keepAll
	saved := make([]*ring.Saved[T], e.size)
	err = e.each(ctx, forwardKinds, func(ctx context.Context, i int, r *ring.Rank[T]) (err error) {
		saved[i], err = r.Forward(ctx, e.local(i, data))
		return err
	})
	if err != nil {
		return nil, err
	}
	e.last = saved
	return e.output(), nil
}

// output lays the saved outputs out as a node of the graph, in memory that the graph may overwrite.
func (e *rings[T]) output() gorgonia.Value {
	c := e.geo.call
	q := e.side(e.geo.queries)
	out := q.room(e.geo.out.TotalSize())
	for i, s := range e.last {
		q.put(i, &out, s.Out(), c.Heads*c.ValueDim)
	}
	return newTensor(e.geo.out, out)
}

// backward returns dQ, dK, dV and, with sinks, dSinks.
func (e *rings[T]) backward(ctx context.Context, in []gorgonia.Value, dOut gorgonia.Value) ([]*tensor.Dense, error) {
	data, err := e.inputs(in)
	if err != nil {
		return nil, err
	}
	d, err := elements[T]("the gradient of the output", dOut, e.geo.out)
	if err != nil {
		return nil, err
	}
	c := e.geo.call
	q, kv := e.side(e.geo.queries), e.side(e.geo.keys)
	dq, dk, dv := q.room(len(data.Q)), kv.room(len(data.K)), kv.room(len(data.V))
	sinks := make([][]T, e.size)
	err = e.each(ctx, backwardKinds, func(ctx context.Context, i int, r *ring.Rank[T]) error {
		g, err := r.Backward(ctx, e.local(i, data), e.last[i], q.rows(i, d, c.Heads*c.ValueDim))
		if err != nil {
			return err
		}
		q.put(i, &dq, g.DQ, c.Heads*c.Dim)
		kv.put(i, &dk, g.DK, c.KVHeads*c.Dim)
		kv.put(i, &dv, g.DV, c.KVHeads*c.ValueDim)
		sinks[i] = g.DSinks
		return nil
	})
	if err != nil {
		return nil, err
	}
	grads := []*tensor.Dense{newTensor(e.geo.q, dq), newTensor(e.geo.k, dk), newTensor(e.geo.v, dv)}
	if c.Sinks {
		grads = append(grads, newTensor(tensor.Shape{c.Heads}, sumOf(sinks, c.Heads)))
	}
	return grads, nil
}

// sumOf adds up what the ranks give, in their order.
func sumOf[T kernel.Float](ranks [][]T, n int) []T {
	sum := make([]float64, n)
	for _, r := range ranks {
		for i, x := range r {
			sum[i] += float64(x)
		}
	}
	return round[T](sum)
}

// inputs reads q, k, v and the sinks.
func (e *rings[T]) inputs(in []gorgonia.Value) (data ring.Inputs[T], err error) {
	type input struct {
		name string
		to   *[]T
		v    gorgonia.Value
		want tensor.Shape
	}
	all := []input{{"q", &data.Q, in[0], e.geo.q}, {"k", &data.K, in[1], e.geo.k}, {"v", &data.V, in[2], e.geo.v}}
	if e.geo.call.Sinks {
		all = append(all, input{"Sinks", &data.Sinks, in[3], tensor.Shape{e.geo.call.Heads}})
	}
	for _, x := range all {
		if *x.to, err = elements[T](x.name, x.v, x.want); err != nil {
			return ring.Inputs[T]{}, err
		}
	}
	return data, nil
}

func (e *rings[T]) local(i int, in ring.Inputs[T]) ring.Inputs[T] {
	c := e.geo.call
	q, kv := e.side(e.geo.queries), e.side(e.geo.keys)
	in.Q, in.K, in.V = q.rows(i, in.Q, c.Heads*c.Dim), kv.rows(i, in.K, c.KVHeads*c.Dim), kv.rows(i, in.V, c.KVHeads*c.ValueDim)
	return in
}

// side is one axis of the arrays of the graph, [B, rows, width], with the ranks that hold its parts.
type side[T kernel.Float] struct {
	axis
	batch, ranks int
}

func (e *rings[T]) side(a axis) side[T] { return side[T]{a, e.geo.call.Batch, e.size} }

// rows cuts rank i's rows out of an array.
func (s side[T]) rows(i int, x []T, width int) []T {
	switch {
	case s.pad:
		return nil
	case s.ranks == 1:
		return x
	}
	n := s.axis.rows * width
	var out []T
	for b := range s.batch {
		out = append(out, shard.Scatter(s.sharding, i, x[b*n:][:n], width)...)
	}
	return out
}

// room is an array for put to write to; none is needed where one rank has all rows.
func (s side[T]) room(n int) []T {
	if s.takesOver() {
		return nil
	}
	return make([]T, n)
}

// takesOver reports whether the rows of the one rank are the array.
func (s side[T]) takesOver() bool { return s.ranks == 1 && !s.pad }

// put writes rank i's rows, which nobody else holds, into an array. Different ranks write different rows.
func (s side[T]) put(i int, x *[]T, rows []T, width int) {
	switch {
	case s.takesOver():
		*x = rows
		return
	case s.ranks == 1:
		return // a rank without rows
	}
	n, m := s.axis.rows*width, s.sharding.Len(i)*width
	for b := range s.batch {
		shard.Gather(s.sharding, i, rows[b*m:][:m], (*x)[b*n:][:n], width)
	}
}
