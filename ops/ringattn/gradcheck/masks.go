package gradcheck

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn"
)

// variant is an attention with options, still without numbers.
type variant struct {
	name string
	ringattn.DenseInputs
}

// variants are all options, each alone and at last together, for a sequence of so many tokens.
func variants(tokens int) []variant {
	shape := ringattn.DenseInputs{Batch: 1, Tokens: tokens, Heads: 4, KVHeads: 2, Dim: 4, ValueDim: 4}
	var all []variant
	add := func(name string, set func(in *ringattn.DenseInputs)) {
		in := shape
		set(&in)
		all = append(all, variant{name, in})
	}
	add("full", func(in *ringattn.DenseInputs) { in.Batch = 2 })
	add("causal", func(in *ringattn.DenseInputs) { in.Batch, in.Causal = 2, true })
	add("documents", func(in *ringattn.DenseInputs) { in.CuSeqlens = documents(tokens) })
	add("causal documents", func(in *ringattn.DenseInputs) { in.Causal, in.CuSeqlens = true, documents(tokens) })
	add("window, left", func(in *ringattn.DenseInputs) { in.Causal, in.Window = true, &mask.Window{Left: tokens / 4, Right: -1} })
	add("window, right", func(in *ringattn.DenseInputs) { in.Window = &mask.Window{Left: -1, Right: tokens / 5} })
	add("window, both sides", func(in *ringattn.DenseInputs) { in.Batch, in.Window = 2, &mask.Window{Left: tokens / 6, Right: 2} })
	add("softcap", func(in *ringattn.DenseInputs) { in.Batch, in.Causal, in.Softcap = 2, true, 1.5 })
	add("ALiBi", func(in *ringattn.DenseInputs) { in.Batch, in.ALiBiSlopes = 2, slopes(in.Heads) })
	add("sinks", func(in *ringattn.DenseInputs) { in.Batch, in.Causal, in.Sinks = 2, true, sinks(in.Heads) })
	add("dropout", func(in *ringattn.DenseInputs) {
		in.Batch, in.Causal, in.Dropout, in.DropoutSeed, in.Step = 2, true, 0.3, 5, 7
	})
	add("shared question", func(in *ringattn.DenseInputs) { in.Mask = sharedQuestion(tokens) })
	add("block-causal", func(in *ringattn.DenseInputs) { in.Batch, in.Mask = 2, blockCausal(tokens, max(tokens/5, 1)) })
	add("rectangles of all kinds", func(in *ringattn.DenseInputs) { in.Mask, in.Sinks = rectangles(tokens), sinks(in.Heads) })
	add("chunk", func(in *ringattn.DenseInputs) { in.Batch, in.Causal, in.Chunk = 2, true, chunk(tokens) })
	add("MLA widths", func(in *ringattn.DenseInputs) { in.Causal, in.KVHeads, in.Dim, in.ValueDim = true, in.Heads, 24, 16 })
	add("GQA", func(in *ringattn.DenseInputs) { in.Batch, in.Causal, in.Heads, in.Dim, in.ValueDim = 2, true, 6, 5, 3 })
	add("everything", everything)
	add("everything, rectangles, chunk", func(in *ringattn.DenseInputs) {
		everything(in)
		in.Causal, in.Mask, in.Chunk = false, slices.Concat(blockCausal(tokens, max(tokens/3, 1)), rectangles(tokens)), chunk(tokens)
	})
	return all
}

func everything(in *ringattn.DenseInputs) {
	t := in.Tokens
	in.Causal, in.Window, in.CuSeqlens, in.Scale, in.Softcap = true, &mask.Window{Left: t / 3, Right: 2}, documents(t), 0.4, 2
	in.ALiBiSlopes, in.Sinks, in.Dropout, in.DropoutSeed, in.Layer, in.Step = slopes(in.Heads), sinks(in.Heads), 0.2, 9, 3, 11
	in.Dim, in.ValueDim = 6, 4
}

// documents are bounds with empty documents at the beginning, in the middle and at the end, and with documents of one token.
func documents(tokens int) []int {
	cu := []int{0, 0, 1, tokens / 3, tokens / 3, tokens/3 + 1, tokens/3 + 2, tokens * 3 / 4, tokens, tokens}
	for i := range cu {
		cu[i] = min(cu[i], tokens)
	}
	slices.Sort(cu)
	return cu
}

// slopes are those of ALiBi, one for each head.
func slopes(heads int) []float64 {
	s := make([]float64, heads)
	for h := range s {
		s[h] = math.Exp2(-4 * float64(h+1) / float64(heads))
	}
	return s
}

// sinks are below, among and above the logits.
func sinks(heads int) []float64 {
	s := make([]float64, heads)
	for h := range s {
		s[h] = 2.5 - 1.75*float64(h)
	}
	return s
}

// sharedQuestion is one question with two answers that do not see each other.
func sharedQuestion(tokens int) []mask.Rectangle {
	a, b := tokens/3, tokens*2/3
	return []mask.Rectangle{
		{QueryTo: a, KeyTo: a, Kind: mask.Causal},
		{QueryFrom: a, QueryTo: b, KeyTo: a, Kind: mask.Full}, {QueryFrom: a, QueryTo: b, KeyFrom: a, KeyTo: b, Kind: mask.Causal},
		{QueryFrom: b, QueryTo: tokens, KeyTo: a, Kind: mask.Full}, {QueryFrom: b, QueryTo: tokens, KeyFrom: b, KeyTo: tokens, Kind: mask.Causal},
	}
}

// blockCausal lets the queries of a block see all keys of it and of the blocks before.
func blockCausal(tokens, block int) (all []mask.Rectangle) {
	for from := 0; from < tokens; from += block {
		to := min(from+block, tokens)
		all = append(all, mask.Rectangle{QueryFrom: from, QueryTo: to, KeyTo: to})
	}
	return all
}

// rectangles are of all kinds and overlap; the first and the last queries see nothing, nor do some in the middle, and some keys are seen
// by nobody.
func rectangles(tokens int) []mask.Rectangle {
	at := func(tenths int) int { return tokens * tenths / 10 }
	return []mask.Rectangle{
		{QueryFrom: at(1), QueryTo: at(4), KeyFrom: at(2), KeyTo: at(6), Kind: mask.InverseCausal},
		{QueryFrom: at(2), QueryTo: at(5), KeyFrom: at(5), KeyTo: at(7), Kind: mask.Causal},
		{QueryFrom: at(6), QueryTo: at(9), KeyFrom: at(0), KeyTo: at(8), Kind: mask.Bidirectional},
		{QueryFrom: at(7), QueryTo: at(8), KeyFrom: at(1), KeyTo: at(3)},
	}
}

// chunk is a third of the queries, from the middle on.
func chunk(tokens int) *ringattn.Chunk {
	return &ringattn.Chunk{Offset: tokens / 2, Len: (tokens + 2) / 3}
}

// describe names a run.
func describe(in ringattn.DenseInputs, s setup) string {
	run := strings.TrimSpace(fmt.Sprintf("%s %s ring %d %s %s", s.DType, optionNames(in), s.Ring, s.Layout, s.Way))
	return fmt.Sprintf("%s, %d tokens, %d/%d heads of %d/%d", run, in.Tokens, in.Heads, in.KVHeads, in.Dim, in.ValueDim)
}

// optionNames lists the options of a problem.
func optionNames(in ringattn.DenseInputs) string {
	names := []string{"full"}
	if in.Causal {
		names[0] = "causal"
	}
	name := func(is bool, format string, args ...any) {
		if is {
			names = append(names, fmt.Sprintf(format, args...))
		}
	}
	name(in.CuSeqlens != nil, "%d documents", len(in.CuSeqlens)-1)
	if w := in.Window; w != nil {
		name(true, "window %d,%d", w.Left, w.Right)
	}
	name(in.Mask != nil, "%d rectangles", len(in.Mask))
	name(in.Softcap != 0, "softcap %g", in.Softcap)
	name(in.ALiBiSlopes != nil, "ALiBi")
	name(in.Sinks != nil, "sinks")
	name(in.Dropout != 0, "dropout %g", in.Dropout)
	if c := in.Chunk; c != nil {
		name(true, "%d queries at %d", c.Len, c.Offset)
	}
	return strings.Join(names, ", ")
}
