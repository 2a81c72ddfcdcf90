package ring

import (
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// Deal says which of the queries from..from+tokens-1 each rank holds. Balanced goes by the pairs that the masks leave of them, all
// masks together: those of the layers of a model, which share one sharding, and may share masks. Without masks it leaves every pair.
func Deal(layout shard.Layout, tokens, ranks, from int, masks ...*mask.Mask) (shard.Sharding, error) {
	times := map[*mask.Mask]int64{}
	for _, m := range masks {
		times[m]++
	}
	if layout != shard.Balanced || len(times) == 0 || len(times) == 1 && times[nil] > 0 {
		return shard.New(layout, tokens, ranks)
	}
	pairs := make([]int64, tokens+1)
	for m, n := range times {
		for i, area := range m.Areas(from, tokens, from+tokens) {
			pairs[i] += n * area
		}
	}
	return shard.NewBalanced(tokens, ranks, func(from, to int) int64 { return pairs[to] - pairs[from] })
}
