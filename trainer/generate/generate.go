// Package generate continues a prompt with a model, greedily or by sampling, on one rank or round a ring of ranks.
//
// There is no key-value cache: every new token is one forward pass over the text so far, padded at its end to a multiple of
// padTo tokens (which a causal model cannot see), so that few layer graphs are built.
package generate

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// padTo keeps the number of different sequence lengths, and with it of graphs, small.
const padTo = 64

// Options of a generation. The zero value is greedy and generates nothing.
type Options struct {
	MaxNewTokens int
	Temperature  float64 // 0: greedy, the most likely token (the lowest id among equals)
	TopK         int     // 0: all tokens
	TopP         float64 // 0 or 1: all tokens; else the smallest set whose probability reaches TopP
	Seed         int64
	Stop         []int32 // ids that end the text; they are not part of the result
	MaxLength    int     // longest text in tokens, prompt included; 0: unlimited
	// Emit, if set, is called on rank 0 with every new token.
	Emit func(id int32)
}

// Validate reports every option out of range.
func (o Options) Validate() error {
	switch {
	case o.MaxNewTokens < 0:
		return fmt.Errorf("generate: max new tokens %d is negative", o.MaxNewTokens)
	case o.Temperature < 0 || math.IsNaN(o.Temperature) || math.IsInf(o.Temperature, 0):
		return fmt.Errorf("generate: temperature %v is not a number of at least 0", o.Temperature)
	case o.TopP < 0 || o.TopP > 1 || math.IsNaN(o.TopP):
		return fmt.Errorf("generate: top-p %v is not between 0 and 1", o.TopP)
	case o.TopK < 0:
		return fmt.Errorf("generate: top-k %d is negative", o.TopK)
	}
	return nil
}

// Tokens returns the ids that follow prompt. Every rank of comm (nil: one rank) calls it with its own model and gets the same ids.
func Tokens(ctx context.Context, m *model.Model[float32], comm *dist.Comm, prompt []int32, o Options) ([]int32, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if len(prompt) == 0 {
		return nil, fmt.Errorf("generate: the prompt has no tokens and the tokenizer adds none; give a prompt")
	}
	random := rand.New(rand.NewPCG(uint64(o.Seed), 0x9e3779b97f4a7c15))
	text := append([]int32(nil), prompt...)
	for len(text)-len(prompt) < o.MaxNewTokens && (o.MaxLength <= 0 || len(text) < o.MaxLength) {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		logits, err := nextLogits(ctx, m, comm, text)
		if err != nil {
			return nil, fmt.Errorf("generate: token %d: %w", len(text)-len(prompt)+1, err)
		}
		id, err := pick(logits, o, random)
		if err != nil {
			return nil, fmt.Errorf("generate: token %d: %w", len(text)-len(prompt)+1, err)
		}
		if slices.Contains(o.Stop, id) {
			break
		}
		text = append(text, id)
		if o.Emit != nil && (comm == nil || comm.Rank() == 0) {
			o.Emit(id)
		}
	}
	return text[len(prompt):], nil
}

// nextLogits returns the logits [V] that follow the last token of text, on every rank.
func nextLogits(ctx context.Context, m *model.Model[float32], comm *dist.Comm, text []int32) ([]float32, error) {
	length := (len(text) + padTo - 1) / padTo * padTo
	ids := make([]int32, length)
	copy(ids, text)
	labels := make([]int32, length)
	for i := range labels {
		labels[i] = model.IgnoreLabel
	}
	owner, row := locate(m, length, len(text)-1)
	var rows []int
	if comm == nil || comm.Rank() == owner {
		rows = []int{row}
	} else {
		rows = []int{}
	}
	logits, err := m.Logits(ctx, model.Batch{IDs: ids, Labels: labels, B: 1, T: length}, rows)
	if err != nil || comm == nil {
		return logits, err
	}
	all, err := dist.AllGather(ctx, comm, logits)
	if err != nil {
		return nil, err
	}
	return all[owner], nil
}

// locate finds the rank and local row that hold a global position.
func locate(m *model.Model[float32], length, position int) (rank, row int) {
	s := m.Sharding(model.Batch{B: 1, T: length})
	for rank = range s.Ranks() {
		for row = range s.Len(rank) {
			if s.Position(rank, row) == position {
				return rank, row
			}
		}
	}
	panic(fmt.Sprintf("generate: position %d of %d is on no rank", position, length))
}

func pick(logits []float32, o Options, random *rand.Rand) (int32, error) {
	best := 0
	for i, x := range logits {
		if math.IsNaN(float64(x)) {
			return 0, fmt.Errorf("the logit of token %d is NaN; the model's weights are damaged", i)
		}
		if x > logits[best] {
			best = i
		}
	}
	if o.Temperature == 0 {
		return int32(best), nil
	}
	return sample(logits, float64(logits[best]), o, random), nil
}

// sample draws from softmax(logits/temperature) cut to the TopK and TopP most likely tokens.
func sample(logits []float32, highest float64, o Options, random *rand.Rand) int32 {
	ids := make([]int, len(logits))
	weights := make([]float64, len(logits))
	total := 0.0
	for i, x := range logits {
		ids[i] = i
		weights[i] = math.Exp((float64(x) - highest) / o.Temperature)
		total += weights[i]
	}
	sort.SliceStable(ids, func(a, b int) bool { return weights[ids[a]] > weights[ids[b]] })
	if o.TopK > 0 && o.TopK < len(ids) {
		ids = ids[:o.TopK]
	}
	kept := 0.0
	for n, id := range ids {
		kept += weights[id]
		if o.TopP > 0 && kept >= o.TopP*total {
			ids = ids[:n+1]
			break
		}
	}
	at := random.Float64() * kept
	for _, id := range ids {
		if at -= weights[id]; at < 0 {
			return int32(id)
		}
	}
	return int32(ids[len(ids)-1])
}
