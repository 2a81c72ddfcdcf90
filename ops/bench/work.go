package bench

import (
	"context"
	"fmt"
	"math"
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

// Seeds of what all ranks share.
const (
	sinkSeed    = 1 << 32
	dropoutSeed = 1
)

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
	dSinks []float64
}

func newAlone[T kernel.Float](a Attention) (*alone[T], error) {
	m, err := a.mask()
	if err != nil {
		return nil, err
	}
	rows, keys := a.Heads*a.Seq, a.KVHeads*a.Seq
	q, k, v, out := rows*a.HeadDim, keys*a.HeadDim, keys*a.valueDim(), rows*a.valueDim()
	positions := []kernel.Segment{{Start: 0, Stride: 1, Count: a.Seq}}
	call := a.call(shard.Sharding{}, m)
	w := &alone[T]{
		kernel: cpu.New[T](),
		block: kernel.Block{
			Heads: a.Heads, KVHeads: a.KVHeads, Dim: a.HeadDim, ValueDim: a.valueDim(), Scale: call.Scale, Mask: m,
			Softcap: a.Softcap, Slopes: call.Slopes, Dropout: a.drops(), Rows: positions, Cols: positions,
		},
		carry: kernel.Carry[T]{O: make([]T, out), M: make([]T, rows), L: make([]T, rows), Low: make([]T, rows)},
		in:    kernel.Inputs[T]{Q: normal[T](q, 1), K: normal[T](k, 2), V: normal[T](v, 3), DOut: normal[T](out, 4), LSE: make([]T, rows), Delta: make([]T, rows)},
		out:   make([]T, out),
		grads: kernel.Gradients[T]{DQ: make([]T, q), DK: make([]T, k), DV: make([]T, v)},
	}
	if a.Sinks {
		w.block.Sinks, w.dSinks = normal[float64](a.Heads, sinkSeed), make([]float64, a.Heads)
	}
	w.in.LSELow = w.carry.Low
	return w, w.narrow(a)
}

// drops is the kernel's dropout, as a ring has it in step 0.
func (a Attention) drops() kernel.Dropout {
	if a.Dropout == 0 {
		return kernel.Dropout{}
	}
	d := kernel.Dropout{Threshold: kernel.NewThreshold(a.Dropout)}
	for h := range a.Heads {
		d.Keys = append(d.Keys, kernel.DropoutKey(dropoutSeed, 0, 0, h))
	}
	return d
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
	w.sinks()
	return nil
}

// sinks sums their gradients: -exp(sink - lse)·delta over the queries, as a ring does.
func (w *alone[T]) sinks() {
	for h, sink := range w.block.Sinks {
		sum := 0.0
		for i := h * len(w.in.LSE) / w.block.Heads; i < (h+1)*len(w.in.LSE)/w.block.Heads; i++ {
			if math.IsInf(float64(w.in.LSE[i]), -1) {
				continue
			}
			sum -= math.Exp(sink-float64(w.in.LSE[i])-float64(w.in.LSELow[i])) * float64(w.in.Delta[i])
		}
		w.dSinks[h] = sum
	}
}

// ranks goes round a ring in this process.
type ranks[T kernel.Float] struct {
	call  ring.Call
	in    []ring.Inputs[T] // by rank
	dOut  [][]T
	saved []*ring.Saved[T]
}

func newRanks[T kernel.Float](a Attention, n int) (*ranks[T], error) {
	m, err := a.mask()
	if err != nil {
		return nil, err
	}
	s, err := ring.Deal(a.Layout, a.Seq, n, 0, m)
	if err != nil {
		return nil, err
	}
	var sinks []T
	if a.Sinks {
		sinks = normal[T](a.Heads, sinkSeed)
	}
	w := &ranks[T]{call: a.call(s, m).Prepare(), saved: make([]*ring.Saved[T], n)}
	for rank := range n {
		rows, keys := s.Len(rank)*a.Heads, s.Len(rank)*a.KVHeads
		seed := uint64(4 * rank)
		w.in = append(w.in, ring.Inputs[T]{Q: normal[T](rows*a.HeadDim, seed+1), K: normal[T](keys*a.HeadDim, seed+2), V: normal[T](keys*a.valueDim(), seed+3), Sinks: sinks})
		w.dOut = append(w.dOut, normal[T](rows*a.valueDim(), seed+4))
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
