package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// garbagePercent keeps what Go's collector has not got to yet small beside what is in use.
const garbagePercent = 10

// MemoryReport is what a rank took for attention, forward and backward.
type MemoryReport struct {
	Seq          int    `json:"seq"`
	HeadDim      int    `json:"head_dim"`
	Heads        int    `json:"heads"`
	KVHeads      int    `json:"kv_heads"`
	DType        string `json:"dtype"`
	Ring         int    `json:"ring"`
	RankBytes    int64  `json:"rank_bytes"`    // ProcessBytes over Ring
	ProcessBytes int64  `json:"process_bytes"` // by which the passes raised the peak of the process
}

// MeasureMemory runs both passes once on a ring of a.Rings[0] ranks in this process and reports by how much the memory of the process
// grew: the ranks' inputs, results and gradients, messages and the kernel's scratch. The peak of a process never falls, so that
// only the first measurement of a process is right; an error where one finds no growth, or the system does not tell.
func (a Attention) MeasureMemory(ctx context.Context) (MemoryReport, error) {
	if err := a.Validate(); err != nil {
		return MemoryReport{}, err
	}
	if len(a.Rings) != 1 {
		return MemoryReport{}, fmt.Errorf("bench: memory of rings %v: give one size, for a process has one peak", a.Rings)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(garbagePercent))
	passes := passOnce[float32]
	if a.DType == float64Name {
		passes = passOnce[float64]
	}
	before := PeakMemory()
	if err := passes(ctx, a); err != nil {
		return MemoryReport{}, fmt.Errorf("bench: memory: %w", err)
	}
	grown := PeakMemory() - before
	if grown <= 0 {
		return MemoryReport{}, errors.New("bench: memory: the process has not grown; measure a longer sequence, in a process of its own")
	}
	ranks := a.Rings[0]
	return MemoryReport{
		Seq: a.Seq, HeadDim: a.HeadDim, Heads: a.Heads, KVHeads: a.KVHeads, DType: a.DType, Ring: ranks,
		RankBytes: grown / int64(ranks), ProcessBytes: grown,
	}, nil
}

func passOnce[T kernel.Float](ctx context.Context, a Attention) error {
	w, err := newRanks[T](a, a.Rings[0])
	if err != nil {
		return err
	}
	if err := w.forward(ctx); err != nil {
		return err
	}
	return w.backward(ctx)
}
