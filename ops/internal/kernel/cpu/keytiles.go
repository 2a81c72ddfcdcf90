package cpu

import "slices"

// keyTiles cuts the keys that a panel sees into tiles. Between what only some of its queries see at either end, the edges of a window or
// a document and the diagonal, lie the keys that all of them see: tiles there are whole, which makes them fast.
//
//	  keys
//	██████████
//	 ███████████             queries
//	  ████████████
//	[low][whole][high]
type keyTiles struct {
	zones [3]zone
	n     int // tiles
}

// zone is a range of keys in n tiles, all of tileKeys but for the first or the first two.
type zone struct{ from, to, n, first, second int }

// keyTiles is the cut of a panel for the keys from..to-1 of the block.
func (g *geometry) keyTiles(panel, from, to int) (c keyTiles) {
	from, to = g.sight(panel, from, to)
	low, high := g.allSee(panel, from, to)
	rest := (high - low) % tileKeys // goes to an edge that has room, if there is one
	switch {
	case high < to && to-high+rest <= tileKeys:
		high -= rest
	case low > from && low-from+rest <= tileKeys:
		low += rest
	}
	c.zones = [3]zone{newZone(from, low), newZone(low, high), newZone(high, to)}
	for _, z := range c.zones {
		c.n += z.n
	}
	return c
}

func newZone(from, to int) zone {
	z := zone{from: from, to: to, n: ceilDiv(to-from, tileKeys), second: tileKeys}
	z.first = to - from - (z.n-1)*tileKeys
	if z.n > 1 && z.first < tileKeys/2 { // two tiles of middling width cost less than a whole one and a sliver
		both := z.first + tileKeys
		z.first = ceilDiv(both, 2)
		z.second = both - z.first
	}
	return z
}

// sight is the part of the keys from..to-1 outside of which a panel sees nothing.
func (g *geometry) sight(panel, from, to int) (int, int) {
	if len(g.layers) == 0 || !g.rising {
		return from, to
	}
	s := g.layers[0].sights[panel]
	low, high := s.lowFrom, s.highTo
	for i := range g.layers[1:] {
		s := &g.layers[1+i].sights[panel]
		low, high = min(low, s.lowFrom), max(high, s.highTo)
	}
	return g.between(from, to, low, high)
}

// allSee is the part of the keys from..to-1 that all queries of a panel see, by a mask of one layer; for others it is empty, or all
// where there is no mask.
func (g *geometry) allSee(panel, from, to int) (int, int) {
	if len(g.layers) != 1 || !g.rising {
		return from, to
	}
	s := &g.layers[0].sights[panel]
	low, high := g.between(from, to, s.lowTo, s.highFrom)
	if low >= high {
		return from, from
	}
	return low, high
}

// between is the part of the rising keys from..to-1 at the positions [low, high).
func (g *geometry) between(from, to, low, high int) (int, int) {
	if low >= high {
		return from, from
	}
	cols := g.cols[from:to]
	first, _ := slices.BinarySearch(cols, low)
	end, _ := slices.BinarySearch(cols, high)
	return from + first, from + max(first, end)
}

// at is the first key of tile i, and how many it has.
func (c *keyTiles) at(i int) (col, keys int) {
	for _, z := range c.zones {
		if i < z.n {
			return z.at(i)
		}
		i -= z.n
	}
	panic("cpu: a tile behind the last")
}

func (z zone) at(i int) (col, keys int) {
	switch i {
	case 0:
		return z.from, z.first
	case 1:
		return z.from + z.first, z.second
	}
	return z.to - (z.n-i)*tileKeys, tileKeys
}

// col is the first key of tile i.
func (c *keyTiles) col(i int) int {
	col, _ := c.at(i)
	return col
}

// order is the order in which a panel goes over its tiles: from one down to the first, then from the next up to the last.
type order struct{ start int }

func (o order) turn(i int) int {
	if i <= o.start {
		return o.start - i
	}
	return i
}

// nearest is the order for a panel of n tiles. Under ALiBi the scores of far keys are low: those of the queries' own positions come first,
// then those before, then those behind, so that references need not be raised tile by tile. Otherwise tiles come as they lie.
func (g *geometry) nearest(panel, n int, col func(tile int) int) order {
	if g.Slopes == nil || !g.rising || n == 0 {
		return order{}
	}
	at, start := g.rows[min((panel+1)*panelRows, len(g.rows))-1], n-1
	for start > 0 && g.cols[col(start)] > at {
		start--
	}
	return order{start}
}
