package gradcheck

// Faults that were made in real ring attentions, planted one by one. Each must be caught by CheckGolden, the check that
// users run, in figures and not only as an error.

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/ringattn/internal/seam"
)

type (
	attention = kernel.Attention[float64]
	hooks     = seam.Hooks[float64]
)

// faulty is a kernel with some of its methods replaced.
type faulty struct {
	attention
	forward  func(k attention, c kernel.Carry[float64], q, key, v []float64, b kernel.Block)
	finish   func(k attention, c kernel.Carry[float64], out, lse []float64, b kernel.Block)
	delta    func(k attention, out, dOut, delta []float64, b kernel.Block)
	backward func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block)
}

func (f faulty) Forward(c kernel.Carry[float64], q, k, v []float64, b kernel.Block) {
	if f.forward == nil {
		f.attention.Forward(c, q, k, v, b)
		return
	}
	f.forward(f.attention, c, q, k, v, b)
}

func (f faulty) Finish(c kernel.Carry[float64], out, lse []float64, b kernel.Block) {
	f.attention.Finish(c, out, lse, b)
	if f.finish != nil {
		f.finish(f.attention, c, out, lse, b)
	}
}

func (f faulty) Delta(out, dOut, delta []float64, b kernel.Block) {
	if f.delta == nil {
		f.attention.Delta(out, dOut, delta, b)
		return
	}
	f.delta(f.attention, out, dOut, delta, b)
}

func (f faulty) Backward(g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
	if f.backward == nil {
		f.attention.Backward(g, in, b)
		return
	}
	g.Nothing() // the faults only know how to add
	g.Fresh = false
	f.backward(f.attention, g, in, b)
}

// inKernel plants faulty methods; they may share state between the passes and ranks of a run under a lock.
func inKernel(f faulty) hooks {
	return hooks{Kernel: func(k attention) attention {
		g := f // every rank has its own
		g.attention = k
		return g
	}}
}

// blockwise changes the description of every block.
func blockwise(change func(b *kernel.Block)) hooks {
	return inKernel(faulty{
		forward: func(k attention, c kernel.Carry[float64], q, key, v []float64, b kernel.Block) {
			change(&b)
			k.Forward(c, q, key, v, b)
		},
		backward: func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			change(&b)
			k.Backward(g, in, b)
		},
	})
}

// onArrival changes what a hop of the given kind brings; sent is what this rank sent last of that kind.
func onArrival(kind dist.Kind, change func(c *dist.Comm, hop int, got, sent []float64) []float64) hooks {
	var mu sync.Mutex
	last := map[*dist.Comm][]float64{}
	return hooks{Transfer: func(c *dist.Comm, x dist.Exchange, b []float64, n int) seam.Pending[float64] {
		p := dist.SendRecv(c, x, b, n)
		if x.Kind != kind {
			return p
		}
		mu.Lock()
		defer mu.Unlock()
		if x.From == dist.None {
			last[c] = b
			return p
		}
		sent := last[c]
		return arrival{p, func(got []float64) []float64 { return change(c, x.Hop, got, sent) }}
	}}
}

type arrival struct {
	seam.Pending[float64]
	change func([]float64) []float64
}

func (a arrival) Wait(ctx context.Context) ([]float64, error) {
	got, err := a.Pending.Wait(ctx)
	if err != nil {
		return nil, err
	}
	return a.change(slices.Clone(got)), nil
}

// turned sends a kind the other way round.
func turned(kind dist.Kind) hooks {
	return hooks{Transfer: func(c *dist.Comm, x dist.Exchange, b []float64, n int) seam.Pending[float64] {
		mirrored := func(member int) int {
			if member == dist.None || x.Kind != kind {
				return member
			}
			return (2*c.Rank() - member + c.Size()) % c.Size()
		}
		x.To, x.From = mirrored(x.To), mirrored(x.From)
		return dist.SendRecv(c, x, b, n)
	}}
}

func own(b kernel.Block) bool { return b.Rows[0] == b.Cols[0] }

func shifted(segs []kernel.Segment, by int) []kernel.Segment {
	segs = slices.Clone(segs)
	for i := range segs {
		segs[i].Start += by
	}
	return segs
}

// joined takes all rows for neighbours of the first.
func joined(segs []kernel.Segment) []kernel.Segment {
	if len(segs) < 2 {
		return segs
	}
	return []kernel.Segment{{Start: segs[0].Start, Stride: 1, Count: kernel.Len(segs)}}
}

// headwise calls f for every query head with the KV head that a wrong grouping gives it.
func headwise(b kernel.Block, f func(one kernel.Block, h, kv int)) {
	one := b
	one.Heads, one.KVHeads = 1, 1
	for h := range b.Heads {
		f(one, h, h%b.KVHeads)
	}
}

// head is line h of a head-major array with n heads.
func head(x []float64, h, n int) []float64 {
	w := len(x) / n
	return x[h*w:][:w]
}

func wrongGroup() hooks {
	return inKernel(faulty{
		forward: func(k attention, c kernel.Carry[float64], q, key, v []float64, b kernel.Block) {
			headwise(b, func(one kernel.Block, h, kv int) {
				part := kernel.Carry[float64]{O: head(c.O, h, b.Heads), M: head(c.M, h, b.Heads), L: head(c.L, h, b.Heads)}
				k.Forward(part, head(q, h, b.Heads), head(key, kv, b.KVHeads), head(v, kv, b.KVHeads), one)
			})
		},
		backward: func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			headwise(b, func(one kernel.Block, h, kv int) {
				k.Backward(
					kernel.Gradients[float64]{DQ: head(g.DQ, h, b.Heads), DK: head(g.DK, kv, b.KVHeads), DV: head(g.DV, kv, b.KVHeads)},
					kernel.Inputs[float64]{
						Q: head(in.Q, h, b.Heads), K: head(in.K, kv, b.KVHeads), V: head(in.V, kv, b.KVHeads),
						DOut: head(in.DOut, h, b.Heads), LSE: head(in.LSE, h, b.Heads), Delta: head(in.Delta, h, b.Heads),
					}, one)
			})
		},
	})
}

// newCarry is an empty carry of the size of c.
func newCarry(c kernel.Carry[float64]) kernel.Carry[float64] {
	n := kernel.Carry[float64]{O: make([]float64, len(c.O)), M: make([]float64, len(c.M)), L: make([]float64, len(c.L))}
	n.Reset()
	return n
}

// ofOneBlock keeps, by rank, the carry of a single block, the first or the last, as if it were that of the row.
type ofOneBlock struct {
	mu    sync.Mutex
	carry map[kernel.Segment]kernel.Carry[float64]
}

func (o *ofOneBlock) forward(last bool) func(attention, kernel.Carry[float64], []float64, []float64, []float64, kernel.Block) {
	return func(k attention, c kernel.Carry[float64], q, key, v []float64, b kernel.Block) {
		k.Forward(c, q, key, v, b)
		if last || own(b) {
			one := newCarry(c)
			k.Forward(one, q, key, v, b)
			o.mu.Lock()
			o.carry[b.Rows[0]] = one
			o.mu.Unlock()
		}
	}
}

func (o *ofOneBlock) of(b kernel.Block) kernel.Carry[float64] {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.carry[b.Rows[0]]
}

func blockLSE() hooks {
	o := &ofOneBlock{carry: map[kernel.Segment]kernel.Carry[float64]{}}
	return inKernel(faulty{
		forward: o.forward(true),
		finish: func(k attention, c kernel.Carry[float64], out, lse []float64, b kernel.Block) {
			k.Finish(o.of(b), make([]float64, len(out)), lse, b)
		},
	})
}

func blockDelta() hooks {
	o := &ofOneBlock{carry: map[kernel.Segment]kernel.Carry[float64]{}}
	return inKernel(faulty{
		forward: o.forward(false),
		delta: func(k attention, out, dOut, delta []float64, b kernel.Block) {
			blockOut := make([]float64, len(out))
			k.Finish(o.of(b), blockOut, make([]float64, len(delta)), b)
			k.Delta(blockOut, dOut, delta, b)
		},
	})
}

func noRescale() hooks {
	return inKernel(faulty{forward: func(k attention, c kernel.Carry[float64], q, key, v []float64, b kernel.Block) {
		before := kernel.Carry[float64]{O: slices.Clone(c.O), M: slices.Clone(c.M)}
		k.Forward(c, q, key, v, b)
		for i, m := range before.M {
			if lost := 1 - math.Exp(m-c.M[i]); !math.IsInf(m, -1) {
				for d := range b.ValueDim {
					c.O[i*b.ValueDim+d] += lost * before.O[i*b.ValueDim+d]
				}
			}
		}
	}})
}

func backwards(f func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block)) hooks {
	return inKernel(faulty{backward: f})
}

// plantedFaults are the faults by name.
func plantedFaults() map[string]hooks {
	zeros := func(x []float64) []float64 { return make([]float64, len(x)) }
	return map[string]hooks{
		"forward goes the wrong way":            turned(dist.ForwardKV),
		"backward keys go the wrong way":        turned(dist.BackwardKV),
		"dK and dV go the wrong way":            turned(dist.BackwardDKV),
		"the last hop of dK and dV is dropped":  onArrival(dist.BackwardDKV, func(c *dist.Comm, hop int, got, _ []float64) []float64 { return dropWhen(hop == c.Size()-1, got) }),
		"the first hop of dK and dV is dropped": onArrival(dist.BackwardDKV, func(_ *dist.Comm, hop int, got, _ []float64) []float64 { return dropWhen(hop == 1, got) }),
		"a KV buffer is stale in forward":       onArrival(dist.ForwardKV, func(_ *dist.Comm, _ int, _, sent []float64) []float64 { return slices.Clone(sent) }),
		"a KV buffer is stale in backward":      onArrival(dist.BackwardKV, func(_ *dist.Comm, _ int, _, sent []float64) []float64 { return slices.Clone(sent) }),
		"what comes home is added twice": onArrival(dist.BackwardDKV, func(c *dist.Comm, hop int, got, _ []float64) []float64 {
			for i := range got {
				if hop == c.Size()-1 {
					got[i] *= 2
				}
			}
			return got
		}),
		"K and V are swapped in the message": onArrival(dist.ForwardKV, func(_ *dist.Comm, _ int, got, _ []float64) []float64 {
			return slices.Concat(got[len(got)/2:], got[:len(got)/2])
		}),
		"LSE of the block instead of the row":  blockLSE(),
		"delta of the block's output":          blockDelta(),
		"O is not rescaled between blocks":     noRescale(),
		"a query head reads another KV head":   wrongGroup(),
		"zigzag rows are taken for neighbours": blockwise(func(b *kernel.Block) { b.Rows, b.Cols = joined(b.Rows), joined(b.Cols) }),
		"the causal mask hides the diagonal":   blockwise(func(b *kernel.Block) { b.Cols = shifted(b.Cols, 1) }),
		"the causal mask shows one key more":   blockwise(func(b *kernel.Block) { b.Cols = shifted(b.Cols, -1) }),
		"local positions instead of global": blockwise(func(b *kernel.Block) {
			b.Rows, b.Cols = shifted(b.Rows, -b.Rows[0].Start), shifted(b.Cols, -b.Cols[0].Start)
		}),
		"backward forgets the mask": backwards(func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			b.Mask = nil
			k.Backward(g, in, b)
		}),
		"dQ is not scaled": backwards(func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			to := g.DQ
			g.DQ = zeros(to)
			k.Backward(g, in, b)
			for i, x := range g.DQ {
				to[i] += x / b.Scale
			}
		}),
		"dK and dV are swapped": backwards(func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			g.DK, g.DV = g.DV, g.DK
			k.Backward(g, in, b)
		}),
		"dQ of foreign blocks is lost": backwards(func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			if !own(b) {
				g.DQ = zeros(g.DQ)
			}
			k.Backward(g, in, b)
		}),
		"the own block's dK and dV are lost": backwards(func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			if own(b) {
				g.DK, g.DV = zeros(g.DK), zeros(g.DV)
			}
			k.Backward(g, in, b)
		}),
		"LSE is in powers of two": inKernel(faulty{finish: func(_ attention, _ kernel.Carry[float64], _, lse []float64, _ kernel.Block) {
			for i := range lse {
				lse[i] /= math.Ln2
			}
		}}),
		"the carry is kept in float32": inKernel(faulty{forward: func(k attention, c kernel.Carry[float64], q, key, v []float64, b kernel.Block) {
			k.Forward(c, q, key, v, b)
			for i := range c.O {
				c.O[i] = float64(float32(c.O[i]))
			}
		}}),
		"a NaN slips in": inKernel(faulty{delta: func(k attention, out, dOut, delta []float64, b kernel.Block) {
			k.Delta(out, dOut, delta, b)
			delta[0] = math.NaN()
		}}),
	}
}

func dropWhen(drop bool, x []float64) []float64 {
	if drop {
		clear(x)
	}
	return x
}

// faultCases: in the first, with groups of heads, the rows divide by the ring, and blocks of equal length let faults of the
// ring go unnoticed by everything but the figures; in the second the maximum of a row changes from block to block.
var faultCases = []string{committed + "/a04_causal_33_gqa.safetensors", committed + "/a07_causal_hot.safetensors"}

func TestPlantedFaultsAreCaught(t *testing.T) {
	o := Options{Rings: []int{3}, Layouts: []shard.Layout{shard.Zigzag, shard.Striped}} // in which every rank sees keys of every other
	clean, err := CheckGolden(t.Context(), faultCases, o)
	if err != nil {
		t.Fatal(err)
	}
	requireOK(t, clean)
	for name, h := range plantedFaults() {
		t.Run(name, func(t *testing.T) {
			r, err := CheckGolden(seam.With(t.Context(), h), faultCases, o)
			if err != nil {
				t.Fatal(err)
			}
			caught := slices.ContainsFunc(r.Cases, func(c CaseReport) bool { return !c.OK && c.Error == "" })
			if r.OK || !caught {
				t.Errorf("not caught: %+v", r)
			}
		})
	}
}

// Rounding what one block gives to 16 bits, as some rings do, is small enough to pass for float32 noise in a short ring; the
// suite sees the error grow with the ring.
func TestErrorThatGrowsWithTheRingIsCaught(t *testing.T) {
	rough := func(k kernel.Attention[float32]) kernel.Attention[float32] { return roughKernel{k} }
	ctx := seam.With(t.Context(), seam.Hooks[float32]{Kernel: rough})
	o := Options{Quick: true}
	o.EnsureDefaults()
	c := Check{Limit: 1.1, OK: true}
	if err := o.ringRatio(ctx, &c); err != nil {
		t.Fatal(err)
	}
	if c.OK {
		t.Errorf("not caught: worst ratio %g", c.Worst)
	}
}

// roughKernel loses a few bits of the carry at the end of every block.
type roughKernel struct{ kernel.Attention[float32] }

func (k roughKernel) Forward(c kernel.Carry[float32], q, key, v []float32, b kernel.Block) {
	k.Attention.Forward(c, q, key, v, b)
	for i, x := range c.O {
		c.O[i] = math.Float32frombits(math.Float32bits(x) &^ 7)
	}
}
