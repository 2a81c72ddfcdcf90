package estimate

import (
	"math"
	"math/bits"
	"runtime"

	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// Sizes of elements in bytes.
const (
	floatSize  = 4 // weights, activations, gradients
	doubleSize = 8 // tables, and sums that must not lose digits
	tokenSize  = 4
)

// Memory is what a process takes at the fullest moment of a step, in bytes.
type Memory struct {
	Process int64      `json:"process"` // Shared, the part of every rank, and Garbage
	Rank    int64      `json:"rank"`    // the part of the rank with most rows: the sum of Parts
	Shared  Shared     `json:"shared"`
	Parts   RankMemory `json:"parts"`
	Garbage int64      `json:"garbage"` // what piles up between two runs of Go's collector, and the gaps that it leaves

	// GCPercent is the setting of the collector (GOGC) with which Garbage comes true. The default, 100, lets a process grow to twice
	// of what is in use.
	GCPercent int `json:"gc_percent"`
}

// Shared is what a process holds once, however many ranks it runs.
type Shared struct {
	Program   int64 `json:"program"` // code, and Go's own memory
	Weights   int64 `json:"weights"`
	Gradients int64 `json:"gradients"` // those that are summed over the ranks at that moment
	Optimizer int64 `json:"optimizer"` // two moments of every parameter
	Data      int64 `json:"data"`      // tokens of the data sets

	Arriving int64 `json:"arriving,omitempty"` // parts of a gradient from other processes
}

func (s Shared) total() int64 {
	return s.Program + s.Weights + s.Gradients + s.Optimizer + s.Data + s.Arriving
}

// programSize is what the command takes before it has read anything.
const programSize = 24 << 20

// Garbage that may pile up before it is collected: a share of the memory in use, within bounds. With little the collector would run
// all the time; beyond the upper bound it runs seldom enough.
const (
	garbageShare = 0.03
	leastGarbage = 24 << 20
	mostGarbage  = 128 << 20
)

// collect sets GCPercent for the memory in use, and adds the garbage to what there is of it.
func (m *Memory) collect() {
	inUse := float64(m.Process)
	wanted := min(max(garbageShare*inUse, leastGarbage), mostGarbage)
	m.GCPercent = int(min(max(math.Round(100*wanted/inUse), 1), 100))
	m.Garbage += int64(inUse * float64(m.GCPercent) / 100)
	m.Process += m.Garbage
}

// RankMemory is what one rank holds besides.
type RankMemory struct {
	LayerInputs     int64 `json:"layer_inputs"`         // kept for the backward pass, of the layers that are still to go
	SavedAttention  int64 `json:"saved_attention"`      // O and the log-sum-exp, of these layers
	Activations     int64 `json:"activations_forward"`  // outputs of one layer's and the head's ops
	ActivationGrads int64 `json:"activations_backward"` // their gradients
	Attention       int64 `json:"attention"`            // working memory of the larger pass, the backward
	RingBuffers     int64 `json:"ring_buffers"`         // own K and V, dK and dV, and the sums in flight
	WeightGrads     int64 `json:"weight_gradients"`     // those that are not summed over the ranks yet
	CrossEntropy    int64 `json:"cross_entropy"`        // a chunk of logits with its rows
	Tables          int64 `json:"tables"`               // rotations, labels, batches
}

func (p RankMemory) total() int64 {
	return p.LayerInputs + p.SavedAttention + p.Activations + p.ActivationGrads + p.Attention + p.RingBuffers + p.WeightGrads +
		p.CrossEntropy + p.Tables
}

// moment is a point of the backward pass, as far as memory depends on it: gradients of weights come while what the layers kept goes.
type moment struct {
	layers  int64 // whose input and attention are kept
	atWork  bool  // attention is, and one layer's gradients are not summed yet
	matrix  bool  // nor is that of the head, or of the embedding
	settled int64 // entries of the gradients that are
	first   bool  // attention's section has not run back before, and its graph has no memory for gradients yet
}

// moments are those one of which is the fullest: the head, the last layer, the first layer, the embedding.
func (m Model) moments(r Run) []moment {
	layers, matrix := int64(m.Layers), int64(m.Vocab)*int64(m.Hidden)
	head := matrix // an untied head's gradient is summed before the layers'
	if m.Tied {
		head = 0
	}
	if r.Steps == 1 && r.Accumulation == 1 && m.Layers == 1 { // it runs back once
		return []moment{
			{layers: 1, atWork: true, matrix: m.Tied, settled: head, first: true},
			{layers: 1, matrix: m.Tied, settled: head}, // attention's own memory is free by then
		}
	}
	return []moment{
		{layers: layers, matrix: true},
		{layers: layers, atWork: true, matrix: m.Tied, settled: head},
		{layers: 1, atWork: true, matrix: m.Tied, settled: m.Parameters - m.LayerParameters - matrix},
		{matrix: true, settled: m.Parameters - matrix},
	}
}

// memoryOf is the memory of the process with most.
func memoryOf(m Model, r Run) (most Memory) {
	ranks := max(r.ranks()/r.Processes, 1)
	for from := 0; from < r.ranks(); from += ranks {
		if memory := memoryOfRanks(m, r, from, min(from+ranks, r.ranks())); memory.Process > most.Process {
			most = memory
		}
		if even := r.Ring%ranks == 0 || ranks%r.Ring == 0; even && from+ranks >= r.Ring { // the other rings are the same
			break
		}
	}
	return most
}

// memoryOfRanks is that of a process that has the ranks from..to-1 of a run.
func memoryOfRanks(m Model, r Run, from, to int) Memory {
	var fullest Memory
	for _, at := range m.moments(r) {
		if memory := memoryAt(m, r, at, from, to); memory.Process > fullest.Process {
			fullest = memory
		}
	}
	fullest.collect()
	return fullest
}

func memoryAt(m Model, r Run, at moment, from, to int) Memory {
	memory := Memory{Shared: Shared{
		Program:   programSize,
		Weights:   m.Parameters * floatSize,
		Gradients: at.settled * floatSize,
		Optimizer: 2 * m.Parameters * floatSize * int64(r.shards(from, to)) / int64(r.Data),
		Data:      r.DataTokens * tokenSize,
		Arriving:  arriving(m, r, int64(to-from)),
	}}
	if r.Accumulation > 1 { // sums of the micro-batches before
		memory.Shared.Gradients = m.Parameters * floatSize
	}
	memory.Process = memory.Shared.total()
	for positions, ranks := range m.shards(r, from, to) {
		part := rankMemory(m, r, at, int64(positions))
		memory.Process += int64(ranks) * part.total()
		memory.Garbage += int64(ranks) * m.gaps(r, int64(positions))
		if total := part.total(); total > memory.Rank {
			memory.Rank, memory.Parts = total, part
		}
	}
	return memory
}

// arriving is where the parts of a gradient arrive that ranks of a process get from other ones, at the largest parameter.
func arriving(m Model, r Run, ranks int64) int64 {
	largest := int64(m.Hidden) * int64(max(m.Vocab, m.Intermediate))
	all := int64(r.ranks())
	return largest * floatSize * ranks * (all - ranks) / all
}

// shards counts the ranks from..to-1 by the positions that they hold of a sequence.
func (m Model) shards(r Run, from, to int) map[int]int {
	counts := map[int]int{}
	s, err := m.sharding(r)
	if err != nil { // more of something than shards allow; no run will come of it
		return map[int]int{r.SequenceLen/r.Ring + 1: to - from}
	}
	for rank := from; rank < to; rank++ {
		counts[s.Len(rank%r.Ring)]++
	}
	return counts
}

// shards is how many of the Data shards of the optimizer's state the ranks from..to-1 keep: those of their rings, or all.
func (r Run) shards(from, to int) int {
	if r.ZeroStage == 0 {
		return r.Data
	}
	return (to-1)/r.Ring - from/r.Ring + 1
}

// rankMemory counts the buffers of a rank that holds the given positions of every sequence; see packages model, ops and ring.
func rankMemory(m Model, r Run, at moment, positions int64) RankMemory {
	batch := int64(r.MicroBatch)
	held := batch * positions
	rows := max(held, batch) // a rank without rows computes one of padding for each sequence
	chunked := chunkedRows(rows)
	hidden, vocab := int64(m.Hidden), int64(m.Vocab)
	memory := RankMemory{
		// Inputs of layers and of the head, and the gradient on its way back.
		LayerInputs:     (max(at.layers, 1) + 2) * rows * hidden * floatSize,
		SavedAttention:  at.layers * held * (m.queries() + 2*int64(m.Heads)) * floatSize, // O, LSE and its low part
		Activations:     (rows*m.sections()*m.attendOutputs() + chunked*(m.feedOutputs()+hidden)) * floatSize,
		ActivationGrads: chunked * (m.feedGradients() + 2*hidden) * floatSize,
		CrossEntropy:    logitRows(chunked, vocab) * (vocab + 2*hidden) * floatSize,
		// Cosines and sines; labels with their losses; ids and labels of the whole batches of a step.
		Tables: rows*(int64(m.HeadDim)*doubleSize+tokenSize+doubleSize) + 2*tokenSize*r.tokens()*int64(r.Accumulation),
	}
	if m.CappedLogits { // derivatives of a row for each thread
		memory.CrossEntropy += vocab * min(int64(runtime.GOMAXPROCS(0)), logitRows(chunked, vocab)) * floatSize
	}
	if r.Ulysses > 1 { // O and LSE are kept as the ring has them, too
		memory.SavedAttention *= 2
	}
	if !at.first {
		memory.ActivationGrads += rows * m.sections() * m.attendGradients() * floatSize
	}
	if at.atWork {
		memory.Attention = attentionMemory(m, r, held) + rows*m.queries()*floatSize // and the gradient of its output
		if !at.first {                                                              // and those of its inputs, of the layer before
			memory.Attention += rows * (m.queries() + 2*m.keys()) * floatSize
		}
		memory.RingBuffers = ringBuffers(m, r, held)
		memory.WeightGrads = m.LayerParameters * floatSize
	}
	if at.matrix {
		memory.WeightGrads += vocab * hidden * floatSize
	}
	return memory
}

// ringBuffers are what travels, with what it gathers, in a backward pass of a rank with so many rows.
func ringBuffers(m Model, r Run, rows int64) int64 {
	ranks := r.Ring / max(r.Ulysses, 1)
	kv, q := rows*2*m.keys()*floatSize, rows*m.queries()*floatSize
	// K and V, dK and dV, and from W = 2 on the share of others' dK and dV in one or two messages.
	bytes := kv * int64(1+min(ranks, 3))
	if r.narrow() != "" { // K and V take half, and the kernel's copy of K by columns a quarter
		bytes -= kv / 4
	}
	if (r.Travel == ring.Q || r.Travel == ring.Auto) && ranks > 1 { // Q, dO and three numbers a head in as many messages, and dQ; auto may choose it
		message := 2*q + 3*rows*int64(m.Heads)*floatSize
		bytes = max(bytes, 2*kv+int64(min(ranks, 3))*message+2*q)
	}
	if r.Ulysses > 1 { // what is exchanged: Q, K, V and dO with all heads of the rank's rows and with its heads of all rows, and gradients
		bytes += 3*q + 2*kv
	}
	return bytes
}

// gaps is the room between a rank's arrays that stays free because nothing fits: measured, about one input of a layer, and half of a
// layer's gradients, which come where inputs were.
func (m Model) gaps(r Run, positions int64) int64 {
	return max(positions, 1)*int64(r.MicroBatch)*int64(m.Hidden)*floatSize + m.LayerParameters*floatSize/2
}

// chunkRows is that of package model.
const chunkRows = 2048

// chunkedRows is the number of rows that graphs of chunks are built for: one chunk, or two where the chunks are not of one length.
func chunkedRows(rows int64) int64 {
	chunks := (rows + chunkRows - 1) / chunkRows
	if rows%chunks == 0 {
		return rows / chunks
	}
	return 2*(rows/chunks) + 1
}

// sections is the number of first sections with memory of their own: layers with a window have another than those without.
func (m Model) sections() int64 {
	if m.WindowLayers > 0 && m.WindowLayers < m.Layers {
		return 2
	}
	return 1
}

// attendOutputs is the width of all outputs of the first section's ops together, for one row: a norm; q, k, v, the rotated q and k;
// attention's output.
func (m Model) attendOutputs() int64 {
	width := int64(m.Hidden) + 3*m.queries() + 3*m.keys()
	if m.QKNorm {
		width += m.queries() + m.keys()
	}
	return width
}

// attendGradients is the same for the gradients of the ops' inputs: of x, three times of its norm and their sum; of q and k and the
// rotated ones, of v.
func (m Model) attendGradients() int64 {
	width := 5*int64(m.Hidden) + 2*m.queries() + 3*m.keys()
	if m.QKNorm {
		width += m.queries() + m.keys()
	}
	return width
}

// feedOutputs is that of the second section: two projections to hidden, two residuals, a norm; gate, up and their product; two norms
// more where there are four a layer.
func (m Model) feedOutputs() int64 {
	width := 5*int64(m.Hidden) + 3*int64(m.Intermediate)
	if m.SandwichNorms {
		width += 2 * int64(m.Hidden)
	}
	return width
}

// feedGradients is the same for the gradients of the ops' inputs. Hidden has 9: two of each residual, one of the norm and of each
// projection that reads it, and a sum where a value has two readers: the norm has one where gate and up are one projection.
func (m Model) feedGradients() int64 {
	width := 9*int64(m.Hidden) + m.queries() + 3*int64(m.Intermediate)
	if m.SandwichNorms {
		width += 2 * int64(m.Hidden)
	}
	if m.FusedGate {
		width -= 2 * int64(m.Hidden)
	}
	return width
}

// attentionMemory is that of a backward: Q, dO and dQ by heads, dQ over all blocks in float64 where there are several, delta, the
// kernel's copies of dQ. The forward's Q and carry are less.
func attentionMemory(m Model, r Run, rows int64) int64 {
	bytes := rows * (3*m.queries() + int64(m.Heads)) * floatSize
	if r.Ring > 1 {
		bytes += rows * m.queries() * doubleSize
	}
	return bytes + queryCopies(m, r, rows)
}

// queryCopies is what the kernel takes where KV heads are too few to keep processors busy and the keys of each are cut in several
// runs: a copy of dQ for each run, in scratch whose lengths are powers of two.
func queryCopies(m Model, r Run, rows int64) int64 {
	const enough = 4 // runs of keys in all
	kvHeads := int64(r.MicroBatch) * int64(m.KVHeads)
	runs := (enough + kvHeads - 1) / kvHeads
	if runs == 1 {
		return 0
	}
	return floatSize << bits.Len64(uint64(max(runs*rows*m.queries(), 1)-1))
}

// logitRows is the number of rows whose logits exist at once: about 4 million logits, 64 to 1,024 rows (ops.CrossEntropy).
func logitRows(rows, vocab int64) int64 {
	return min(rows, min(max((1<<22)/max(vocab, 1), 64), 1024))
}
