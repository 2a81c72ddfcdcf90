package ringattn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"gorgonia.org/gorgonia"
)

// MaxDevices bounds Config.Devices; each device costs a goroutine and its buffers on every run.
const MaxDevices = 1024

// Config says what attention to compute and over which ranks. The zero value is full attention with softmax scale 1/√D
// on one rank, for nodes of 3 or 4 dimensions. All options go together.
type Config struct {
	// NumHeads is H and NumKVHeads is K, with H a multiple of K. Nodes of 2 dimensions need NumHeads (NumKVHeads 0 means
	// NumHeads); nodes of 3 and 4 dimensions show both, and what is set here is checked against them.
	NumHeads, NumKVHeads int
	// Batch is B for nodes of 2 dimensions, whose B·S rows are batch-major; 0 means 1. Nodes of 4 dimensions show it.
	Batch int
	// Causal lets the query at position i see the keys at positions up to i. Positions are global, whatever the layout.
	Causal bool
	// Window, if set, bounds the distance between a query and the keys it sees, in global positions; -1 is unbounded.
	Window *mask.Window
	// CuSeqlens, if set, are the bounds 0, ..., T of documents packed into the sequence, which do not see each other; documents may be
	// empty, and Op.SetDocuments replaces them between runs. B must be 1.
	CuSeqlens []int
	// Mask, if set, is all that is visible: rectangles of queries by keys. Causal, Window and CuSeqlens hide more of it.
	Mask []mask.Rectangle
	// SoftmaxScale multiplies q·k; 0 means 1/√D.
	SoftmaxScale float64
	// Softcap c, if not 0, makes of a score s c·tanh(s/c) (Gemma 2).
	Softcap float64
	// ALiBiSlopes [H], if set, subtract slope·|i-j| from the score of positions i and j, behind the softcap (arXiv 2108.12409).
	ALiBiSlopes []float64
	// Sinks, if set, is a node [H] of logits that join the softmax of every query that sees anything, as a key with value 0 would
	// (gpt-oss). It has a gradient; in SPMD that is of this rank's rows, to be summed over ranks as weights' are.
	Sinks *gorgonia.Node
	// Dropout is the probability with which a pair is dropped from the output, from 0 to below 1; the others count 1/(1-p) times as
	// much. Which pairs depends on DropoutSeed, Layer, the step (Op.SetStep), the head and the two positions alone.
	Dropout     float64
	DropoutSeed uint64
	Layer       int
	// Chunk, if set, says that the queries are a part of the sequence only (chunked prefill): q may be shorter than k and v.
	Chunk *Chunk
	// DType is the type in which queries, keys, values and probabilities are multiplied and keys and values travel; "" is that of
	// the nodes. BFloat16 takes nodes of float32 and a GPU or a processor that has it (ErrNoBFloat16): it is faster and halves what the
	// forward pass sends, but rounds to 8 bits of precision; Float16 is for GPUs. The output, the log-sum-exp and all sums and gradients
	// stay in float32.
	DType DType
	// Device computes: ring.CPU (also ""), ring.CUDA, which takes nodes of float32, a binary with the tag ringcuda and a GPU, or ring.Sim,
	// which runs the GPU's kernels on the CPU to check them. Ranks of one process share the GPUs of the machine in turn.
	Device ring.Device
	// Layout says which positions each rank holds; "" means contiguous. Balanced deals them by what the mask leaves to do.
	Layout shard.Layout
	// Shards, if set, says it in the layout's place: where ops of several masks share rows, as the layers of a model do (ring.Deal). Not
	// with Chunk.
	Shards *shard.Sharding
	// Travel says what goes round the ring: keys and values (ring.KV, the default), queries (ring.Q), or what sends fewer bytes
	// (ring.Auto). The results are the same.
	Travel ring.Travel
	// UlyssesSize, if over 1, makes groups of so many neighbouring ranks exchange rows for heads, and rings between the groups.
	UlyssesSize int
	// InnerRing, if over 1, makes a double ring of inner rings of so many neighbouring ranks.
	InnerRing int
	// SeqLen is T, the length of the whole sequence, where Comm has more than one rank: this graph's nodes hold the
	// Sharding.Len(rank) rows of its rank. Otherwise T is the nodes' own length and SeqLen 0 or equal to it.
	SeqLen int
	// Comm is this rank's communicator where every rank builds a graph over its shard (SPMD). All ranks must then run
	// their graphs together.
	Comm *dist.Comm
	// Devices, when over 1, splits the whole sequence of one ordinary graph over so many ranks inside this process, which with Device
	// are as many GPUs or share them. It excludes Comm.
	Devices int
	// Context ends a run early; nil means context.Background(). Op.SetContext replaces it between runs.
	Context context.Context
}

// Chunk is where the queries of a call lie among its keys: query i is at position Offset+i.
type Chunk struct {
	Offset int
	// Len is the number of queries of the whole sequence where Comm has more than one rank; otherwise 0 or that of the node.
	Len int
}

// DType names an arithmetic for Config.
type DType = ring.DType

// The arithmetics of Config: BFloat16 is the upper half of a float32, Float16 the type of that name.
const (
	BFloat16 = ring.BFloat16
	Float16  = ring.Float16
)

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
	}{{"NumHeads", c.NumHeads}, {"NumKVHeads", c.NumKVHeads}, {"Batch", c.Batch}, {"SeqLen", c.SeqLen}, {"Devices", c.Devices}, {"UlyssesSize", c.UlyssesSize}, {"InnerRing", c.InnerRing}} {
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
	if !(c.Softcap >= 0) || math.IsInf(c.Softcap, 0) {
		bad("Softcap %v: give a finite number above 0, or 0 for none", c.Softcap)
	}
	if !(c.Dropout >= 0 && c.Dropout < 1) {
		bad("Dropout %v: give a probability from 0 to below 1", c.Dropout)
	}
	if c.Travel != "" && !slices.Contains(ring.Travels(), c.Travel) {
		bad("Travel %q: give kv, q or auto", c.Travel)
	}
	if c.CuSeqlens != nil && c.Batch > 1 {
		bad("Batch %d with CuSeqlens: documents are packed into a batch of 1", c.Batch)
	}
	if c.Chunk != nil && c.Shards != nil {
		bad("Chunk and Shards are both set: queries and keys are dealt separately; leave Shards out")
	}
	if ch := c.Chunk; ch != nil && (ch.Offset < 0 || ch.Len < 0) {
		bad("Chunk of %d queries at %d: give numbers from 0 on", ch.Len, ch.Offset)
	}
	if err := ring.CheckArithmetic(c.Device, c.DType); err != nil {
		errs = append(errs, fmt.Errorf("ringattn: Device and DType: %w", err))
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

// spec is the mask.
func (c Config) spec() mask.Spec {
	return mask.Spec{Causal: c.Causal, Window: c.Window, CuSeqlens: c.CuSeqlens, Rectangles: c.Mask}
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
