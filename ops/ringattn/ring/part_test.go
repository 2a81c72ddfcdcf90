package ring

import (
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

func TestHalvesCoverTheOwnBlockOnce(t *testing.T) {
	for _, c := range []Call{
		{Batch: 1, Heads: 1, KVHeads: 1}, {Batch: 1, Heads: 1, KVHeads: 1, Mask: mask.CausalOrder()}, {Batch: 1, Heads: 3, KVHeads: 1},
		{Batch: 2, Heads: 1, KVHeads: 1}, {Batch: 1, Heads: 6, KVHeads: 3}, {Batch: 3, Heads: 4, KVHeads: 2},
	} {
		for rows := range 4 {
			b := &backward[float32]{run: run[float32]{Rank: &Rank[float32]{call: c, rows: rows, keys: rows, size: 2}}}
			heads := c.Batch * c.Heads
			seen := make([]int, heads*rows)
			first, second := b.halves()
			for _, p := range []part{first, second} {
				for h := p.head; h < p.head+p.heads; h++ {
					if kv := h / (c.Heads / c.KVHeads); kv < p.kv || kv >= p.kv+p.kvs {
						t.Errorf("%+v: query head %d reads KV head %d, outside of %+v", c, h, kv, p)
					}
					for r := p.row; r < p.row+p.rows; r++ {
						seen[h*rows+r]++
					}
				}
			}
			if slices.ContainsFunc(seen, func(n int) bool { return n != 1 }) {
				t.Errorf("%+v, %d rows: parts %+v and %+v cover %v", c, rows, first, second, seen)
			}
		}
	}
}

func TestCutTakesRowsOutOfSegments(t *testing.T) {
	segs := []kernel.Segment{{Start: 10, Stride: 1, Count: 3}, {Start: 40, Stride: 5, Count: 4}}
	positions := func(segs []kernel.Segment) (out []int) {
		for _, g := range segs {
			for i := range g.Count {
				out = append(out, g.Start+i*g.Stride)
			}
		}
		return out
	}
	all := positions(segs)
	for lo := range all {
		for n := range len(all) - lo + 1 {
			if got := positions(cut(segs, lo, n)); !slices.Equal(got, all[lo:lo+n]) {
				t.Errorf("rows %d to %d are %v, want %v", lo, lo+n, got, all[lo:lo+n])
			}
		}
	}
}
