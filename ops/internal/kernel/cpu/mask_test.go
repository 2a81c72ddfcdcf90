package cpu

import (
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// maskCases are rows and columns in contiguous, zigzag, striped and falling order, longer than one panel and one run of keys.
var maskCases = map[string][2][]kernel.Segment{
	"diagonal":   {{{Start: 0, Stride: 1, Count: 300}}, {{Start: 0, Stride: 1, Count: 300}}},
	"past":       {{{Start: 500, Stride: 1, Count: 130}}, {{Start: 0, Stride: 1, Count: 300}}},
	"future":     {{{Start: 0, Stride: 1, Count: 130}}, {{Start: 500, Stride: 1, Count: 100}}},
	"zigzag":     {{{Start: 100, Stride: 1, Count: 70}, {Start: 400, Stride: 1, Count: 70}}, {{Start: 0, Stride: 1, Count: 90}, {Start: 450, Stride: 1, Count: 90}}},
	"striped":    {{{Start: 1, Stride: 4, Count: 200}}, {{Start: 2, Stride: 4, Count: 200}}},
	"falling":    {{{Start: 200, Stride: 1, Count: 100}, {Start: 50, Stride: 1, Count: 90}}, {{Start: 150, Stride: 2, Count: 100}, {Start: 0, Stride: 1, Count: 33}}},
	"short rows": {{{Start: 10, Stride: 1, Count: 1}}, {{Start: 0, Stride: 1, Count: 97}}},
}

func TestTilesCoverEveryVisiblePairOnceAndSkipTheRest(t *testing.T) {
	for name, c := range maskCases {
		g := newGeometry(kernel.Block{Heads: 1, KVHeads: 1, Causal: true, Rows: c[0], Cols: c[1]})
		seen := map[[2]int]int{}
		for panel := range g.rowSpans {
			for run := range g.colSpans {
				tile, some := g.tile(panel, run)
				if !some {
					continue
				}
				for i, j := range g.visible(tile) {
					seen[[2]int{tile.row + j, tile.col + i}]++
				}
				if !tile.partial && !fullyVisible(g, tile) {
					t.Errorf("%s: tile %+v counts as full but hides a pair", name, tile)
				}
				if tile.partial {
					checkHide(t, name, g, tile)
				}
			}
		}
		for i, row := range g.rows {
			for j, col := range g.cols {
				want := 0
				if col <= row {
					want = 1
				}
				if seen[[2]int{i, j}] != want {
					t.Fatalf("%s: query %d (at %d) and key %d (at %d) meet %d times, want %d", name, i, row, j, col, seen[[2]int{i, j}], want)
				}
			}
		}
		g.release()
	}
}

func fullyVisible(g *geometry, t tile) bool {
	pairs := 0
	for range g.visible(t) {
		pairs++
	}
	return pairs == stepPairs(&t)
}

// stepPairs counts the pairs that a tile's steps compute.
func stepPairs(t *tile) int {
	pairs := 0
	for _, s := range t.steps() {
		pairs += s.keys * (t.queries - s.blind)
	}
	return pairs
}

// checkHide wants hide to write over exactly the pairs that visible leaves out.
func checkHide(t *testing.T, name string, g *geometry, tl tile) {
	t.Helper()
	x := make([]float32, tl.keys*tl.queries)
	for i := range x {
		x[i] = 1 // outside of the steps
	}
	for _, s := range tl.steps() {
		at, p := tl.at(s)
		for i := range p.rows {
			clear(x[at+i*p.ld:][:p.width])
		}
	}
	stepped := slices.Clone(x)
	hide(g, x, &tl, 1)
	for i, j := range g.visible(tl) {
		x[i*tl.queries+j]--
	}
	hidden := 0
	for i, v := range x {
		if v == 0 {
			t.Fatalf("%s: tile %+v: a visible pair was hidden or a hidden one left", name, tl)
		}
		if v == 1 && stepped[i] == 0 {
			hidden++
		}
	}
	if tl.rising && hidden == 0 {
		t.Errorf("%s: tile %+v counts as partial but hides nothing", name, tl)
	}
}

func TestTilesOfTheDiagonalAreTrimmed(t *testing.T) {
	all := []kernel.Segment{{Start: 0, Stride: 1, Count: 2048}}
	g := newGeometry(kernel.Block{Heads: 1, KVHeads: 1, Causal: true, Rows: all, Cols: all})
	defer g.release()
	pairs := 0
	for panel := range g.rowSpans {
		for run := range g.colSpans {
			if tile, some := g.tile(panel, run); some {
				pairs += stepPairs(&tile)
			}
		}
	}
	if visible := 2048 * 2049 / 2; pairs > visible+visible/100 {
		t.Errorf("tiles hold %d pairs for %d visible ones: more than 1 %% is wasted", pairs, visible)
	}
}

func TestNoPairIsHiddenWithoutACausalMask(t *testing.T) {
	c := maskCases["zigzag"]
	g := newGeometry(kernel.Block{Heads: 1, KVHeads: 1, Rows: c[0], Cols: c[1]})
	defer g.release()
	pairs := 0
	for panel := range g.rowSpans {
		for run := range g.colSpans {
			if tile, some := g.tile(panel, run); some && !tile.partial {
				pairs += stepPairs(&tile)
			}
		}
	}
	if pairs != len(g.rows)*len(g.cols) {
		t.Errorf("full tiles hold %d pairs of %d", pairs, len(g.rows)*len(g.cols))
	}
}
