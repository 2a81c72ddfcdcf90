package cpu

import (
	"math"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// tileKind says how much of a tile a mask leaves.
type tileKind int

const (
	tileEmpty   tileKind = iota // no pair is visible: skip it
	tileFull                    // every pair is visible: no mask
	tilePartial                 // mask pair by pair
)

// positions appends the global position of each local row to p.
func positions(p []int, segments []kernel.Segment) []int {
	for _, s := range segments {
		for i := range s.Count {
			p = append(p, s.Start+i*s.Stride)
		}
	}
	return p
}

// span is the range of positions of some rows.
type span struct{ lowest, highest int }

func spanOf(positions []int) span {
	s := span{math.MaxInt, math.MinInt}
	for _, p := range positions {
		s.lowest, s.highest = min(s.lowest, p), max(s.highest, p)
	}
	return s
}

// spans cuts positions into runs of size and appends the span of each to out.
func spans(out []span, positions []int, size int) []span {
	for from := 0; from < len(positions); from += size {
		out = append(out, spanOf(positions[from:min(from+size, len(positions))]))
	}
	return out
}

// classify decides a tile from the ranges of its rows and columns.
func classify(causal bool, rows, cols span) tileKind {
	switch {
	case !causal || cols.highest <= rows.lowest:
		return tileFull
	case cols.lowest > rows.highest:
		return tileEmpty
	}
	return tilePartial
}

// geometry is what all tasks of one call share.
type geometry struct {
	kernel.Block
	rows, cols         []int // global positions
	rowSpans, colSpans []span
	group              int // query heads to a KV head
}

// geometries keeps the slices of past calls: over a ring they would add up to T positions a rank and call.
var geometries = sync.Pool{New: func() any { return new(geometry) }}

// newGeometry returns the geometry of a call; release gives it back.
func newGeometry(b kernel.Block) *geometry {
	g := geometries.Get().(*geometry)
	g.Block, g.group = b, b.Heads/max(1, b.KVHeads)
	g.rows, g.cols = positions(g.rows[:0], b.Rows), positions(g.cols[:0], b.Cols)
	g.rowSpans, g.colSpans = spans(g.rowSpans[:0], g.rows, panelRows), spans(g.colSpans[:0], g.cols, tileKeys)
	return g
}

func (g *geometry) release() { geometries.Put(g) }

// visible reports whether the query of panel row j may see the key of column i.
func (g *geometry) visible(row, col int) bool { return !g.Causal || g.cols[col] <= g.rows[row] }

// hide writes value over the pairs of a partial tile x [keys, queries] that are not visible.
func hide[T kernel.Float](g *geometry, x []T, t tile, value T) {
	rows := g.rows[t.row:][:t.queries]
	for i, col := range g.cols[t.col:][:t.keys] {
		if col <= g.rowSpans[t.row/panelRows].lowest {
			continue
		}
		line := x[i*t.queries:][:len(rows)]
		for j, row := range rows {
			if row < col {
				line[j] = value
			}
		}
	}
}

// tile is a rectangle of scores: queries row..row+queries, keys col..col+keys.
type tile struct{ row, queries, col, keys int }

// tile returns tile i of a panel, without its last keys if no row of the panel sees them: on the diagonal of a causal mask that is
// a third of the work.
func (g *geometry) tile(panel, i int, kind tileKind) tile {
	t := tile{row: panel * panelRows, col: i * tileKeys}
	t.queries, t.keys = min(panelRows, len(g.rows)-t.row), min(tileKeys, len(g.cols)-t.col)
	if kind == tilePartial {
		for g.cols[t.col+t.keys-1] > g.rowSpans[panel].highest {
			t.keys--
		}
	}
	return t
}

// tileScratch is one task's working memory; its size depends on the tile and the head dims alone.
type tileScratch[T kernel.Float] struct {
	qT, dOutT      []T // [D, queries], [Dv, queries]
	scores, dProbs []T // [keys, queries]
	dOut           []T // [queries, Dv], only where rows must be left out
	ref, sum, high []T // [queries]
	zeros, probe   []T // see finite
}

func newTileScratch[T kernel.Float](dim, valueDim int) *tileScratch[T] {
	const p, k = panelRows, tileKeys
	memory := make([]T, p*dim+2*p*valueDim+2*p*k+3*p+k+max(dim, valueDim))
	take := func(n int) []T {
		part := memory[:n:n]
		memory = memory[n:]
		return part
	}
	return &tileScratch[T]{
		qT: take(p * dim), dOutT: take(p * valueDim), dOut: take(p * valueDim),
		scores: take(p * k), dProbs: take(p * k),
		ref: take(p), sum: take(p), high: take(p),
		zeros: take(max(p, k)), probe: take(max(dim, valueDim)),
	}
}
