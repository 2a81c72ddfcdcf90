package bench

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

const (
	float64Name  = "float64"
	bfloat16Name = "bfloat16" // products of attention in it, on float32
)

func checkDType(name string) error {
	if name != "float32" && name != float64Name {
		return fmt.Errorf("bench: dtype %q: give float32 or float64", name)
	}
	return nil
}

// drawn is the most numbers that normal draws.
const drawn = 1 << 22

// normal returns n standard normal numbers, the same for the same seed, and the first of them again after each drawn.
func normal[T kernel.Float](n int, seed uint64) []T {
	random := rand.New(rand.NewPCG(seed, 0))
	x := make([]T, n)
	for i := range min(n, drawn) {
		x[i] = T(random.NormFloat64())
	}
	for i := drawn; i < n; i += drawn {
		copy(x[i:], x[:drawn])
	}
	return x
}

// work is attention in one of its two forms. A backward belongs to the forward before it.
type work interface {
	forward(context.Context) error
	backward(context.Context) error
}

func newWork[T kernel.Float](a Attention, ranks int) (work, error) {
	if ranks == 1 {
		return newAlone[T](a)
	}
	return newRanks[T](a, ranks)
}

// alone calls the kernel for the whole sequence, as a ring of one does.
type alone[T kernel.Float] struct {
	kernel kernel.Attention[T]
	block  kernel.Block
	carry  kernel.Carry[T]
	in     kernel.Inputs[T]
	out    []T
	grads  kernel.Gradients[T]
}

func newAlone[T kernel.Float](a Attention) (*alone[T], error) {
	rows, q, kv := a.Heads*a.Seq, a.Heads*a.Seq*a.HeadDim, a.KVHeads*a.Seq*a.HeadDim
	positions := []kernel.Segment{{Start: 0, Stride: 1, Count: a.Seq}}
	w := &alone[T]{
		kernel: cpu.New[T](),
		block: kernel.Block{
			Heads: a.Heads, KVHeads: a.KVHeads, Dim: a.HeadDim, ValueDim: a.HeadDim, Scale: a.call(shard.Sharding{}).Scale, Mask: a.mask(),
			Rows: positions, Cols: positions,
		},
		carry: kernel.Carry[T]{O: make([]T, q), M: make([]T, rows), L: make([]T, rows), Low: make([]T, rows)},
		in:    kernel.Inputs[T]{Q: normal[T](q, 1), K: normal[T](kv, 2), V: normal[T](kv, 3), DOut: normal[T](q, 4), LSE: make([]T, rows), Delta: make([]T, rows)},
		out:   make([]T, q),
		grads: kernel.Gradients[T]{DQ: make([]T, q), DK: make([]T, kv), DV: make([]T, kv)},
	}
	w.in.LSELow = w.carry.Low
	return w, w.narrow(a)
}

// narrow takes the kernel of bfloat16, and keys and values as it wants them, where a asks for it.
func (w *alone[T]) narrow(a Attention) error {
	if a.DType != bfloat16Name {
		return nil
	}
	k, err := cpu.NewBFloat16()
	if err != nil {
		return err
	}
	w.kernel = any(k).(kernel.Attention[T])
	packer := w.kernel.(kernel.Packer[T])
	for _, x := range []*[]T{&w.in.K, &w.in.V} {
		packed := make([]T, packer.PackedLen(len(*x)))
		packer.Pack(packed, *x)
		*x = packed
	}
	return nil
}

func (w *alone[T]) forward(context.Context) error {
	w.carry.Reset()
	w.kernel.Forward(w.carry, w.in.Q, w.in.K, w.in.V, w.block)
	w.kernel.Finish(w.carry, w.out, w.in.LSE, w.block)
	return nil
}

func (w *alone[T]) backward(context.Context) error {
	for _, g := range [][]T{w.grads.DQ, w.grads.DK, w.grads.DV} {
		clear(g)
	}
	w.kernel.Delta(w.out, w.in.DOut, w.in.Delta, w.block)
	w.kernel.Backward(w.grads, w.in, w.block)
	return nil
}

// ranks goes round a ring in this process.
type ranks[T kernel.Float] struct {
	call  ring.Call
	in    []ring.Inputs[T] // by rank
	dOut  [][]T
	saved []*ring.Saved[T]
}

func newRanks[T kernel.Float](a Attention, n int) (*ranks[T], error) {
	s, err := shard.New(a.Layout, a.Seq, n)
	if err != nil {
		return nil, err
	}
	w := &ranks[T]{call: a.call(s), saved: make([]*ring.Saved[T], n)}
	for rank := range n {
		q, kv := s.Len(rank)*a.Heads*a.HeadDim, s.Len(rank)*a.KVHeads*a.HeadDim
		seed := uint64(4 * rank)
		w.in = append(w.in, ring.Inputs[T]{Q: normal[T](q, seed+1), K: normal[T](kv, seed+2), V: normal[T](kv, seed+3)})
		w.dOut = append(w.dOut, normal[T](q, seed+4))
	}
	return w, nil
}

// each runs f for all ranks at once.
func (w *ranks[T]) each(ctx context.Context, f func(ctx context.Context, i int, r *ring.Rank[T]) error) error {
	return local.Run(ctx, len(w.in), dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		r, err := ring.NewRank[T](c, w.call)
		if err != nil {
			return err
		}
		return f(ctx, c.Rank(), r)
	})
}

func (w *ranks[T]) forward(ctx context.Context) error {
	return w.each(ctx, func(ctx context.Context, i int, r *ring.Rank[T]) (err error) {
		w.saved[i], err = r.Forward(ctx, w.in[i])
		return err
	})
}

func (w *ranks[T]) backward(ctx context.Context) error {
	return w.each(ctx, func(ctx context.Context, i int, r *ring.Rank[T]) error {
		_, err := r.Backward(ctx, w.in[i], w.saved[i], w.dOut[i])
		return err
	})
}
