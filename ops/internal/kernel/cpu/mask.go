package cpu

import (
	"iter"
	"math/bits"
	"slices"
)

// tile is what the mask leaves of one panel of queries by one run of keys: the local rows row..row+queries and the keys
// col..col+keys of the block. Its matrices are [keys, queries].
//
// What is computed of it is cut twice: into steps, whose keys share a range of queries, for the products whose rows are keys (scores, dK
// and dV), and into strips, whose queries share a range of keys, for those whose rows are queries (O and dQ). Both cover the same pairs.
//
//	       queries
//	     ██████              steps are rows of blocks, strips are columns of them;
//	keys ██████████          what is left out is hidden from all,
//	        ███████          what is hidden within is known by its bit in seen
//	           ████
type tile struct {
	row, queries int
	col, keys    int
	partial      bool // some pairs of the steps are hidden
	stepCount    int
	all          [tileKeys / register]step // the first stepCount
	stripCount   int
	down         [panelRows / register]strip // the first stripCount
	seen         [tileKeys]uint64            // by key, the queries that see it; set in tiles that are not whole
}

// step is the keys key..key+keys of a tile and the queries from..to of those that may see one of them.
type step struct{ key, keys, from, to int }

// strip is the queries from..to of a tile and the keys key..key+keys of those that one of them may see.
type strip struct{ from, to, key, keys int }

// register is the most lanes of an instruction set: ranges of queries are cut at multiples of it.
const register = 16

func (t *tile) steps() []step       { return t.all[:t.stepCount] }
func (t *tile) strips() []strip     { return t.down[:t.stripCount] }
func (t *tile) isWhole() bool       { return !t.partial && t.stepCount == 1 && t.all[0] == t.everything() }
func (t *tile) everything() step    { return step{0, t.keys, 0, t.queries} }
func (s step) overlaps(o step) bool { return s.from < o.to && o.from < s.to }

// at is the place of the step's first number in a matrix of the tile, and the part to work on.
func (t *tile) at(s step) (int, tilePart) {
	return s.key*t.queries + s.from, tilePart{t.queries, s.keys, s.to - s.from}
}

// pairs is how many pairs of query and key are computed.
func (t *tile) pairs() int {
	n := 0
	for _, s := range t.steps() {
		n += s.keys * (s.to - s.from)
	}
	return n
}

// queriesSeeing is the range of queries that see any key.
func (t *tile) queriesSeeing() (from, to int) {
	from = t.queries
	for _, s := range t.steps() {
		from, to = min(from, s.from), max(to, s.to)
	}
	return from, to
}

// tile sets t to the tile of a panel and the keys col..col+keys; false if the mask leaves nothing of it.
func (g *geometry) tile(t *tile, panel, col, keys int) bool {
	t.row, t.col, t.keys = panel*panelRows, col, keys
	t.queries = min(panelRows, len(g.rows)-t.row)
	t.partial, t.stepCount, t.stripCount = false, 1, 1
	t.all[0], t.down[0] = t.everything(), strip{0, t.queries, 0, t.keys}
	cols := g.cols[col:][:keys]
	if some, whole := g.classify(panel, cols); whole || !some {
		return some
	}
	g.reveal(t, panel, cols)
	return t.cut()
}

// classify tells tiles that the mask hides, or leaves, as a whole; it may leave others in doubt.
func (g *geometry) classify(panel int, cols []int) (some, whole bool) {
	if len(g.layers) == 0 {
		return true, true
	}
	lowest, highest := cols[0], cols[len(cols)-1]
	if !g.rising {
		lowest, highest = slices.Min(cols), slices.Max(cols)
	}
	for i := range g.layers {
		s := &g.layers[i].sights[panel]
		some = some || lowest < s.highTo && highest >= s.lowFrom
		whole = whole || lowest >= s.lowTo && highest < s.highFrom
	}
	return some, whole
}

// reveal sets what the queries of a tile see.
func (g *geometry) reveal(t *tile, panel int, cols []int) {
	seen := t.seen[:t.keys]
	clear(seen)
	for i := range g.layers {
		l := &g.layers[i]
		low, high := l.low[t.row:][:t.queries], l.high[t.row:][:t.queries]
		switch {
		case !g.rising:
			revealPairs(seen, cols, low, high)
		case l.sights[panel].rising:
			revealBand(seen, cols, low, high)
		default:
			revealIntervals(seen, cols, low, high)
		}
	}
}

// revealBand is for bounds and keys that rise: every key is seen by neighbouring queries, whose range rises too.
func revealBand(seen []uint64, cols, low, high []int) {
	from, to := 0, 0
	for i, col := range cols {
		for from < len(high) && high[from] <= col {
			from++
		}
		for to < len(low) && low[to] <= col {
			to++
		}
		if from < to {
			seen[i] |= lanesBetween(from, to)
		}
	}
}

// revealIntervals is for keys that rise.
func revealIntervals(seen []uint64, cols, low, high []int) {
	for j := range low {
		if low[j] >= high[j] {
			continue
		}
		from, _ := slices.BinarySearch(cols, low[j])
		for i := from; i < len(cols) && cols[i] < high[j]; i++ {
			seen[i] |= 1 << j
		}
	}
}

func revealPairs(seen []uint64, cols, low, high []int) {
	for i, col := range cols {
		for j := range low {
			if low[j] <= col && col < high[j] {
				seen[i] |= 1 << j
			}
		}
	}
}

// lanesBetween has the bits from..to-1 set; from < to <= 64.
func lanesBetween(from, to int) uint64 { return ^uint64(0) >> (64 - (to - from)) << from }

// cut makes steps and strips of what is seen; false if that is nothing.
func (t *tile) cut() bool {
	t.stepCount, t.stripCount = 0, 0
	for key := 0; key < t.keys; key += register {
		t.addStep(key, min(key+register, t.keys))
	}
	if t.stepCount == 0 {
		return false
	}
	if !t.addStrips() {
		t.unite()
	}
	for _, s := range t.steps() {
		all := lanesBetween(s.from, s.to)
		for _, seen := range t.seen[s.key:][:s.keys] {
			t.partial = t.partial || seen&all != all
		}
	}
	return true
}

// addStep adds the keys key..end, less those at either end that nobody sees, to the last step or as one of their own.
func (t *tile) addStep(key, end int) {
	var some uint64
	first, last := -1, key
	for i, seen := range t.seen[key:end] {
		if seen != 0 {
			some |= seen
			last = key + i + 1
			if first < 0 {
				first = key + i
			}
		}
	}
	if some == 0 {
		return
	}
	s := step{from: bits.TrailingZeros64(some) / register * register, to: min(roundUp(bits.Len64(some), register), t.queries)}
	s.key, s.keys = first, last-first
	if t.stepCount > 0 {
		p := &t.all[t.stepCount-1]
		if p.overlaps(s) && (p.key+p.keys-1)/register == key/register-1 { // no gap between the keys of a strip
			p.keys, s.key, s.keys = key-p.key, key, last-key
		}
		if p.from == s.from && p.to == s.to && p.key+p.keys == s.key {
			p.keys += s.keys
			return
		}
	}
	t.all[t.stepCount] = s
	t.stepCount++
}

// addStrips makes strips of the steps; false if that is not possible, because a query's keys have a gap.
func (t *tile) addStrips() bool {
	for from := 0; from < t.queries; from += register {
		s := strip{from: from, to: min(from+register, t.queries)}
		for _, x := range t.steps() {
			switch {
			case x.from > from || x.to <= from:
			case s.keys == 0:
				s.key, s.keys = x.key, x.keys
			case s.key+s.keys == x.key:
				s.keys += x.keys
			default:
				return false
			}
		}
		t.addStrip(s)
	}
	return true
}

func (t *tile) addStrip(s strip) {
	if s.keys == 0 {
		return
	}
	if t.stripCount > 0 {
		if p := &t.down[t.stripCount-1]; p.to == s.from && p.key == s.key && p.keys == s.keys {
			p.to = s.to
			return
		}
	}
	t.down[t.stripCount] = s
	t.stripCount++
}

// unite makes one step of all.
func (t *tile) unite() {
	last := t.all[t.stepCount-1]
	s := step{key: t.all[0].key, keys: last.key + last.keys - t.all[0].key}
	s.from, s.to = t.queriesSeeing()
	t.stepCount, t.stripCount = 1, 1
	t.all[0], t.down[0] = s, strip{s.from, s.to, s.key, s.keys}
}

// visible yields the pairs (key, query) of a partial tile that see each other.
func (t *tile) visible() iter.Seq2[int, int] {
	return func(yield func(key, query int) bool) {
		for i, seen := range t.seen[:t.keys] {
			for ; seen != 0; seen &= seen - 1 {
				if !yield(i, bits.TrailingZeros64(seen)) {
					return
				}
			}
		}
	}
}
