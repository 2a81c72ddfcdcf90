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
	forward(ctx context.Context, in []gorgonia.Value) (gorgonia.Value, error)
	replay(s Saved) (gorgonia.Value, error)
	backward(ctx context.Context, in []gorgonia.Value, dOut gorgonia.Value) ([3]*tensor.Dense, error)
	saved() Saved
	lse() []float64
	sent() Ledger
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
	e := &rings[T]{geo: geo, comm: cfg.Comm, size: max(cfg.Devices, 1), ledger: Ledger{}}
	if e.size == 1 {
		var err error
		if e.alone, err = ring.NewRank[T](cfg.Comm, geo.call); err != nil {
			return nil, fmt.Errorf("ringattn: %w", err)
		}
	}
	return e, nil
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

func (e *rings[T]) forward(ctx context.Context, in []gorgonia.Value) (gorgonia.Value, error) {
	data, err := e.inputs(in)
	if err != nil {
		return nil, err
	}
	saved := make([]*ring.Saved[T], e.size)
	err = e.each(ctx, []dist.Kind{dist.ForwardKV}, func(ctx context.Context, i int, r *ring.Rank[T]) (err error) {
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
	out := e.room(e.geo.out.TotalSize())
	for i, s := range e.last {
		e.put(i, &out, s.Out(), c.Heads*c.ValueDim)
	}
	return newTensor(e.geo.out, out)
}

func (e *rings[T]) backward(ctx context.Context, in []gorgonia.Value, dOut gorgonia.Value) (grads [3]*tensor.Dense, err error) {
	data, err := e.inputs(in)
	if err != nil {
		return grads, err
	}
	d, err := elements[T]("the gradient of the output", dOut, e.geo.out)
	if err != nil {
		return grads, err
	}
	c := e.geo.call
	dq, dk, dv := e.room(len(data.Q)), e.room(len(data.K)), e.room(len(data.V))
	kinds := []dist.Kind{dist.BackwardKV, dist.BackwardDKV}
	err = e.each(ctx, kinds, func(ctx context.Context, i int, r *ring.Rank[T]) error {
		g, err := r.Backward(ctx, e.local(i, data), e.last[i], e.rows(i, d, c.Heads*c.ValueDim))
		if err != nil {
			return err
		}
		e.put(i, &dq, g.DQ, c.Heads*c.Dim)
		e.put(i, &dk, g.DK, c.KVHeads*c.Dim)
		e.put(i, &dv, g.DV, c.KVHeads*c.ValueDim)
		return nil
	})
	if err != nil {
		return grads, err
	}
	return [3]*tensor.Dense{newTensor(e.geo.q, dq), newTensor(e.geo.k, dk), newTensor(e.geo.v, dv)}, nil
}

// inputs reads q, k and v.
func (e *rings[T]) inputs(in []gorgonia.Value) (data ring.Inputs[T], err error) {
	for _, x := range []struct {
		name string
		to   *[]T
		v    gorgonia.Value
		want tensor.Shape
	}{{"q", &data.Q, in[0], e.geo.q}, {"k", &data.K, in[1], e.geo.k}, {"v", &data.V, in[2], e.geo.v}} {
		if *x.to, err = elements[T](x.name, x.v, x.want); err != nil {
			return ring.Inputs[T]{}, err
		}
	}
	return data, nil
}

func (e *rings[T]) local(i int, in ring.Inputs[T]) ring.Inputs[T] {
	c := e.geo.call
	return ring.Inputs[T]{
		Q: e.rows(i, in.Q, c.Heads*c.Dim), K: e.rows(i, in.K, c.KVHeads*c.Dim), V: e.rows(i, in.V, c.KVHeads*c.ValueDim),
	}
}

// rows cuts rank i's rows out of an array of the graph, [B, rows, width].
func (e *rings[T]) rows(i int, x []T, width int) []T {
	switch {
	case e.geo.pad:
		return nil
	case e.size == 1:
		return x
	}
	n := e.geo.rows * width
	var out []T
	for b := range e.geo.call.Batch {
		out = append(out, shard.Scatter(e.geo.call.Sharding, i, x[b*n:][:n], width)...)
	}
	return out
}

// room is an array of the graph for put to write to; none is needed where one rank has all rows.
func (e *rings[T]) room(n int) []T {
	if e.takesOver() {
		return nil
	}
	return make([]T, n)
}

// takesOver reports whether the rows of the one rank are the array of the graph.
func (e *rings[T]) takesOver() bool { return e.size == 1 && !e.geo.pad }

// put writes rank i's rows, which nobody else holds, into an array of the graph. Different ranks write different rows.
func (e *rings[T]) put(i int, x *[]T, rows []T, width int) {
	switch {
	case e.takesOver():
		*x = rows
		return
	case e.size == 1:
		return // a rank without rows
	}
	s := e.geo.call.Sharding
	n, m := e.geo.rows*width, s.Len(i)*width
	for b := range e.geo.call.Batch {
		shard.Gather(s, i, rows[b*m:][:m], (*x)[b*n:][:n], width)
	}
}
