package model

// Case is a call: tokens of a sequence, heads, and whether a query sees earlier keys only.
type Case struct {
	Tokens, Heads int
	Causal        bool
}

// Kernel is what is launched: its loop for full tiles and for partial ones, where every pair is asked for.
type Kernel struct {
	Tile          Tile
	Full, Partial Loop
	// ShortFirst says that of the blocks of a head those with few tiles start first when masks are causal.
	ShortFirst bool
}

// start is what a block needs besides its turns, in cycles: its first loads, with nothing to hide them, and its end.
const start = 2000

// TFLOPS predicts the rate of a call, counted as is usual: all pairs of queries and keys, half of them if causal.
func (k Kernel) TFLOPS(c Case) float64 {
	pairs := float64(c.Tokens) * float64(c.Tokens)
	if c.Causal {
		pairs /= 2
	}
	flops := 2 * float64(k.Tile.FMA()) / float64(k.Tile.Queries*k.Tile.Keys) * pairs * float64(c.Heads)
	return flops / (k.makespan(c) / Clock) / 1e12
}

// makespan is when the last block ends, in cycles: blocks are handed out in order, each to the place that is free first.
func (k Kernel) makespan(c Case) float64 {
	places := make(slots, SMs*k.Full.Blocks)
	full, partial := k.pair(k.Full), k.pair(k.Partial)
	blocks := k.blocks(c)
	end := 0.0
	for range c.Heads {
		for _, b := range blocks {
			places[0] += start + k.edge() + b.full*full + b.partial*partial
			end = max(end, places[0])
			places.sink()
		}
	}
	return end
}

// pair is the cycles of a block for a pair of tiles, while it shares the SM with others.
func (k Kernel) pair(l Loop) float64 { return l.Cycles(k.Tile).Pair(l) * float64(l.Blocks) }

// edge is the cycles of what a block writes at its end, in float32 through its share of the memory: O, or dK and dV.
func (k Kernel) edge() float64 {
	bytes := k.Tile.Queries * k.Tile.Dim * 4
	if k.Tile.Backward {
		bytes = 2 * k.Tile.Keys * k.Tile.Dim * 4
	}
	return float64(bytes) / (hbmRate / SMs / Clock)
}

// tiles are the pairs of one block.
type tiles struct{ full, partial float64 }

// blocks of a head, in the order of their start.
func (k Kernel) blocks(c Case) []tiles {
	own, other := k.Tile.Queries, k.Tile.Keys
	if k.Tile.Backward {
		own, other = other, own
	}
	n := c.Tokens / own
	list := make([]tiles, n)
	for i := range list {
		switch {
		case !c.Causal:
			list[i] = tiles{full: float64(c.Tokens) / float64(other)}
		default: // the diagonal passes through rows i*own to i*own+own
			full := i * own / other
			touched := (i*own + own + other - 1) / other
			list[i] = tiles{float64(full), float64(touched - full)}
		}
	}
	if !k.ShortFirst {
		for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
			list[i], list[j] = list[j], list[i]
		}
	}
	return list
}

// slots are the times at which places for blocks become free, as a heap: the first is the earliest.
type slots []float64

// sink restores the order after the first time has grown.
func (s slots) sink() {
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(s); child++ {
			if s[child] < s[least] {
				least = child
			}
		}
		if least == i {
			return
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}
