package model

import (
	"fmt"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// IgnoreLabel marks a row that has no target; any negative label does.
const IgnoreLabel = -100

// Batch is B sequences of T tokens, the same on every rank. Labels[b*T+t] is the token that is to follow IDs[b*T+t] (they are
// shifted already), or negative.
type Batch struct {
	IDs, Labels []int32 // [B, T]
	B, T        int
	// Documents, if set, are the bounds 0, ..., T of documents packed into the one sequence (B is 1). They do not see each other, and
	// each begins at position 0; some may be empty.
	Documents []int
	Step      uint64 // of training, counting micro-batches: attention's dropout differs in each
}

// check finds mistakes in a batch; every rank sees the whole batch, so all find them together.
func (b Batch) check(vocabulary int) error {
	if b.B < 1 || b.T < 1 {
		return fmt.Errorf("model: a batch of %d sequences of %d tokens; give at least one of each", b.B, b.T)
	}
	if len(b.IDs) != b.B*b.T || len(b.Labels) != b.B*b.T {
		return fmt.Errorf("model: %d ids and %d labels for %d sequences of %d tokens; give %d of both", len(b.IDs), len(b.Labels), b.B, b.T, b.B*b.T)
	}
	if b.Documents != nil && b.B != 1 {
		return fmt.Errorf("model: a batch of %d sequences with documents; pack them into one sequence", b.B)
	}
	if err := (mask.Spec{CuSeqlens: b.Documents}).Validate(b.T); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	for i, id := range b.IDs {
		if id < 0 || int(id) >= vocabulary {
			return fmt.Errorf("model: token %d of sequence %d is %d, the vocabulary has %d; use the model's own tokenizer: %w", i%b.T, i/b.T, id, vocabulary, ops.ErrToken)
		}
		if int(b.Labels[i]) >= vocabulary {
			return fmt.Errorf("model: label %d of sequence %d is %d, the vocabulary has %d; use the model's own tokenizer: %w", i%b.T, i/b.T, b.Labels[i], vocabulary, ops.ErrToken)
		}
	}
	return nil
}

// ownRows takes a rank's rows [B·S] of global [B, T] values. A rank without rows gets B times filler: gorgonia has no empty
// tensors, so such a rank computes one row of padding per sequence, which nobody sees and which has no gradient.
func ownRows(s shard.Sharding, rank int, global []int32, filler int32) []int32 {
	batch := len(global) / s.Tokens()
	if s.Len(rank) == 0 {
		out := make([]int32, batch)
		for i := range out {
			out[i] = filler
		}
		return out
	}
	out := make([]int32, 0, batch*s.Len(rank))
	for b := range batch {
		out = append(out, shard.Scatter(s, rank, global[b*s.Tokens():(b+1)*s.Tokens()], 1)...)
	}
	return out
}
