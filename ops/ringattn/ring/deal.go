package ring

import (
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// Deal says which of so many positions each rank holds. The balanced layout goes by the pairs that the mask leaves of queries from the
// given position on.
func Deal(layout shard.Layout, tokens, ranks int, m *mask.Mask, from int) (shard.Sharding, error) {
	if layout != shard.Balanced || m == nil {
		return shard.New(layout, tokens, ranks)
	}
	areas := m.Areas(from, tokens, from+tokens)
	return shard.NewBalanced(tokens, ranks, func(from, to int) int64 { return areas[to] - areas[from] })
}
