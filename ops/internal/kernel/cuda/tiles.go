package cuda

import (
	"cmp"
	"slices"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// run is the keys from..to-1 of a block, by their place in it.
type run struct{ from, to int32 }

// view is which keys of a block each of its queries sees. The runs of a query are in rising order, and between two of them is a key
// that it does not see.
type view struct {
	rows, keys int
	start      []int32 // [S+1] into runs
	runs       []run
}

// span is a query's keys by one layer of the mask: positions first..first+count-1. It is Score.span.
type span struct{ first, count int32 }

// tiling is the rows of a tile of queries and of keys.
type tiling struct{ queries, keys int }

// list is tiles by tile: those of i are tiles[start[i]:start[i+1]], each 2·number, plus 1 if it is partial.
type list struct {
	start []int32
	tiles []uint32
}

const partial = 1

// look finds what each query sees: its spans by layer, [L][SP], and the view. The keys' positions are below limit. It costs a few
// operations a query, layer and, unless keys are in rising order, segment of keys.
func look(m *mask.Mask, rows []int, cols []kernel.Segment, limit int) (spans []span, v view) {
	layers, n := max(m.Layers(), 1), len(rows)
	padded := PaddedRows(n)
	spans = make([]span, layers*padded)
	low, high := make([]int, n), make([]int, n)
	for layer := range layers {
		if m == nil {
			for i := range high {
				high[i] = limit
			}
		} else {
			m.Intervals(layer, rows, low, high)
		}
		for i := range rows {
			from, to := min(max(low[i], 0), limit), min(max(high[i], 0), limit)
			spans[layer*padded+i] = span{int32(from), int32(max(to-from, 0))}
		}
	}
	k := indexOf(cols)
	v = view{rows: n, keys: kernel.Len(cols), start: make([]int32, n+1), runs: make([]run, 0, n*layers)}
	var seen []run
	for i := range rows {
		seen = seen[:0]
		for layer := range layers {
			s := spans[layer*padded+i]
			seen = k.within(int(s.first), int(s.first+s.count), seen)
		}
		v.runs = append(v.runs, joined(seen)...)
		v.start[i+1] = int32(len(v.runs))
	}
	return spans, v
}

// joined sorts runs and joins those with no key between them.
func joined(runs []run) []run {
	if len(runs) < 2 {
		return runs
	}
	slices.SortFunc(runs, func(a, b run) int { return cmp.Compare(a.from, b.from) })
	last := 0
	for _, r := range runs[1:] {
		if r.from <= runs[last].to {
			runs[last].to = max(runs[last].to, r.to)
			continue
		}
		last++
		runs[last] = r
	}
	return runs[:last+1]
}

// keyIndex finds keys by position.
type keyIndex struct {
	segments []kernel.Segment // none empty
	first    []int            // place of each segment's first key
	rising   bool             // no position comes behind a larger one
}

func indexOf(cols []kernel.Segment) keyIndex {
	k := keyIndex{rising: true}
	place, last := 0, -1
	for _, s := range cols {
		if s.Count == 0 {
			continue
		}
		k.segments, k.first = append(k.segments, s), append(k.first, place)
		k.rising = k.rising && s.Start > last
		place, last = place+s.Count, end(s)
	}
	return k
}

// end is the last position of a segment.
func end(s kernel.Segment) int { return s.Start + (s.Count-1)*s.Stride }

// before is how many positions of a segment lie before one.
func before(s kernel.Segment, position int) int {
	return min(max((position-s.Start+s.Stride-1)/s.Stride, 0), s.Count)
}

// within appends the runs of the keys at positions [low, high).
func (k keyIndex) within(low, high int, runs []run) []run {
	if low >= high || len(k.segments) == 0 {
		return runs
	}
	if k.rising {
		if from, to := k.place(low), k.place(high); from < to {
			runs = append(runs, run{from, to})
		}
		return runs
	}
	for i, s := range k.segments {
		if from, to := before(s, low), before(s, high); from < to {
			runs = append(runs, run{int32(k.first[i] + from), int32(k.first[i] + to)})
		}
	}
	return runs
}

// place is the first key at a position or behind, of keys in rising order.
func (k keyIndex) place(position int) int32 {
	i, _ := slices.BinarySearchFunc(k.segments, position, func(s kernel.Segment, p int) int { return cmp.Compare(end(s), p) })
	if i == len(k.segments) {
		i--
		return int32(k.first[i] + k.segments[i].Count)
	}
	return int32(k.first[i] + before(k.segments[i], position))
}

// byQuery lists for every tile of queries the tiles of keys of which it sees anything, in rising order. One is partial unless every
// row of the one sees every row of the other; rows of padding see nothing and are not seen. It costs an operation a run and a pair
// of tiles.
func (v view) byQuery(t tiling) list {
	queryTiles, keyTiles := PaddedRows(v.rows)/t.queries, PaddedRows(v.keys)/t.keys
	l := list{start: make([]int32, queryTiles+1)}
	touched, filled := make([]int, keyTiles+1), make([]int, keyTiles+1) // differences of how many rows touch, and fill, a tile
	for q := range queryTiles {
		clear(touched)
		clear(filled)
		from, to := min(q*t.queries, v.rows), min((q+1)*t.queries, v.rows)
		for _, r := range v.runs[v.start[from]:v.start[to]] {
			count(touched, int(r.from)/t.keys, (int(r.to)+t.keys-1)/t.keys)
			count(filled, (int(r.from)+t.keys-1)/t.keys, int(r.to)/t.keys)
		}
		touching, filling := 0, 0
		for k := range keyTiles {
			touching, filling = touching+touched[k], filling+filled[k]
			switch {
			case filling == t.queries:
				l.tiles = append(l.tiles, uint32(2*k))
			case touching > 0:
				l.tiles = append(l.tiles, uint32(2*k+partial))
			}
		}
		l.start[q+1] = int32(len(l.tiles))
	}
	return l
}

// count adds one from..to-1.
func count(differences []int, from, to int) {
	if from < to {
		differences[from]++
		differences[to]--
	}
}

// turned lists for every tile of keys the tiles of queries that see it, in rising order, and beside each its turn: how many tiles of
// keys add to the gradient of those queries before. The later tiles of keys come first, as the blocks of a launch do.
func (l list) turned(keyTiles int) (by list, turn []uint32) {
	by = list{start: make([]int32, keyTiles+1), tiles: make([]uint32, len(l.tiles))}
	turn = make([]uint32, len(l.tiles))
	for _, k := range l.tiles {
		by.start[k/2+1]++
	}
	for k := range keyTiles {
		by.start[k+1] += by.start[k]
	}
	next := slices.Clone(by.start)
	for q := range len(l.start) - 1 {
		own := l.tiles[l.start[q]:l.start[q+1]]
		for i, k := range own {
			at := next[k/2]
			by.tiles[at], turn[at] = uint32(2*q)+k%2, uint32(len(own)-1-i)
			next[k/2]++
		}
	}
	return by, turn
}
