// Package eval measures a model: mean loss and perplexity over documents, overall, for each document and by position in the
// document, with the full context round the ring or with the sliding window that a short-context model is limited to.
//
// Losses are natural logarithms (nats) per target token. A document of n tokens has n-1 targets; the loss at position i is that
// of predicting token i+1 from tokens 0..i.
package eval

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// ErrStopped is returned when Options.Stop asked for an early end.
var ErrStopped = errors.New("eval: stopped")

// Options of one evaluation.
type Options struct {
	// BinSize is the width of a position bin in tokens; 0 takes an eighth of the longest document, rounded up to a power of two.
	BinSize int
	// Packs, if set, are the documents, by number, of each pass.
	Packs [][]int
	// Progress, if set, is called on rank 0 after every document with the number done.
	Progress func(done, total int)
	// Stop, if set, is asked before every document; if any rank's says so, all stop.
	Stop func() bool
	// Rings share the passes out; the zero value is one ring.
	Rings Rings
}

// Rings are the rings that evaluate documents side by side.
type Rings struct {
	World      *dist.Comm // the ranks of all rings; nil for one ring
	Number, Of int        // the own ring's number, and how many there are
}

// Result of an evaluation; the JSON form is that of `train eval --json`.
type Result struct {
	Loss       float64    `json:"loss"`        // mean over all targets
	Perplexity float64    `json:"perplexity"`  // exp(Loss)
	Tokens     int        `json:"tokens"`      // targets
	ByPosition []Bin      `json:"by_position"` // in order
	Documents  []Document `json:"documents"`   // as given
}

// Bin is the mean loss of the positions From <= i < To over all documents.
type Bin struct {
	From   int     `json:"from"`
	To     int     `json:"to"`
	Loss   float64 `json:"loss"`
	Tokens int     `json:"tokens"`
}

// Document is the mean loss of one document.
type Document struct {
	Tokens int     `json:"tokens"`
	Loss   float64 `json:"loss"`
}

// Ring evaluates documents (token ids, each of at least two) with the full context, each sharded over the ranks of comm: one by one, or
// with Options.Packs several in a pass, which gives the same losses. Every rank calls it with its own model and the same documents; every
// rank gets the same result. comm may be nil for one rank.
func Ring(ctx context.Context, m *model.Model[float32], comm *dist.Comm, documents [][]int32, o Options) (Result, error) {
	passes := o.Packs
	if passes == nil {
		for i := range documents {
			passes = append(passes, []int{i})
		}
	}
	losses := make([][]float32, len(documents))
	all, rings := comm, max(o.Rings.Of, 1)
	if rings > 1 {
		all = o.Rings.World
	}
	done := 0
	for round := range slices.Chunk(passes, rings) {
		if err := agreeToGoOn(ctx, all, o.Stop); err != nil {
			return Result{}, err
		}
		for i, pass := range round {
			done += len(pass)
			if i != o.Rings.Number {
				continue
			}
			if err := passLosses(ctx, m, comm, documents, pass, losses); err != nil {
				return Result{}, fmt.Errorf("eval: document %d of %d: %w", pass[0]+1, len(documents), err)
			}
		}
		if o.Progress != nil && isLeader(all) {
			o.Progress(done, len(documents))
		}
	}
	if err := o.Rings.exchange(ctx, comm, documents, losses); err != nil {
		return Result{}, err
	}
	acc := newAccumulator(documents, o.BinSize)
	for _, l := range losses {
		acc.add(l)
	}
	return acc.result(), nil
}

// exchange gives the losses of every ring's documents to all: the first rank of the ring that has a document adds it to nothing.
func (r Rings) exchange(ctx context.Context, comm *dist.Comm, documents [][]int32, losses [][]float32) error {
	if r.Of <= 1 {
		return nil
	}
	var flat []float32
	for i, ids := range documents {
		part := make([]float32, max(len(ids)-1, 0))
		if comm.Rank() == 0 {
			copy(part, losses[i])
		}
		flat = append(flat, part...)
	}
	if err := dist.AllReduce(ctx, r.World, flat); err != nil {
		return fmt.Errorf("eval: losses of all rings: %w", err)
	}
	for i, ids := range documents {
		losses[i], flat = flat[:len(ids)-1:len(ids)-1], flat[len(ids)-1:]
	}
	return nil
}

// passLosses computes some documents in one pass: the loss at every position of each, the same on all ranks.
func passLosses(ctx context.Context, m *model.Model[float32], comm *dist.Comm, documents [][]int32, pass []int, losses [][]float32) error {
	batch := model.Batch{B: 1}
	bounds := []int{0}
	for _, i := range pass {
		one, err := Shifted(documents[i])
		if err != nil {
			return err
		}
		batch.IDs, batch.Labels = append(batch.IDs, one.IDs...), append(batch.Labels, one.Labels...)
		bounds = append(bounds, len(batch.IDs))
	}
	batch.T = len(batch.IDs)
	if len(pass) > 1 {
		batch.Documents = bounds
	}
	local, err := m.Losses(ctx, batch)
	if err != nil {
		return err
	}
	global := make([]float32, batch.T)
	sharding := m.Sharding(batch)
	for rank, rows := range gather(ctx, comm, local, &err) {
		for row, loss := range rows {
			global[sharding.Position(rank, row)] = loss
		}
	}
	for n, i := range pass {
		losses[i] = global[bounds[n] : bounds[n+1]-1]
	}
	return err
}

// Shifted makes the batch [1,T] of one document: labels are the next tokens, the last position has none.
func Shifted(ids []int32) (model.Batch, error) {
	if len(ids) < 2 {
		return model.Batch{}, fmt.Errorf("eval: a document of %d tokens has nothing to predict; give at least two tokens", len(ids))
	}
	labels := append(append(make([]int32, 0, len(ids)), ids[1:]...), model.IgnoreLabel)
	return model.Batch{IDs: ids, Labels: labels, B: 1, T: len(ids)}, nil
}

func gather(ctx context.Context, comm *dist.Comm, local []float32, err *error) [][]float32 {
	if comm == nil {
		return [][]float32{local}
	}
	all, gatherErr := dist.AllGather(ctx, comm, local)
	*err = gatherErr
	return all
}

func isLeader(comm *dist.Comm) bool { return comm == nil || comm.Rank() == 0 }

// agreeToGoOn shares the wish of any rank to stop, so that all stop at the same document.
func agreeToGoOn(ctx context.Context, comm *dist.Comm, stop func() bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stopped := stop != nil && stop()
	if comm != nil {
		var err error
		if stopped, err = dist.Any(ctx, comm, stopped); err != nil {
			return err
		}
	}
	if stopped {
		return ErrStopped
	}
	return nil
}

// accumulator sums losses in float64, in document order, so that the result does not depend on the number of ranks.
type accumulator struct {
	binSize   int
	sums      []float64
	counts    []int
	total     float64
	tokens    int
	documents []Document
}

func newAccumulator(documents [][]int32, binSize int) *accumulator {
	longest := 0
	for _, ids := range documents {
		longest = max(longest, len(ids)-1)
	}
	if binSize <= 0 {
		binSize = 1
		for binSize*8 < longest {
			binSize *= 2
		}
	}
	bins := (longest + binSize - 1) / binSize
	return &accumulator{binSize: binSize, sums: make([]float64, bins), counts: make([]int, bins)}
}

func (a *accumulator) add(losses []float32) {
	sum := 0.0
	for i, loss := range losses {
		sum += float64(loss)
		a.sums[i/a.binSize] += float64(loss)
		a.counts[i/a.binSize]++
	}
	a.total += sum
	a.tokens += len(losses)
	a.documents = append(a.documents, Document{Tokens: len(losses), Loss: sum / float64(len(losses))})
}

func (a *accumulator) result() Result {
	r := Result{Tokens: a.tokens, Documents: a.documents, ByPosition: []Bin{}}
	if a.tokens > 0 {
		r.Loss = a.total / float64(a.tokens)
		r.Perplexity = math.Exp(r.Loss)
	}
	for i, n := range a.counts {
		if n > 0 {
			r.ByPosition = append(r.ByPosition, Bin{From: i * a.binSize, To: (i + 1) * a.binSize, Loss: a.sums[i] / float64(n), Tokens: n})
		}
	}
	return r
}
