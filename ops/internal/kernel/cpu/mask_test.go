package cpu

import (
	"math/bits"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
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

// specs are masks over the positions of maskCases.
var specs = map[string]mask.Spec{
	"full":                {},
	"causal":              {Causal: true},
	"window":              {Causal: true, Window: &mask.Window{Left: 40, Right: mask.Unbounded}},
	"window on two sides": {Window: &mask.Window{Left: 150, Right: 30}},
	"window of one":       {Window: &mask.Window{}},
	"documents":           {CuSeqlens: []int{0, 5, 40, 40, 41, 180, 300, 430, 1000}},
	"causal documents":    {Causal: true, CuSeqlens: []int{0, 5, 40, 40, 41, 180, 300, 430, 1000}},
	"tiny documents":      {CuSeqlens: append(countTo(333, 3), 1000)},
	"rectangles": {Rectangles: []mask.Rectangle{
		{QueryTo: 700, KeyTo: 20}, {QueryFrom: 100, QueryTo: 260, KeyFrom: 60, KeyTo: 290, Kind: mask.Bidirectional},
		{QueryFrom: 70, QueryTo: 500, KeyFrom: 100, KeyTo: 220, Kind: mask.InverseCausal}, {QueryFrom: 200, QueryTo: 210, KeyFrom: 3, KeyTo: 3},
	}},
	"nothing": {Rectangles: []mask.Rectangle{}},
}

// countTo is 0, step, ..., n·step.
func countTo(n, step int) []int {
	x := make([]int, n+1)
	for i := range x {
		x[i] = i * step
	}
	return x
}

func compile(t *testing.T, s mask.Spec) *mask.Mask {
	t.Helper()
	m, err := mask.New(s, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// eachMaskTile calls f for the tiles that the mask leaves something of.
func eachMaskTile(g *geometry, f func(tl *tile)) {
	var tl tile
	for panel := range g.panels {
		tiles := g.keyTiles(panel, 0, len(g.cols))
		for i := range tiles.n {
			if col, keys := tiles.at(i); g.tile(&tl, panel, col, keys) {
				f(&tl)
			}
		}
	}
}

func TestTilesHoldEveryVisiblePairAndSkipTheRest(t *testing.T) {
	for name, c := range maskCases {
		for what, s := range specs {
			g := newGeometry(kernel.Block{Heads: 1, KVHeads: 1, Mask: compile(t, s), Rows: c[0], Cols: c[1]})
			held := 0
			eachMaskTile(g, func(tl *tile) { held += checkTile(t, name+", "+what, g, tl, s) })
			visible := 0
			for _, row := range g.rows {
				for _, col := range g.cols {
					if s.Visible(row, col) {
						visible++
					}
				}
			}
			if held != visible {
				t.Errorf("%s, %s: tiles hold %d visible pairs of %d", name, what, held, visible)
			}
			g.release()
		}
	}
}

// checkTile wants the steps and the strips of a tile to be the same pairs, with what is visible among them, and hide to write over
// the others of them; it returns the number of visible pairs.
func checkTile(t *testing.T, name string, g *geometry, tl *tile, s mask.Spec) (visible int) {
	t.Helper()
	const outside, inside, hidden = 0, 1, 2
	x, byStrips := make([]float32, tl.keys*tl.queries), make([]float32, tl.keys*tl.queries)
	for _, s := range tl.steps() {
		for i := s.key; i < s.key+s.keys; i++ {
			for j := s.from; j < s.to; j++ {
				x[i*tl.queries+j] = inside
			}
		}
	}
	for _, s := range tl.strips() {
		for i := s.key; i < s.key+s.keys; i++ {
			for j := s.from; j < s.to; j++ {
				byStrips[i*tl.queries+j] = inside
			}
		}
	}
	if !slices.Equal(x, byStrips) {
		t.Fatalf("%s: tile %+v: steps and strips are not the same pairs", name, tl)
	}
	if tl.partial {
		hide(x, tl, hidden)
	}
	for i, col := range g.cols[tl.col:][:tl.keys] {
		for j, row := range g.rows[tl.row:][:tl.queries] {
			want := s.Visible(row, col)
			if got := x[i*tl.queries+j]; want != (got == inside) {
				t.Fatalf("%s: tile %+v: query at %d and key at %d: visible %t, but the tile has %v", name, tl, row, col, want, got)
			}
			if want {
				visible++
			}
		}
	}
	if visible == 0 || tl.partial == (visible == tl.pairs()) {
		t.Errorf("%s: tile %+v of %d pairs, %d of them visible", name, tl, tl.pairs(), visible)
	}
	return visible
}

func TestBandsAreTrimmed(t *testing.T) {
	all := []kernel.Segment{{Start: 0, Stride: 1, Count: 1000}}
	for name, c := range map[string]struct {
		spec mask.Spec
		most float64 // pairs computed for each visible one
	}{
		"causal":           {mask.Spec{Causal: true}, 1.02},
		"window":           {mask.Spec{Causal: true, Window: &mask.Window{Left: 255, Right: 0}}, 1.09},
		"causal documents": {mask.Spec{Causal: true, CuSeqlens: []int{0, 240, 511, 730, 1000}}, 1.09},
		"documents":        {mask.Spec{CuSeqlens: []int{0, 240, 511, 730, 1000}}, 1.04},
	} {
		g := newGeometry(kernel.Block{Heads: 1, KVHeads: 1, Mask: compile(t, c.spec), Rows: all, Cols: all})
		pairs, visible := 0, 0
		eachMaskTile(g, func(tl *tile) {
			pairs += tl.pairs()
			if tl.isWhole() {
				visible += tl.pairs()
				return
			}
			for _, seen := range tl.seen[:tl.keys] {
				visible += bits.OnesCount64(seen)
			}
		})
		if got := float64(pairs) / float64(visible); got > c.most {
			t.Errorf("%s: tiles hold %.3f pairs for each visible one, want at most %.3f", name, got, c.most)
		}
		g.release()
	}
}

func TestTilesAreWholeWithoutAMask(t *testing.T) {
	c := maskCases["zigzag"]
	g := newGeometry(kernel.Block{Heads: 1, KVHeads: 1, Rows: c[0], Cols: c[1]})
	defer g.release()
	pairs := 0
	eachMaskTile(g, func(tl *tile) {
		if tl.isWhole() {
			pairs += tl.pairs()
		}
	})
	if pairs != len(g.rows)*len(g.cols) {
		t.Errorf("whole tiles hold %d pairs of %d", pairs, len(g.rows)*len(g.cols))
	}
}
