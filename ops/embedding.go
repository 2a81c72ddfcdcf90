package ops

import (
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// ErrToken is in the chain of errors about token ids and labels that the vocabulary lacks (see Cause).
var ErrToken = errors.New("token out of range")

// IDs are the token ids of the N rows of an Embedding. They are read at each run; set them before it.
type IDs struct{ ids []int32 }

// NewIDs makes the ids of N rows, all 0 until set.
func NewIDs(rows int) *IDs { return &IDs{ids: make([]int32, max(rows, 0))} }

// Set copies one id per row.
func (d *IDs) Set(ids []int32) error {
	if len(ids) != len(d.ids) {
		return fmt.Errorf("ops: ids: got %d ids for %d rows: set one per row", len(ids), len(d.ids))
	}
	copy(d.ids, ids)
	return nil
}

// Embedding looks up rows: y[i] = weight[ids[i]]. weight is [V, D], y is [N, D] with N the rows of ids.
//
// The gradient of weight is the whole [V, D] matrix, to which the rows of dy are added in order. An id outside [0, V) fails
// the run with ErrToken.
func Embedding(weight *gorgonia.Node, ids *IDs) (*gorgonia.Node, error) {
	const name = "embedding"
	if err := check(name, operand{"weight", weight, 2}); err != nil {
		return nil, err
	}
	if ids == nil {
		return nil, fmt.Errorf("ops: %s: ids is nil: pass NewIDs(rows)", name)
	}
	p := plan{name: name, in: []*gorgonia.Node{weight}, out: tensor.Shape{len(ids.ids), weight.Shape()[1]}}
	return build(p, embedding[float32]{ids}, embedding[float64]{ids})
}

type embedding[T Float] struct{ *IDs }

func (e embedding[T]) forward(p *pass[T]) error {
	weight, y := p.in[0], p.out
	for i, id := range e.ids {
		if int(id) < 0 || int(id) >= weight.rows() {
			return fmt.Errorf("row %d has id %d, the vocabulary has %d: use the model's own tokenizer: %w", i, id, weight.rows(), ErrToken)
		}
	}
	eachBlock(y.rows(), y.width(), func(from, to int) {
		for i := from; i < to; i++ {
			copy(y.row(i), weight.row(int(e.ids[i])))
		}
	})
	return nil
}

// scatterColumns is the width of the column strips that backward works on in parallel. Each strip adds its part of all rows in
// order, so the bits do not depend on threads.
const scatterColumns = 64

func (e embedding[T]) backward(p *pass[T]) error {
	dWeight, dy := p.grad(0), p.dOut
	clear(dWeight.data)
	width := dy.width()
	cpu.Parallel((width+scatterColumns-1)/scatterColumns, func(strip int) {
		from, to := strip*scatterColumns, min(width, (strip+1)*scatterColumns)
		for i, id := range e.ids {
			sum := dWeight.row(int(id))[from:to]
			cpu.Add(sum, sum, dy.row(i)[from:to])
		}
	})
	return nil
}
