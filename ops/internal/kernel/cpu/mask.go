package cpu

import (
	"iter"
	"math"
	"slices"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/meter"
)

// span sums up the positions of some rows.
type span struct {
	lowest, highest int
	rising          bool // in rising order
}

func spanOf(positions []int) span {
	return span{slices.Min(positions), slices.Max(positions), slices.IsSorted(positions)}
}

// geometry is what all tasks of one call share: the global positions of rows and keys, and the span of every panel of queries and
// every run of keys.
type geometry struct {
	kernel.Block
	rows, cols         []int
	rowSpans, colSpans []span
	group              int     // query heads to a KV head
	exponent           float64 // log2(e)·|scale|: P = 2^(exponent·(score - reference))
}

// geometries keeps the slices of past calls: over a ring they would add up to T positions a rank and call.
var geometries = sync.Pool{New: func() any { return new(geometry) }}

// newGeometry returns the geometry of a call; release gives it back.
func newGeometry(b kernel.Block) *geometry {
	g := geometries.Get().(*geometry)
	const least = 1e-30 // for scale 0: all visible scores give 2^0, and a hidden -Inf still 2^-Inf
	g.Block, g.group, g.exponent = b, b.Heads/max(1, b.KVHeads), max(math.Abs(b.Scale)*math.Log2E, least)
	g.rows, g.cols = appendPositions(g.rows[:0], b.Rows), appendPositions(g.cols[:0], b.Cols)
	g.rowSpans, g.colSpans = appendSpans(g.rowSpans[:0], g.rows, panelRows), appendSpans(g.colSpans[:0], g.cols, tileKeys)
	return g
}

func (g *geometry) release() {
	g.Block = kernel.Block{}
	geometries.Put(g)
}

func (g *geometry) empty() bool { return len(g.rows) == 0 || len(g.cols) == 0 || g.Heads == 0 }

// work is the multiply-adds of one product of all queries by all keys.
func (g *geometry) work() int { return g.Heads * len(g.rows) * len(g.cols) * (g.Dim + g.ValueDim) }

// worked tells the meter of a panel that is done: the products of so many vectors by so many, of D and of Dv elements.
func (g *geometry) worked(vectors int) { meter.Worked(vectors * (g.Dim + g.ValueDim)) }

func appendPositions(p []int, segments []kernel.Segment) []int {
	for _, s := range segments {
		for i := range s.Count {
			p = append(p, s.Start+i*s.Stride)
		}
	}
	return p
}

func appendSpans(out []span, positions []int, size int) []span {
	for run := range slices.Chunk(positions, size) {
		out = append(out, spanOf(run))
	}
	return out
}

// tile is what the mask leaves of one panel of queries by one run of keys: the local rows row..row+queries and the keys
// col..col+keys of the block. Its matrices are [keys, queries].
type tile struct {
	row, queries int
	col, keys    int
	partial      bool // some pairs of the steps are hidden
	rising       bool // positions rise along both sides
	count        int
	all          [tileKeys / register]step // the first count
}

// step is the keys key..key+keys of a tile and those of its queries that may see one of them: the ones from blind on. A tile
// without a mask is one step; along the diagonal steps leave out most of what is hidden.
//
//	       queries
//	     ██████████
//	keys ██████████
//	        ███████
//	           ████
type step struct{ key, keys, blind int }

// register is the most lanes of an instruction set: steps are cut at multiples of it.
const register = 16

func (t *tile) steps() []step { return t.all[:t.count] }

// whole reports whether every query sees every key.
func (t *tile) whole() bool { return !t.partial && t.count == 1 && t.all[0].blind == 0 }

// at is the place of the step's first number in a matrix of the tile, and the part to work on.
func (t *tile) at(s step) (int, tilePart) {
	return s.key*t.queries + s.blind, tilePart{t.queries, s.keys, t.queries - s.blind}
}

// width is the queries of step i that see no later step.
func (t *tile) width(i int) int {
	if i+1 < t.count {
		return t.all[i+1].blind - t.all[i].blind
	}
	return t.queries - t.all[i].blind
}

func (t *tile) add(s step) {
	if t.count > 0 && t.all[t.count-1].blind == s.blind {
		t.all[t.count-1].keys += s.keys
		return
	}
	t.all[t.count] = s
	t.count++
}

// tile returns the tile of panel and run; false if the mask leaves nothing of it.
func (g *geometry) tile(panel, run int) (tile, bool) {
	rows, cols := g.rowSpans[panel], g.colSpans[run]
	t := tile{row: panel * panelRows, col: run * tileKeys}
	t.queries, t.keys = min(panelRows, len(g.rows)-t.row), min(tileKeys, len(g.cols)-t.col)
	if g.Causal && cols.lowest > rows.highest {
		return t, false
	}
	t.partial = g.Causal && cols.highest > rows.lowest
	t.rising = t.partial && rows.rising && cols.rising
	if t.rising {
		g.cut(&t, rows.highest)
	} else {
		t.add(step{keys: t.keys})
	}
	return t, true
}

// cut leaves out the keys behind the last query, and makes steps of the rest.
func (g *geometry) cut(t *tile, last int) {
	rows := g.rows[t.row:][:t.queries]
	t.keys, _ = slices.BinarySearch(g.cols[t.col:][:t.keys], last+1)
	cols := g.cols[t.col:][:t.keys]
	t.partial = false
	for key := 0; key < t.keys; key += register {
		n := min(register, t.keys-key)
		blind, _ := slices.BinarySearch(rows, cols[key])
		blind = blind / register * register
		t.partial = t.partial || cols[key+n-1] > rows[blind]
		t.add(step{key, n, blind})
	}
}

// hide writes value over the pairs of a partial tile's steps, in x [keys, queries], that the mask hides.
func hide[T kernel.Float](g *geometry, x []T, t *tile, value T) {
	rows, cols := g.rows[t.row:][:t.queries], g.cols[t.col:][:t.keys]
	for _, s := range t.steps() {
		for i, col := range cols[s.key:][:s.keys] {
			hideFrom(x[(s.key+i)*t.queries:][s.blind:t.queries], rows[s.blind:], col, t.rising, value)
		}
	}
}

// hideFrom writes value over the lanes of queries, at the positions rows, that lie before the key at position col.
func hideFrom[T kernel.Float](lanes []T, rows []int, col int, rising bool, value T) {
	for j, row := range rows {
		if row < col {
			lanes[j] = value
		} else if rising {
			return // it sees the key, as do all that follow
		}
	}
}

// visible yields the pairs (key, query) of a tile that see each other.
func (g *geometry) visible(t tile) iter.Seq2[int, int] {
	return func(yield func(key, query int) bool) {
		for i, col := range g.cols[t.col:][:t.keys] {
			for j, row := range g.rows[t.row:][:t.queries] {
				if col <= row && !yield(i, j) {
					return
				}
			}
		}
	}
}
