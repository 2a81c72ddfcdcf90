package cpu

import (
	"iter"
	"math"
	"slices"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
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
// col..col+keys of the block.
type tile struct {
	row, queries int
	skip         int // queries of the panel that lie before row
	col, keys    int
	partial      bool // some pairs are hidden
	rising       bool // positions rise along both sides
}

// tile returns the tile of panel and run; false if the mask leaves nothing of it. Where positions rise, keys behind the last query
// and whole registers of queries before the first key are cut off.
func (g *geometry) tile(panel, run int) (tile, bool) {
	rows, cols := g.rowSpans[panel], g.colSpans[run]
	t := tile{row: panel * panelRows, col: run * tileKeys}
	t.queries, t.keys = min(panelRows, len(g.rows)-t.row), min(tileKeys, len(g.cols)-t.col)
	if !g.Causal || cols.highest <= rows.lowest {
		return t, true
	}
	if cols.lowest > rows.highest {
		return t, false
	}
	t.partial, t.rising = true, rows.rising && cols.rising
	if t.rising {
		const register = 16 // the most lanes of an instruction set
		t.keys, _ = slices.BinarySearch(g.cols[t.col:][:t.keys], rows.highest+1)
		blind, _ := slices.BinarySearch(g.rows[t.row:][:t.queries], cols.lowest)
		t.skip = blind / register * register
		t.row, t.queries = t.row+t.skip, t.queries-t.skip
		t.partial = g.cols[t.col+t.keys-1] > g.rows[t.row]
	}
	return t, true
}

// hide writes value over the pairs of a partial tile x [keys, queries] that the mask hides.
func hide[T kernel.Float](g *geometry, x []T, t tile, value T) {
	rows := g.rows[t.row:][:t.queries]
	blind := 0
	for i, col := range g.cols[t.col:][:t.keys] {
		lane := x[i*t.queries:][:t.queries]
		if !t.rising {
			for j, row := range rows {
				if col > row {
					lane[j] = value
				}
			}
			continue
		}
		for blind < len(rows) && rows[blind] < col {
			blind++
		}
		for j := range lane[:blind] {
			lane[j] = value
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
