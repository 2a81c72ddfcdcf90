package ring

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// MaxDim is the largest head dim, of keys and of values, that the kernels take.
const MaxDim = kernel.MaxDim

// Call is what all ranks of one attention agree on. Heads is a multiple of KVHeads: query head h reads KV head
// h/(Heads/KVHeads), so grouped-query attention never repeats K or V.
type Call struct {
	Batch          int // B, sequences side by side
	Heads, KVHeads int // H and K
	Dim, ValueDim  int // D of queries and keys, Dv of values and outputs
	Scale          float64
	Mask           *mask.Mask // over the sequence's positions; nil: every query sees every key
	Softcap        float64    // c: scores s become c·tanh(s/c); 0 is none
	Slopes         []float64  // [H] of ALiBi, subtracted slope·|i-j|; nil is none
	Sinks          bool       // Inputs have a sink logit a head
	Dropout        Dropout
	// Device computes; "" is CPU.
	Device Device
	// DType, if set, is what queries, keys, values and output gradients are rounded to, in which they and the probabilities are multiplied
	// and keys and values travel; sums, log-sum-exp and gradients stay in float32.
	DType    DType
	Sharding shard.Sharding // which of the T positions each of the W ranks holds, of the keys and, without Queries, of the queries
	// Queries, if it has ranks, is the sharding of the queries where they are not as many as the keys: query i is at position
	// QueryOffset+i of the keys (chunked prefill).
	Queries     shard.Sharding
	QueryOffset int
	Travel      Travel // what goes round the ring
	Inner       int    // ranks of an inner ring of a double ring; 0 or 1 is a single ring
	Ulysses     int    // ranks that exchange rows for heads before the ring; 0 or 1 is none

	plan *Plan // see Prepare

	headFrom, headsInAll int // Ulysses: which heads of how many these are
}

// Dropout drops pairs from the output with probability P, by a counter on Seed, the run's step, Layer, and the pair's head and
// positions. The zero value drops nothing.
type Dropout struct {
	P     float64
	Seed  uint64
	Layer int
}

// Travel says what goes round the ring and what stays at home.
type Travel string

// What travels. The results are the same but for rounding.
const (
	KV   Travel = "kv"   // keys and values, and their gradients; the default
	Q    Travel = "q"    // queries with their carry, and what backward needs of them; keys and values stay at home
	Auto Travel = "auto" // whichever sends fewer bytes
)

// Travels lists all values of Travel.
func Travels() []Travel { return []Travel{KV, Q, Auto} }

// ErrHeads says that heads cannot be dealt to the ranks of a Ulysses group.
var ErrHeads = errors.New("heads do not divide")

// Validate reports every field that no kernel could honour, joined into one error.
func (c Call) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ring: "+format, args...)) }
	if c.Batch < 1 {
		bad("batch %d: give at least 1", c.Batch)
	}
	switch {
	case c.Heads < 1:
		bad("%d query heads: give at least 1", c.Heads)
	case c.KVHeads < 1:
		bad("%d KV heads: give at least 1", c.KVHeads)
	case c.Heads%c.KVHeads != 0:
		bad("%d query heads are not a multiple of %d KV heads", c.Heads, c.KVHeads)
	}
	if c.Dim < 1 || c.Dim > MaxDim {
		bad("head dim %d: give 1 to %d", c.Dim, MaxDim)
	}
	if c.ValueDim < 1 || c.ValueDim > MaxDim {
		bad("value head dim %d: give 1 to %d", c.ValueDim, MaxDim)
	}
	if math.IsNaN(c.Scale) || math.IsInf(c.Scale, 0) {
		bad("softmax scale %v: give a finite number", c.Scale)
	}
	if err := CheckArithmetic(c.Device, c.DType); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(append(errs, c.validateOptions(), c.validateRing())...)
}

func (c Call) validateOptions() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ring: "+format, args...)) }
	if !(c.Softcap >= 0) || math.IsInf(c.Softcap, 0) {
		bad("softcap %v: give a finite number above 0, or 0 for none", c.Softcap)
	}
	if c.Slopes != nil && len(c.Slopes) != c.Heads {
		bad("%d ALiBi slopes for %d query heads: give one a head", len(c.Slopes), c.Heads)
	}
	for h, s := range c.Slopes {
		if math.IsNaN(s) || math.IsInf(s, 0) {
			bad("ALiBi slope %v of head %d: give a finite number", s, h)
		}
	}
	if !(c.Dropout.P >= 0 && c.Dropout.P < 1) {
		bad("dropout %v: give a probability from 0 to below 1", c.Dropout.P)
	}
	if c.QueryOffset < 0 {
		bad("query offset %d: give the position of the first query among the keys, at least 0", c.QueryOffset)
	}
	return errors.Join(errs...)
}

func (c Call) validateRing() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ring: "+format, args...)) }
	if c.Travel != "" && !slices.Contains(Travels(), c.Travel) {
		bad("travel %q: give kv, q or auto", c.Travel)
	}
	size := max(c.Sharding.Ranks(), 1)
	if n := c.Queries.Ranks(); n != 0 && n != size {
		bad("the queries are dealt to %d ranks, the keys to %d: give both the same", n, size)
	}
	group := max(c.Ulysses, 1)
	switch {
	case c.Ulysses < 0 || size%group != 0:
		bad("a ring of %d ranks cannot be cut into Ulysses groups of %d: give a divisor", size, c.Ulysses)
	case c.KVHeads > 0 && (c.Heads%group != 0 || c.KVHeads%group != 0):
		bad("%d query and %d KV heads for Ulysses groups of %d: give a divisor of both: %w", c.Heads, c.KVHeads, group, ErrHeads)
	case c.Inner < 0 || size/group%max(c.Inner, 1) != 0:
		bad("a ring of %d cannot be cut into inner rings of %d: give a divisor", size/group, c.Inner)
	}
	return errors.Join(errs...)
}

// Prepare returns the call with the plan of its ring made, which all of its Ranks then share.
func (c Call) Prepare() Call {
	if c.plan == nil {
		c.plan = newPlan(c.ofRing())
	}
	return c
}

// Replan is Prepare for a call that was changed.
func (c Call) Replan() Call {
	c.plan = nil
	return c.Prepare()
}

// Plan says which blocks travel where.
func (c Call) Plan() *Plan { return c.Prepare().plan }

// queries is the sharding of the queries.
func (c Call) queries() shard.Sharding {
	if c.Queries.Ranks() > 0 {
		return c.Queries
	}
	return c.Sharding
}

// rows and keys are how many queries and keys a rank holds of a sequence.
func (c Call) rows(rank int) int { return c.queries().Len(rank) }
func (c Call) keys(rank int) int { return c.Sharding.Len(rank) }

// sizes of one rank's arrays, in elements, for s of its rows.
func (c Call) qLen(s int) int   { return c.Batch * s * c.Heads * c.Dim }
func (c Call) outLen(s int) int { return c.Batch * s * c.Heads * c.ValueDim }
func (c Call) kLen(s int) int   { return c.Batch * s * c.KVHeads * c.Dim }
func (c Call) vLen(s int) int   { return c.Batch * s * c.KVHeads * c.ValueDim }
func (c Call) kvLen(s int) int  { return c.kLen(s) + c.vLen(s) }
func (c Call) rowLen(s int) int { return c.Batch * s * c.Heads }

// block is the kernel's view of queries of rank row against keys of rank col. The batch is folded into the heads, which
// keeps the group size Heads/KVHeads.
func (c Call) block(row, col int) kernel.Block {
	b := kernel.Block{
		Heads: c.Batch * c.Heads, KVHeads: c.Batch * c.KVHeads, Dim: c.Dim, ValueDim: c.ValueDim,
		Scale: c.Scale, Mask: c.Mask, Softcap: c.Softcap, Rows: c.rowSegments(row), Cols: segments(c.Sharding, col),
	}
	if c.Slopes != nil {
		b.Slopes = slices.Repeat(c.Slopes, c.Batch)
	}
	return b
}

func (c Call) rowSegments(rank int) []kernel.Segment {
	out := segments(c.queries(), rank)
	for i := range out {
		out[i].Start += c.QueryOffset
	}
	return out
}

func segments(s shard.Sharding, rank int) []kernel.Segment {
	var out []kernel.Segment
	for _, g := range s.Segments(rank) {
		out = append(out, kernel.Segment(g))
	}
	return out
}

// drops is the kernel's dropout in a step of training and a layer.
func (c Call) drops(step uint64, layer int) kernel.Dropout {
	if c.Dropout.P == 0 {
		return kernel.Dropout{}
	}
	d := kernel.Dropout{Threshold: kernel.NewThreshold(c.Dropout.P), Keys: make([]uint64, 0, c.Batch*c.Heads)}
	all := max(c.headsInAll, c.Heads)
	for b := range c.Batch {
		for h := range c.Heads {
			d.Keys = append(d.Keys, kernel.DropoutKey(c.Dropout.Seed, step, c.Dropout.Layer+layer, b*all+c.headFrom+h))
		}
	}
	return d
}
