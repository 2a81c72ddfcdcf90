package ringattn

import (
	"context"
	"errors"
	"fmt"
	"math"

	"gorgonia.org/gorgonia"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// MaxDevices bounds Config.Devices; each device costs a goroutine and its buffers on every run.
const MaxDevices = 1024

// Config says what attention to compute and over which ranks. The zero value is full attention with softmax scale 1/√D
// on one rank, for nodes of 3 or 4 dimensions.
type Config struct {
	// NumHeads is H and NumKVHeads is K, with H a multiple of K. Nodes of 2 dimensions need NumHeads (NumKVHeads 0 means
	// NumHeads); nodes of 3 and 4 dimensions show both, and what is set here is checked against them.
	NumHeads, NumKVHeads int
	// Batch is B for nodes of 2 dimensions, whose B·S rows are batch-major; 0 means 1. Nodes of 4 dimensions show it.
	Batch int
	// Causal lets the query at position i see the keys at positions up to i. Positions are global, whatever the layout.
	Causal bool
	// SoftmaxScale multiplies q·k; 0 means 1/√D.
	SoftmaxScale float64
	// Window bounds how far a query sees; nil is everything.
	Window *Window
	// Softcap replaces scores s by Softcap·tanh(s/Softcap); 0 leaves them.
	Softcap float64
	// Sinks [H] are scores that each head adds to its softmax's denominator; nil is none.
	Sinks *gorgonia.Node
	// Dropout is the probability with which a weight is left out.
	Dropout float64
	// DType is the type in which queries, keys, values and probabilities are multiplied and keys and values travel; "" is that of
	// the nodes. BFloat16 takes nodes of float32 and a processor that has it (ErrNoBFloat16): it is faster and halves what the
	// forward pass sends, but rounds to 8 bits of precision. The output, the log-sum-exp and all sums and gradients stay in float32.
	DType DType
	// Layout says which positions each rank holds; "" means contiguous.
	Layout shard.Layout
	// SeqLen is T, the length of the whole sequence, where Comm has more than one rank: this graph's nodes hold the
	// Sharding.Len(rank) rows of its rank. Otherwise T is the nodes' own length and SeqLen 0 or equal to it.
	SeqLen int
	// Comm is this rank's communicator where every rank builds a graph over its shard (SPMD). All ranks must then run
	// their graphs together.
	Comm *dist.Comm
	// Devices, when over 1, splits the whole sequence of one ordinary graph over so many ranks inside this process. It
	// excludes Comm.
	Devices int
	// Context ends a run early; nil means context.Background(). Op.SetContext replaces it between runs.
	Context context.Context
}

// Window is how many positions before and after its own a query sees; -1 is all of them.
type Window struct{ Left, Right int }

// DType names an arithmetic for Config.
type DType string

// BFloat16 is the upper half of a float32.
const BFloat16 DType = "bfloat16"

// ErrNoBFloat16 says that Config asks for BFloat16 where the processor, or the instruction set in use, has no such arithmetic: it
// takes AVX-512-BF16 or AMX-BF16.
var ErrNoBFloat16 = ring.ErrNoBFloat16

// EnsureDefaults replaces the zero values that do not depend on the nodes by what they mean.
func (c *Config) EnsureDefaults() {
	if c.Layout == "" {
		c.Layout = shard.Contiguous
	}
	if c.Context == nil {
		c.Context = context.Background()
	}
}

// Validate reports everything that is wrong with the config whatever the nodes, joined into one error.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ringattn: "+format, args...)) }
	for _, f := range []struct {
		name  string
		value int
	}{{"NumHeads", c.NumHeads}, {"NumKVHeads", c.NumKVHeads}, {"Batch", c.Batch}, {"SeqLen", c.SeqLen}, {"Devices", c.Devices}} {
		if f.value < 0 {
			bad("%s %d is negative", f.name, f.value)
		}
	}
	if c.NumHeads > 0 && c.NumKVHeads > 0 && c.NumHeads%c.NumKVHeads != 0 {
		bad("NumHeads %d is not a multiple of NumKVHeads %d", c.NumHeads, c.NumKVHeads)
	}
	if math.IsNaN(c.SoftmaxScale) || math.IsInf(c.SoftmaxScale, 0) {
		bad("SoftmaxScale %v is not finite; 0 means 1/√D", c.SoftmaxScale)
	}
	if c.DType != "" && c.DType != BFloat16 {
		bad("DType %q; give %q, or nothing for that of the nodes", c.DType, BFloat16)
	}
	if c.DType == BFloat16 {
		if err := ring.CheckBFloat16(); err != nil {
			bad("DType %s: %w", BFloat16, err)
		}
	}
	if _, err := shard.ParseLayout(string(c.Layout)); c.Layout != "" && err != nil {
		errs = append(errs, fmt.Errorf("ringattn: Layout: %w", err))
	}
	if c.Devices > 1 && c.Comm != nil {
		bad("Devices %d and Comm are both set: Comm makes this graph one rank of a ring, Devices makes a ring inside it; set one", c.Devices)
	}
	if c.Devices > MaxDevices {
		bad("Devices %d is over %d", c.Devices, MaxDevices)
	}
	if c.Context != nil && c.Context.Err() != nil {
		errs = append(errs, fmt.Errorf("ringattn: Context has ended already: %w", context.Cause(c.Context)))
	}
	return errors.Join(errs...)
}

// place returns this graph's rank and the size of its ring.
func (c Config) place() (rank, size int) {
	switch {
	case c.Comm != nil:
		return c.Comm.Rank(), c.Comm.Size()
	case c.Devices > 1:
		return 0, c.Devices
	}
	return 0, 1
}
