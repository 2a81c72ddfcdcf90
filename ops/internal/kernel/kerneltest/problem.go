package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// shape is the size of a problem: T tokens, H query and K KV heads, head dims D and Dv.
type shape struct {
	tokens, heads, kvHeads, dim, valueDim int
	causal                                bool
	options                               *options // their mask replaces causal
}

func (s shape) String() string {
	return fmt.Sprintf("T=%d/H=%d/K=%d/D=%d/Dv=%d/causal=%t", s.tokens, s.heads, s.kvHeads, s.dim, s.valueDim, s.causal)
}

// problem is attention over a whole sequence, head-major: q [H,T,D], k [K,T,D], v [K,T,Dv], dOut [H,T,Dv].
type problem[T kernel.Float] struct {
	shape
	scale         float64
	q, k, v, dOut []T
	withoutLow    bool   // feed no Low and LSELow
	narrow        narrow // inputs are of this type, and a plain computation rounds P and dS to it
}

// asTakenBy rounds the inputs to what the kernel makes of them: a Packer multiplies in a narrower type.
func (p problem[T]) asTakenBy(k kernel.Attention[T]) problem[T] {
	if p.narrow = narrowOf(k); p.narrow == wide {
		return p
	}
	for _, x := range []*[]T{&p.q, &p.k, &p.v, &p.dOut} {
		*x = slices.Clone(*x)
		for i, a := range *x {
			(*x)[i] = rounded(p.narrow, a)
		}
	}
	return p
}

// packed is keys or values as the kernel takes them.
func packed[T kernel.Float](k kernel.Attention[T], x []T) []T {
	p, ok := k.(kernel.Packer[T])
	if !ok {
		return x
	}
	out := make([]T, p.PackedLen(len(x)))
	p.Pack(out, x)
	return out
}

// newProblem draws normal inputs, always the same for one shape, with logits of the given standard deviation.
func newProblem[T kernel.Float](s shape, logits float64) problem[T] {
	r := rand.New(rand.NewPCG(uint64(s.tokens), uint64(s.dim)))
	normal := func(n int, std float64) []T {
		x := make([]T, n)
		for i := range x {
			x[i] = T(std * r.NormFloat64())
		}
		return x
	}
	return problem[T]{
		shape: s, scale: 1 / math.Sqrt(float64(s.dim)),
		q:    normal(s.heads*s.tokens*s.dim, logits),
		k:    normal(s.kvHeads*s.tokens*s.dim, 1),
		v:    normal(s.kvHeads*s.tokens*s.valueDim, 1),
		dOut: normal(s.heads*s.tokens*s.valueDim, 1),
	}
}

// block describes the call for one set of rows and one of columns.
func (p problem[T]) block(rows, cols []kernel.Segment) kernel.Block {
	b := kernel.Block{
		Heads: p.heads, KVHeads: p.kvHeads, Dim: p.dim, ValueDim: p.valueDim,
		Scale: p.scale, Mask: p.compiled(), Rows: rows, Cols: cols,
	}
	o := p.options
	if o == nil {
		return b
	}
	b.Softcap = o.softcap
	for h := range p.heads {
		if o.alibi {
			b.Slopes = append(b.Slopes, o.slope(h))
		}
		if o.sinks {
			b.Sinks = append(b.Sinks, o.sink(h))
		}
	}
	if o.dropout > 0 {
		b.Dropout = o.drops(p.heads)
	}
	return b
}

// solve runs a kernel as a ring of row blocks would: every block of rows folds all blocks of keys into its carry, finishes, and
// goes over the keys again for the gradients.
func (p problem[T]) solve(k kernel.Attention[T], c cut) result[T] {
	r := newResult[T](p.shape)
	blocks := c.cut(p.tokens, c.blocks)
	dk, dv := make([][]T, len(blocks)), make([][]T, len(blocks))
	for b, cols := range blocks {
		n := p.kvHeads * kernel.Len(cols)
		dk[b], dv[b] = make([]T, n*p.dim), make([]T, n*p.valueDim)
	}
	for rank, rows := range blocks {
		local := p.rows(rows)
		local.forward(k, p, blocks, c.turns(rank, len(blocks)))
		for _, b := range c.turns(rank, len(blocks)) {
			local.backward(k, p, blocks[b], kernel.Gradients[T]{DQ: local.dq, DK: dk[b], DV: dv[b]})
		}
		at := positions(rows)
		put(r.out, p.tokens, p.valueDim, at, local.out)
		put(r.lse, p.tokens, 1, at, local.lse)
		put(r.dq, p.tokens, p.dim, at, local.dq)
	}
	for b, cols := range blocks {
		put(r.dk, p.tokens, p.dim, positions(cols), dk[b])
		put(r.dv, p.tokens, p.valueDim, positions(cols), dv[b])
	}
	return r
}

// localRows is what a rank holds of its rows.
type localRows[T kernel.Float] struct {
	segments   []kernel.Segment
	q, dOut    []T
	out, dq    []T
	lse, delta []T
	carry      kernel.Carry[T]
}

func (p problem[T]) rows(segments []kernel.Segment) *localRows[T] {
	at := positions(segments)
	n := p.heads * len(at)
	l := &localRows[T]{
		segments: segments,
		q:        take(p.q, p.tokens, p.dim, at), dOut: take(p.dOut, p.tokens, p.valueDim, at),
		out: make([]T, n*p.valueDim), dq: make([]T, n*p.dim), lse: make([]T, n), delta: make([]T, n),
		carry: kernel.Carry[T]{O: make([]T, n*p.valueDim), M: make([]T, n), L: make([]T, n)},
	}
	if !p.withoutLow {
		l.carry.Low = make([]T, n)
	}
	for i := range l.carry.O {
		l.carry.O[i] = T(math.NaN()) // of no meaning yet
	}
	l.carry.Reset()
	return l
}

func (l *localRows[T]) forward(k kernel.Attention[T], p problem[T], blocks [][]kernel.Segment, turns []int) {
	for _, b := range turns {
		at := positions(blocks[b])
		key, value := packed(k, take(p.k, p.tokens, p.dim, at)), packed(k, take(p.v, p.tokens, p.valueDim, at))
		k.Forward(l.carry, l.q, key, value, p.block(l.segments, blocks[b]))
	}
	k.Finish(l.carry, l.out, l.lse, p.block(l.segments, nil))
	k.Delta(l.out, l.dOut, l.delta, p.block(l.segments, nil))
}

func (l *localRows[T]) backward(k kernel.Attention[T], p problem[T], cols []kernel.Segment, g kernel.Gradients[T]) {
	at := positions(cols)
	k.Backward(g, kernel.Inputs[T]{
		Q: l.q, DOut: l.dOut, LSE: l.lse, LSELow: l.carry.Low, Delta: l.delta,
		K: packed(k, take(p.k, p.tokens, p.dim, at)), V: packed(k, take(p.v, p.tokens, p.valueDim, at)),
	}, p.block(l.segments, cols))
}

// turns is the order in which row block rank meets the key blocks.
func (c cut) turns(rank, blocks int) []int {
	t := make([]int, blocks)
	for i := range t {
		t[i] = ((rank+c.order*i)%blocks + blocks) % blocks
	}
	return t
}
