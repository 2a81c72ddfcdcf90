package eval

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// Window is the baseline of a model without long context: every token is predicted from at most Size tokens before it.
//
// Windows of Size tokens start every Stride tokens and each scores only its last Stride positions (the first scores all), so a
// scored token past the first window sees between Size-Stride and Size tokens. A smaller Stride is nearer to the true sliding
// window and costs Size/Stride times the tokens.
type Window struct {
	Size   int // tokens a position may see, itself included
	Stride int // tokens between windows; 0 is Size/8, at least 1
	Batch  int // windows in one forward pass; 0 is 8
}

// piece is one window of a document: tokens [start,end), of which the positions from scored on count.
type piece struct{ start, end, scored int }

// Sliding evaluates documents with a sliding window. The model m is a whole one (a single rank, no communicator); the windows of a
// document are dealt out to the ranks of comm, and every rank gets the same result.
func Sliding(ctx context.Context, m *model.Model[float32], comm *dist.Comm, documents [][]int32, w Window, o Options) (Result, error) {
	if w.Size < 2 {
		return Result{}, fmt.Errorf("eval: a window of %d tokens predicts nothing; use at least 2", w.Size)
	}
	if w.Stride <= 0 {
		w.Stride = max(1, w.Size/8)
	}
	if w.Batch <= 0 {
		w.Batch = 8
	}
	acc := newAccumulator(documents, o.BinSize)
	for i, ids := range documents {
		if err := agreeToGoOn(ctx, comm, o.Stop); err != nil {
			return Result{}, err
		}
		losses, err := slidingLosses(ctx, m, comm, ids, w)
		if err != nil {
			return Result{}, fmt.Errorf("eval: document %d of %d: %w", i+1, len(documents), err)
		}
		acc.add(losses)
		if o.Progress != nil && isLeader(comm) {
			o.Progress(i+1, len(documents))
		}
	}
	return acc.result(), nil
}

// slidingLosses computes this rank's windows, then adds up over the ranks: each position is scored by exactly one of them.
func slidingLosses(ctx context.Context, m *model.Model[float32], comm *dist.Comm, ids []int32, w Window) ([]float32, error) {
	if _, err := Shifted(ids); err != nil {
		return nil, err
	}
	losses := make([]float32, len(ids)-1)
	rank, size := 0, 1
	if comm != nil {
		rank, size = comm.Rank(), comm.Size()
	}
	groups := sameLength(pieces(len(ids)-1, w), w.Batch)
	for g := rank; g < len(groups); g += size {
		if err := scoreGroup(ctx, m, ids, groups[g], losses); err != nil {
			return nil, err
		}
	}
	if comm == nil {
		return losses, nil
	}
	return losses, dist.AllReduce(ctx, comm, losses)
}

// pieces cuts n positions into windows; together their scored parts cover every position once.
func pieces(n int, w Window) []piece {
	first := min(n, w.Size)
	all := []piece{{start: 0, end: first, scored: 0}}
	for from := first; from < n; from += w.Stride {
		end := min(from+w.Stride, n)
		all = append(all, piece{start: max(0, end-w.Size), end: end, scored: from})
	}
	return all
}

// sameLength groups windows of one length, at most batch to a group, since a batch is rectangular.
func sameLength(all []piece, batch int) [][]piece {
	var groups [][]piece
	for _, p := range all {
		last := len(groups) - 1
		if last >= 0 && len(groups[last]) < batch && groups[last][0].end-groups[last][0].start == p.end-p.start {
			groups[last] = append(groups[last], p)
		} else {
			groups = append(groups, []piece{p})
		}
	}
	return groups
}

func scoreGroup(ctx context.Context, m *model.Model[float32], ids []int32, group []piece, losses []float32) error {
	b := model.Batch{B: len(group), T: group[0].end - group[0].start}
	for _, p := range group {
		b.IDs = append(b.IDs, ids[p.start:p.end]...)
		b.Labels = append(b.Labels, ids[p.start+1:p.end+1]...)
	}
	nll, err := m.Losses(ctx, b)
	if err != nil {
		return err
	}
	for i, p := range group {
		copy(losses[p.scored:p.end], nll[i*b.T+p.scored-p.start:(i+1)*b.T])
	}
	return nil
}
