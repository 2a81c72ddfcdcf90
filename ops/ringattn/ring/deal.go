package ring

import (
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// Deal says which of the queries from..from+tokens-1 each rank holds. Balanced goes by the pairs that the masks leave of them, all
// masks together: those of the layers of a model, which share one sharding; nil masks, and none, leave every pair.
func Deal(layout shard.Layout, tokens, ranks, from int, masks ...*mask.Mask) (shard.Sharding, error) {
	if layout != shard.Balanced {
		return shard.New(layout, tokens, ranks)
	}
	pairs := make([]int64, tokens+1)
	masked := false
	for _, m := range masks {
		if m == nil {
			continue
		}
		masked = true
		for i, n := range m.Areas(from, tokens, from+tokens) {
			pairs[i] += n
		}
	}
	if !masked {
		return shard.New(layout, tokens, ranks)
	}
	return shard.NewBalanced(tokens, ranks, func(from, to int) int64 { return pairs[to] - pairs[from] })
}

// Masks compiles several.
func Masks(tokens int, specs ...mask.Spec) ([]*mask.Mask, error) {
	masks := make([]*mask.Mask, len(specs))
	for i, s := range specs {
		var err error
		if masks[i], err = mask.New(s, tokens); err != nil {
			return nil, err
		}
	}
	return masks, nil
}
