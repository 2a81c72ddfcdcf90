// Package kernel is the boundary between attention's schedule and the code that does the arithmetic: one call attends the local
// queries to one block of keys. Implementations live in folders beside this file and all pass kerneltest.Run.
//
// Legend: H query heads, K KV heads, S local query rows, N keys of a block, D head dim, Dv value dim. All arrays are head-major
// and dense: q [H,S,D], k [K,N,D], v [K,N,Dv], out and dOut [H,S,Dv], lse, delta, m and l [H,S]. A batch is folded into the heads
// by the caller; query head h reads KV head h/(H/K).
package kernel

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/mask"
)

// MaxDim is the largest head dim, of keys and of values, that an Attention need take.
const MaxDim = 256

// Float is an element type of queries, keys and values; sums are kept in the same type.
type Float interface{ float32 | float64 }

// Segment is the global positions Start, Start+Stride, ... of Count rows. Stride is at least 1.
type Segment struct{ Start, Stride, Count int }

// Block describes one call.
type Block struct {
	Heads, KVHeads, Dim, ValueDim int
	Scale                         float64 // of q·k
	// Softcap c, if not 0, replaces a score s by c·tanh(s/c).
	Softcap float64
	// Slopes [H], if any, are ALiBi's: behind the softcap, slope·|i-j| is subtracted from the score of positions i and j.
	Slopes []float64
	// Sinks [H], if any, are logits that every query which sees anything sees besides its keys, with a value of 0. They concern
	// Finish alone: the lse that Backward gets includes them.
	Sinks []float64
	// Dropout, if any, hides pairs from the output, not from the softmax's sum; the others count 1/(1-p) times as much.
	Dropout Dropout
	Mask    *mask.Mask // which keys a query sees, in global positions
	Rows    []Segment  // global positions of the S queries, in order
	Cols    []Segment  // global positions of the N keys, in order
}

// HeadRange is the block of the query heads from..from+n-1 alone, which read the KV heads of a smaller block.
func (b Block) HeadRange(from, n, kvHeads int) Block {
	b.Heads, b.KVHeads = n, kvHeads
	b.Slopes, b.Sinks, b.Dropout.Keys = part(b.Slopes, from, n), part(b.Sinks, from, n), part(b.Dropout.Keys, from, n)
	return b
}

func part[E any](x []E, from, n int) []E {
	if x == nil {
		return nil
	}
	return x[from:][:n]
}

// Len is the number of positions in segments.
func Len(segments []Segment) int {
	n := 0
	for _, s := range segments {
		n += s.Count
	}
	return n
}

// Carry is the state of a row between blocks (FlashAttention-2, arXiv 2307.08691, algorithm 1): O [H,S,Dv] is the output before
// normalisation, M [H,S] a reference for the exponent and L [H,S] the sum of exponentials; O and L are relative to the exponential of
// M, in units that the implementation chooses. Where L is 0, O is of no meaning: it may hold anything.
//
// Low [H,S] may be nil. Where it is not, Finish leaves in it what rounding to T took from lse; as Inputs.LSELow it makes the
// gradients of hot logits as exact as those of cold ones.
type Carry[T Float] struct{ O, M, L, Low []T }

// Reset makes a carry that has seen nothing: M = -Inf, L = 0.
func (c Carry[T]) Reset() {
	for i := range c.M {
		c.M[i] = T(math.Inf(-1))
	}
	clear(c.L)
}

// Inputs of a backward call. LSE and Delta belong to the whole row, not to the block; LSELow may be nil, see Carry.
type Inputs[T Float] struct{ Q, K, V, DOut, LSE, LSELow, Delta []T }

// Gradients of a block: DQ [H,S,D], DK [K,N,D], DV [K,N,Dv]. Backward adds to them or, where they are Fresh, overwrites whatever is there:
// the same as adding to zeros, without the passes over memory that write and read those.
type Gradients[T Float] struct {
	DQ, DK, DV []T
	Fresh      bool
}

// Nothing is what a block without a pair gives.
func (g Gradients[T]) Nothing() {
	if g.Fresh {
		clear(g.DQ)
		clear(g.DK)
		clear(g.DV)
	}
}

// Attention computes blocks. Implementations are safe for concurrent use, repeat their bits whatever the number of threads, and
// never touch their inputs.
type Attention[T Float] interface {
	// Forward folds one block of keys into the carry.
	Forward(c Carry[T], q, k, v []T, b Block)
	// Merge folds a carry of the same queries over other keys into c; other may be written over. Of b it needs the sizes and what a score is.
	Merge(c, other Carry[T], b Block)
	// Finish writes out, which may be c.O, as O/L and lse = log of the softmax denominator (natural). A row that saw no key gets out 0 and lse -Inf, and
	// so does one whose logits are all -Inf. Of b it needs the sizes and the scale.
	Finish(c Carry[T], out, lse []T, b Block)
	// Delta writes rowsum(dO∘O), what the softmax subtracts from dP in the backward pass.
	Delta(out, dOut, delta []T, b Block)
	// Backward adds the gradients of one block, or sets them to it, with P = exp(S - LSE) computed anew. A row with lse -Inf adds nothing.
	Backward(g Gradients[T], in Inputs[T], b Block)
}

// Packer is an extra ability of kernels that take keys and values in a type narrower than T: their Forward and Backward want K and V
// as Pack makes them, and so do blocks travel.
type Packer[T Float] interface {
	// PackedLen is how many T hold n packed elements.
	PackedLen(n int) int
	// Pack rounds src into dst, which is PackedLen(len(src)) long. The bits of dst are not numbers of type T.
	Pack(dst, src []T)
}

// Fallible is an extra ability of kernels on devices, which can fail. Err returns the first error; what was computed since is NaN.
type Fallible interface{ Err() error }
