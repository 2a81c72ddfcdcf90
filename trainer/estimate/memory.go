package estimate

import "github.com/ringgrad/ringgrad/dist/shard"

// Sizes of elements in bytes.
const (
	floatSize  = 4 // weights, activations, gradients
	doubleSize = 8 // tables, and sums that must not lose digits
	tokenSize  = 4
)

// Memory is what is alive at the fullest moment of a step, in bytes. Go's collector lets short-lived memory pile up before it
// collects: at GOGC=100 a process grows to about twice Process, less with GOMEMLIMIT set.
type Memory struct {
	Process int64      `json:"process"` // Shared and the part of every rank
	Rank    int64      `json:"rank"`    // the part of the rank with most rows: the sum of Parts
	Shared  Shared     `json:"shared"`
	Parts   RankMemory `json:"parts"`
}

// Shared is what a process holds once, however many ranks it runs.
type Shared struct {
	Weights   int64 `json:"weights"`
	Gradients int64 `json:"gradients"`
	Optimizer int64 `json:"optimizer"` // two moments of every parameter
	Data      int64 `json:"data"`      // tokens of the data sets
}

func (s Shared) total() int64 { return s.Weights + s.Gradients + s.Optimizer + s.Data }

// RankMemory is what one rank holds besides.
type RankMemory struct {
	LayerInputs     int64 `json:"layer_inputs"`         // kept for the backward pass, of every layer
	SavedAttention  int64 `json:"saved_attention"`      // O and the log-sum-exp, of every layer
	Activations     int64 `json:"activations_forward"`  // outputs of one layer's and the head's ops
	ActivationGrads int64 `json:"activations_backward"` // their gradients
	Attention       int64 `json:"attention"`            // working memory of the larger pass, the backward
	RingBuffers     int64 `json:"ring_buffers"`         // own K and V, dK and dV, and the sums in flight
	WeightGrads     int64 `json:"weight_gradients"`     // of one layer, the head and the embedding
	CrossEntropy    int64 `json:"cross_entropy"`        // a chunk of logits with its rows
	Tables          int64 `json:"tables"`               // rotations, labels, batches
}

func (p RankMemory) total() int64 {
	return p.LayerInputs + p.SavedAttention + p.Activations + p.ActivationGrads + p.Attention + p.RingBuffers + p.WeightGrads +
		p.CrossEntropy + p.Tables
}

func memoryOf(m Model, r Run) Memory {
	memory := Memory{Shared: Shared{
		Weights:   m.Parameters * floatSize,
		Gradients: m.Parameters * floatSize,
		Optimizer: 2 * m.Parameters * floatSize,
		Data:      r.DataTokens * tokenSize,
	}}
	memory.Process = memory.Shared.total()
	for positions, ranks := range r.shards() {
		part := rankMemory(m, r, int64(positions))
		memory.Process += int64(ranks) * part.total()
		if total := part.total(); total > memory.Rank {
			memory.Rank, memory.Parts = total, part
		}
	}
	return memory
}

// shards counts the ranks by the positions that they hold of a sequence.
func (r Run) shards() map[int]int {
	counts := map[int]int{}
	s, err := shard.New(r.Layout, r.SequenceLen, r.Ring)
	if err != nil { // more of something than shards allow; no run will come of it
		return map[int]int{r.SequenceLen/r.Ring + 1: r.Ring}
	}
	for rank := range r.Ring {
		counts[s.Len(rank)]++
	}
	return counts
}

// rankMemory counts the buffers of a rank that holds the given positions of every sequence; see packages model, ops and ring.
func rankMemory(m Model, r Run, positions int64) RankMemory {
	batch := int64(r.MicroBatch)
	held := batch * positions
	rows := max(held, batch) // a rank without rows computes one of padding for each sequence
	layers, hidden, vocab := int64(m.Layers), int64(m.Hidden), int64(m.Vocab)
	kv := held * 2 * m.keys() * floatSize
	return RankMemory{
		// The input of every layer and of the head, and the gradient on its way back.
		LayerInputs:     (layers + 2) * rows * hidden * floatSize,
		SavedAttention:  layers * held * (m.queries() + 2*int64(m.Heads)) * floatSize, // O, LSE and its low part
		Activations:     rows * (m.layerOutputs() + hidden) * floatSize,               // and the head's norm
		ActivationGrads: rows * (m.layerGradients() + 2*hidden) * floatSize,
		Attention:       attentionMemory(m, r, held),
		// K and V, dK and dV, and from W = 2 on the share of others' dK and dV in one or two messages.
		RingBuffers:  kv * int64(1+min(r.Ring, 3)),
		WeightGrads:  m.weightGrads() * floatSize,
		CrossEntropy: chunk(rows, vocab) * (vocab + 2*hidden) * floatSize,
		// Cosines and sines; labels with their losses; ids and labels of the whole batches of a step.
		Tables: rows*(int64(m.HeadDim)*doubleSize+tokenSize+doubleSize) + 2*tokenSize*r.tokens()*int64(r.Accumulation),
	}
}

// layerOutputs is the width of all outputs of a layer's ops together, for one row: two norms, two residuals, the projections to
// hidden; q, k, v, their rotations and attention's output; gate, up and their product.
func (m Model) layerOutputs() int64 {
	width := 6*int64(m.Hidden) + 3*m.queries() + 3*m.keys() + 3*int64(m.Intermediate)
	if m.QKNorm {
		width += m.queries() + m.keys()
	}
	return width
}

// layerGradients is the same for the gradients of the ops' inputs. Hidden has 15: two of each residual, one of each norm and of
// each projection that reads a norm, and a sum wherever a value has several readers.
func (m Model) layerGradients() int64 {
	width := 15*int64(m.Hidden) + 3*m.queries() + 3*m.keys() + 3*int64(m.Intermediate)
	if m.QKNorm {
		width += m.queries() + m.keys()
	}
	return width
}

// attentionMemory is that of a backward: Q, dO and dQ by heads, dQ over all blocks in float64 where there are several, and delta.
// The forward's Q and carry are less.
func attentionMemory(m Model, r Run, rows int64) int64 {
	bytes := rows * (3*m.queries() + int64(m.Heads)) * floatSize
	if r.Ring > 1 {
		bytes += rows * m.queries() * doubleSize
	}
	return bytes
}

// weightGrads counts the entries of the gradients that a rank holds before they are summed over the ranks: one layer's, those of
// the head, and the embedding's where it is another matrix.
func (m Model) weightGrads() int64 {
	matrix := int64(m.Vocab) * int64(m.Hidden)
	n := m.LayerParameters + matrix + int64(m.Hidden)
	if !m.Tied {
		n += matrix
	}
	return n
}

// chunk is the number of rows whose logits exist at once: about 4 million logits, 64 to 1,024 rows (ops.CrossEntropy).
func chunk(rows, vocab int64) int64 {
	return min(rows, min(max((1<<22)/max(vocab, 1), 64), 1024))
}
