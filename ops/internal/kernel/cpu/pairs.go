package cpu

import "github.com/ringgrad/ringgrad/ops/internal/kernel"

// Pairs is how many pairs of a query and a key the tiles of a block compute for each head: those that its mask leaves, and what the tiles
// at the mask's edges compute besides.
func Pairs(b kernel.Block) int64 {
	if b.Heads == 0 {
		b.Heads, b.KVHeads = 1, 1
	}
	g := newGeometry(b)
	defer g.release()
	if g.empty() {
		return 0
	}
	var t tile
	var n int64
	for panel := range g.panels {
		tiles := g.keyTiles(panel, 0, len(g.cols))
		for i := range tiles.n {
			if col, keys := tiles.at(i); g.tile(&t, panel, col, keys) {
				n += int64(t.pairs())
			}
		}
	}
	return n
}
