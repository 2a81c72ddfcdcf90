package cuda

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
	"pgregory.net/rapid"
)

// scene is a mask with the queries and keys of a block.
type scene struct {
	spec       mask.Spec
	rows, cols []kernel.Segment
}

// draw makes masks of all kinds, and segments as layouts make them and worse. It draws with even chances, which rapid's own numbers
// do not have: they are small.
func draw(t *rapid.T) (s scene, tokens int) {
	r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
	tokens = 1 + r.IntN(1200)
	bound := func() int { return r.IntN(tokens + 1) }
	s.spec.Causal = r.IntN(2) == 0
	if r.IntN(4) == 0 {
		s.spec.Window = &mask.Window{Left: bound(), Right: bound()}
	}
	if r.IntN(4) == 0 {
		s.spec.CuSeqlens = []int{0, bound(), bound(), tokens}
		slices.Sort(s.spec.CuSeqlens)
	}
	for range max(0, r.IntN(16)-10) {
		q, k := []int{bound(), bound()}, []int{bound(), bound()}
		slices.Sort(q)
		slices.Sort(k)
		s.spec.Rectangles = append(s.spec.Rectangles, mask.Rectangle{
			QueryFrom: q[0], QueryTo: q[1], KeyFrom: k[0], KeyTo: k[1], Kind: mask.Kinds()[r.IntN(4)],
		})
	}
	s.rows, s.cols = segments(r, tokens), segments(r, tokens)
	t.Logf("%d tokens, %+v", tokens, s)
	return s, tokens
}

// segments draws up to four that do not overlap, in any order.
func segments(r *rand.Rand, tokens int) (out []kernel.Segment) {
	bounds := []int{0, tokens}
	for range r.IntN(4) {
		bounds = append(bounds, r.IntN(tokens+1))
	}
	slices.Sort(bounds)
	for i := 1; i < len(bounds); i++ {
		stride := []int{1, 1, 1, 2, 5}[r.IntN(5)]
		out = append(out, kernel.Segment{Start: bounds[i-1], Stride: stride, Count: (bounds[i] - bounds[i-1] + stride - 1) / stride})
	}
	if r.IntN(3) == 0 {
		slices.Reverse(out)
	}
	return out[r.IntN(2)*r.IntN(len(out)+1)*r.IntN(2):]
}

// seen is whether row i sees key j of the scene's rows and keys, by definition.
func (s scene) seen() [][]bool {
	rows, cols := positions(s.rows), positions(s.cols)
	out := make([][]bool, len(rows))
	for i, q := range rows {
		for _, k := range cols {
			out[i] = append(out[i], s.spec.Visible(q, k))
		}
	}
	return out
}

// classify is what list has of a pair of tiles, by definition.
func classify(seen [][]bool, t tiling, q, k int) (entry uint32, listed bool) {
	visible := 0
	for i := q * t.queries; i < min((q+1)*t.queries, len(seen)); i++ {
		for j := k * t.keys; j < min((k+1)*t.keys, len(seen[i])); j++ {
			if seen[i][j] {
				visible++
			}
		}
	}
	if visible == t.queries*t.keys {
		return uint32(2 * k), true
	}
	return uint32(2*k + partial), visible > 0
}

var tilings = []tiling{{64, 64}, {128, 64}, {64, 128}, {128, 128}}

func TestListsAreTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, tokens := draw(t)
		m, err := mask.New(s.spec, tokens)
		if err != nil {
			t.Fatal(err)
		}
		seen := s.seen()
		_, v := look(m, positions(s.rows), s.cols, tokens)
		for _, tile := range tilings {
			l := v.byQuery(tile)
			for q := range len(l.start) - 1 {
				var want []uint32
				for k := range PaddedRows(v.keys) / tile.keys {
					if entry, listed := classify(seen, tile, q, k); listed {
						want = append(want, entry)
					}
				}
				if got := l.tiles[l.start[q]:l.start[q+1]]; !slices.Equal(got, want) {
					t.Fatalf("tiles %+v: query tile %d lists %v, want %v", tile, q, got, want)
				}
			}
		}
	})
}

func TestSpansAreTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, tokens := draw(t)
		m, err := mask.New(s.spec, tokens)
		if err != nil {
			t.Fatal(err)
		}
		rows, cols, seen := positions(s.rows), positions(s.cols), s.seen()
		spans, _ := look(m, rows, s.cols, tokens)
		padded := PaddedRows(len(rows))
		for i := range padded {
			for j, k := range append(slices.Clone(cols), -1) {
				visible := false
				for l := range len(spans) / max(padded, 1) {
					x := spans[l*padded+i]
					visible = visible || uint32(int32(k)-x.first) < uint32(x.count) // as score.h asks
				}
				if want := i < len(rows) && j < len(cols) && seen[i][j]; visible != want {
					t.Fatalf("row %d sees position %d: %t, want %t", i, k, visible, want)
				}
			}
		}
	})
}

// TestTurnsAreInTheOrderOfBlocks lets blocks add in turns: a block waits only for such as have been started before it.
func TestTurnsAreInTheOrderOfBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, tokens := draw(t)
		m, err := mask.New(s.spec, tokens)
		if err != nil {
			t.Fatal(err)
		}
		_, v := look(m, positions(s.rows), s.cols, tokens)
		for _, tile := range tilings {
			l, keyTiles := v.byQuery(tile), PaddedRows(v.keys)/tile.keys
			by, turn := l.turned(keyTiles)
			added, entries := make([]uint32, len(l.start)), map[string]bool{}
			for x := range keyTiles {
				k := keyTiles - 1 - x
				for at := by.start[k]; at < by.start[k+1]; at++ {
					q := by.tiles[at] / 2
					if turn[at] != added[q] {
						t.Fatalf("tiles %+v: key tile %d adds to query tile %d at turn %d, want %d", tile, k, q, turn[at], added[q])
					}
					added[q]++
					entries[fmt.Sprint(q, 2*uint32(k)+by.tiles[at]%2)] = true
				}
			}
			for q := range len(l.start) - 1 {
				for _, k := range l.tiles[l.start[q]:l.start[q+1]] {
					if !entries[fmt.Sprint(q, k)] {
						t.Fatalf("tiles %+v: key tile %d does not list query tile %d as that lists it", tile, k/2, q)
					}
				}
			}
			if len(entries) != len(l.tiles) {
				t.Fatalf("tiles %+v: %d pairs by key, %d by query", tile, len(entries), len(l.tiles))
			}
		}
	})
}
