package cpu

import (
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

func TestPairsAreTheVisibleOnesAndThoseOfTheEdges(t *testing.T) {
	early, late := []kernel.Segment{{Start: 0, Stride: 1, Count: 1000}}, []kernel.Segment{{Start: 1000, Stride: 1, Count: 300}}
	for name, c := range map[string]struct {
		mask        *mask.Mask
		rows, cols  []kernel.Segment
		least, most int64
	}{
		"no mask":       {nil, early, late, 300_000, 300_000},
		"the past":      {mask.CausalOrder(), late, early, 300_000, 300_000},
		"the future":    {mask.CausalOrder(), early, late, 0, 0},
		"the diagonal":  {mask.CausalOrder(), early, early, 500_500, 510_000},
		"no queries":    {mask.CausalOrder(), nil, early, 0, 0},
		"a window of 1": {compile(t, mask.Spec{Window: &mask.Window{}}), early, early, 1000, 16_000},
	} {
		if got := Pairs(kernel.Block{Mask: c.mask, Rows: c.rows, Cols: c.cols}); got < c.least || got > c.most {
			t.Errorf("%s: %d pairs, want %d to %d", name, got, c.least, c.most)
		}
	}
}
