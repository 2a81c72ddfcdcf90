// Package estimate predicts what a training step takes before a run: memory of a process and of each rank in it, bytes between
// the ranks, and floating-point operations, from which follows the time.
//
// The formulas follow the code they speak of. Bytes on the wire are exactly those that a dist.Ledger counts, as the op plans them for the
// mask of the layers; memory is what is alive at the fullest moment of a step, counted buffer by buffer in float32, and some garbage:
//
//	process     weights, AdamW's two moments, the gradients that are complete, the tokens of the data
//	each rank   every layer's input and what attention saved of it            grows with layers · T/W, and shrinks on the way back
//	            attention with what it reads, and their gradients             grows with T/W
//	            the rest of a layer, and the head, for a chunk of rows        does not depend on T or W
//	            one layer's weight gradients, the embedding's                 the same
//
// Packed documents are counted as packs full of documents of the mean length, or where nothing is known of them, as one document a
// pack, which is the most that they can take.
//
// The package builds no graph and runs no kernel.
package estimate

import (
	"fmt"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// Model is the shape of a transformer as far as it costs something.
type Model struct {
	Layers          int   `json:"layers"`
	Hidden          int   `json:"hidden_size"`
	Intermediate    int   `json:"intermediate_size"`
	Heads           int   `json:"heads"`
	KVHeads         int   `json:"kv_heads"`
	HeadDim         int   `json:"head_dim"`
	Vocab           int   `json:"vocab_size"`
	Tied            bool  `json:"tied"`                            // the output matrix is the embedding
	QKNorm          bool  `json:"qk_norm"`                         // heads of q and k are normed
	Window          int   `json:"sliding_window,omitempty"`        // positions that a query sees in some layers; 0: all in all layers
	WindowLayers    int   `json:"sliding_window_layers,omitempty"` // how many these are
	SandwichNorms   bool  `json:"sandwich_norms,omitempty"`        // four norms a layer
	FusedGate       bool  `json:"fused_gate,omitempty"`            // gate and up are one projection
	CappedLogits    bool  `json:"capped_logits,omitempty"`
	Parameters      int64 `json:"parameters"`
	LayerParameters int64 `json:"layer_parameters"` // of one layer
	Tensors         int   `json:"tensors"`          // that the parameters are in
}

// queries is the width of q and of attention's output, keys that of k and of v.
func (m Model) queries() int64 { return int64(m.Heads) * int64(m.HeadDim) }
func (m Model) keys() int64    { return int64(m.KVHeads) * int64(m.HeadDim) }

// ModelOf takes the shape from a model's config.
func ModelOf(c hf.Config) Model {
	m := Model{
		Layers: c.NumLayers, Hidden: c.HiddenSize, Intermediate: c.IntermediateSize, Heads: c.NumHeads, KVHeads: c.NumKVHeads,
		HeadDim: c.HeadDim, Vocab: c.VocabSize, Tied: c.TieWordEmbeddings, QKNorm: c.QKNorm,
		Parameters: int64(c.NumParameters()), Tensors: len(c.Parameters()),
	}
	m.SandwichNorms, m.FusedGate, m.CappedLogits = c.SandwichNorms, c.Gate == hf.ClampedSwiGLU, c.LogitSoftcap > 0
	for i := range c.NumLayers {
		if w := c.Window(i); w > 0 {
			m.Window = w
			m.WindowLayers++
		}
	}
	for _, p := range c.LayerParameters(0) {
		m.LayerParameters += int64(p.Len())
	}
	return m
}

// Run is how the model is trained. Zero fields count as 1, and as no data.
type Run struct {
	SequenceLen  int          `json:"sequence_len"`                // T, of every sequence
	Data         int          `json:"data_parallel_size"`          // D rings side by side, each with micro-batches of its own
	Ring         int          `json:"context_parallel_size"`       // W ranks of a ring
	MicroBatch   int          `json:"micro_batch_size"`            // B
	Accumulation int          `json:"gradient_accumulation_steps"` // micro-batches of a step
	Steps        int          `json:"max_steps,omitempty"`         // 0: not known
	Layout       shard.Layout `json:"ring_attn_func"`
	ZeroStage    int          `json:"zero_stage"`            // 1: the optimizer's state is dealt to the rings
	Attention    string       `json:"attention_dtype"`       // float32, or bfloat16 for what attention multiplies and sends
	DataTokens   int64        `json:"data_tokens,omitempty"` // held in memory

	Travel  ring.Travel `json:"ring_travel"`
	Ulysses int         `json:"ulysses_size"`
	Inner   int         `json:"ring_inner_size"`

	// Processes is how many the ranks are dealt to, in order and evenly; Memory is that of the process with most.
	Processes int `json:"-"`

	// MemoryLimit, if set, is what a better layout may take of a host, in bytes.
	MemoryLimit int64 `json:"-"`

	// Packed says that a micro-batch is one sequence of packed documents. DocumentLen is the mean length of these, 0 if it is not known.
	Packed      bool `json:"sample_packing,omitempty"`
	DocumentLen int  `json:"document_tokens,omitempty"`
	// Documents, if set, are the bounds 0, ..., T of the documents of every sequence.
	Documents []int `json:"-"`
}

func (r *Run) ensureDefaults() {
	for _, n := range []*int{&r.SequenceLen, &r.Data, &r.Ring, &r.Processes, &r.MicroBatch, &r.Accumulation, &r.Ulysses, &r.Inner} {
		*n = max(*n, 1)
	}
	if r.Layout == "" {
		r.Layout = shard.Contiguous
	}
	if r.Travel == "" {
		r.Travel = ring.KV
	}
	if r.Attention == "" {
		r.Attention = "float32"
	}
}

// narrow is the arithmetic of attention, if it is not that of the arrays.
func (r Run) narrow() ring.DType {
	if r.Attention == "" || r.Attention == config.Default().AttentionDtype {
		return ""
	}
	return ring.DType(r.Attention)
}

// folded is the run as the model sees it: packs of a micro-batch are one sequence.
func (r Run) folded() Run {
	if !r.Packed || r.Documents != nil {
		return r
	}
	tokens, document := r.SequenceLen*r.MicroBatch, r.DocumentLen
	if document <= 0 || document > r.SequenceLen {
		document = r.SequenceLen
	}
	for from := 0; from < tokens; from += document {
		r.Documents = append(r.Documents, from)
	}
	r.Documents = append(r.Documents, tokens)
	r.SequenceLen, r.MicroBatch = tokens, 1
	return r
}

// Mask says in words what a query is taken to see, besides causal order and windows; "" where there is nothing to say.
func (r Run) Mask() string {
	switch {
	case !r.Packed:
		return ""
	case r.DocumentLen > 0:
		return fmt.Sprintf("packs are taken to be full of documents of %d tokens, the mean", r.DocumentLen)
	}
	return "a pack is taken to be one document, as no data were read: short documents take less"
}

// tokens of one micro-batch of a ring.
func (r Run) tokens() int64 { return int64(r.SequenceLen) * int64(r.MicroBatch) }

// micro is how many micro-batches all rings go through in a step.
func (r Run) micro() int64 { return int64(r.Accumulation) * int64(r.Data) }

// ranks is how many ranks there are in all.
func (r Run) ranks() int { return r.Data * r.Ring }

// RunOf takes a run from its config.
func RunOf(c config.Config) Run {
	return Run{
		SequenceLen: c.SequenceLen, Data: c.DataParallelSize, ZeroStage: c.ZeroStage, Ring: c.ContextParallelSize, MicroBatch: c.MicroBatchSize, Accumulation: c.GradientAccumulationSteps,
		Steps: c.MaxSteps, Layout: shard.Layout(c.RingAttnFunc), Attention: c.AttentionDtype,
		Travel: ring.Travel(c.RingTravel), Ulysses: c.UlyssesSize, Inner: max(c.RingInnerSize, 1), Packed: c.SamplePacking,
	}
}

// Estimate is what one step takes.
type Estimate struct {
	Model         Model  `json:"model"`
	Run           Run    `json:"run"`
	TokensPerStep int64  `json:"tokens_per_step"`
	Memory        Memory `json:"memory"`
	Wire          Wire   `json:"wire"`
	Travel        Choice `json:"travel"`
	Mask          string `json:"mask,omitempty"` // what was taken for the documents' masks
	Flops         Flops  `json:"flops"`
}

// Compute estimates a step of r's training of m.
func Compute(m Model, r Run) Estimate {
	r.ensureDefaults()
	wire, travel := wireOf(m, r.folded())
	return Estimate{
		Model: m, Run: r, TokensPerStep: r.tokens() * r.micro(),
		Memory: memoryOf(m, r.folded()), Wire: wire, Travel: travel, Mask: r.Mask(), Flops: flopsOf(m, r.folded()),
	}
}

// FlopsOf is Compute's Flops alone.
func FlopsOf(m Model, r Run) Flops {
	r.ensureDefaults()
	return flopsOf(m, r.folded())
}

// MemoryOf is Compute's Memory alone.
func MemoryOf(m Model, r Run) Memory {
	r.ensureDefaults()
	return memoryOf(m, r.folded())
}

// For estimates a step of the run that c describes, with the model m.
func For(m hf.Config, c config.Config) Estimate { return Compute(ModelOf(m), RunOf(c)) }

// WireBytes is what all ranks send in one step.
func (e Estimate) WireBytes() int64 { return e.Wire.Bytes() }

// Seconds is how long the step's arithmetic takes at the given speeds.
func (e Estimate) Seconds(s Speed) float64 { return e.Flops.seconds(s) }
