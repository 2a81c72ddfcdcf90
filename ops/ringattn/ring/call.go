package ring

import (
	"errors"
	"fmt"
	"math"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
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
	Causal         bool
	// BFloat16 rounds queries, keys, values and output gradients to bfloat16, in which they and the probabilities are multiplied
	// and keys and values travel; sums, log-sum-exp and gradients stay in float32. For float32 on processors that have it.
	BFloat16 bool
	Sharding shard.Sharding // which of the T positions each of the W ranks holds
}

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
	if c.BFloat16 {
		if err := CheckBFloat16(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

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
	return kernel.Block{
		Heads: c.Batch * c.Heads, KVHeads: c.Batch * c.KVHeads, Dim: c.Dim, ValueDim: c.ValueDim,
		Scale: c.Scale, Causal: c.Causal,
		Rows: segments(c.Sharding, row), Cols: segments(c.Sharding, col),
	}
}

func segments(s shard.Sharding, rank int) []kernel.Segment {
	var out []kernel.Segment
	for _, g := range s.Segments(rank) {
		out = append(out, kernel.Segment(g))
	}
	return out
}

// sees reports whether any query of rank row may look at any key of rank col. It skips work, never a hop: blocks travel
// whether they are seen or not, so all ranks make the same moves.
func (c Call) sees(row, col int) bool {
	s := c.Sharding
	if s.Len(row) == 0 || s.Len(col) == 0 {
		return false
	}
	return !c.Causal || s.Position(col, 0) <= s.Position(row, s.Len(row)-1)
}
