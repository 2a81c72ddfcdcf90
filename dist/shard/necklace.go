package shard

import "math"

// necklace is positions that are still to be divided, thought of as a ring: behind the last comes the first.
//
// It can be cut fairly in two: of the arcs with half of the rows one that has too little area is opposite to one that has too
// much, and an arc that slides from here to there has, on its way, just half. For another share than half the same holds of
// the arcs on average. (N. Alon, "Splitting necklaces", Advances in Mathematics 63, 1987: two kinds of beads.)
//
//	1 2 3 4 5 6 7 8        the areas of eight queries under a causal mask: 36
//	    3 4 5 6            half of the rows with half of the area: 18
//	1 2         7 8        what is left, closed to a ring
type necklace struct {
	area   func(from, to int) int64
	pieces []Segment // of stride 1, rising
	before []int64   // by piece: area of the pieces before it
	rows   int
	total  int64 // area
}

func newNecklace(pieces []Segment, area func(from, to int) int64) *necklace {
	n := &necklace{area: area, pieces: pieces}
	for _, p := range pieces {
		n.before = append(n.before, n.total)
		n.rows += p.Count
		n.total += area(p.Start, p.Start+p.Count)
	}
	return n
}

// cut takes an arc with some of parts equal shares, of rows exactly (rounded down) and of area as nearly as single rows allow, or to
// the tolerance where that needs fewer cuts.
func (n *necklace) cut(some, parts int, tolerance float64) (share, others *necklace) {
	a := arcs{n, n.rows * some / parts, float64(n.total) * float64(some) / float64(parts)}
	start := a.fair(parts, tolerance*a.want)
	end := start + a.length
	if end <= n.rows {
		return n.of(n.slice(start, end)), n.of(n.slice(0, start), n.slice(end, n.rows))
	}
	return n.of(n.slice(0, end-n.rows), n.slice(start, n.rows)), n.of(n.slice(end-n.rows, start))
}

// of is a necklace of these pieces, which rise.
func (n *necklace) of(pieces ...[]Segment) *necklace {
	var all []Segment
	for _, p := range pieces {
		all = append(all, p...)
	}
	return newNecklace(joined(all), n.area)
}

// slice is the pieces of the rows from to to.
func (n *necklace) slice(from, to int) []Segment {
	var out []Segment
	for _, p := range n.pieces {
		low, high := max(from, 0), min(to, p.Count)
		if low < high {
			out = append(out, Segment{p.Start + low, 1, high - low})
		}
		from, to = from-p.Count, to-p.Count
	}
	return out
}

// areaBefore is the area of the first rows.
func (n *necklace) areaBefore(rows int) int64 {
	for i, p := range n.pieces {
		if rows <= p.Count {
			return n.before[i] + n.area(p.Start, p.Start+rows)
		}
		rows -= p.Count
	}
	return n.total
}

// arcs of a number of rows, of which one with an area is wanted.
type arcs struct {
	*necklace
	length int
	want   float64
}

// excess is how much area the arc that begins at a row has too much.
func (a arcs) excess(start int) float64 {
	end := start + a.length
	if end <= a.rows {
		return float64(a.areaBefore(end)-a.areaBefore(start)) - a.want
	}
	return float64(a.total-a.areaBefore(start)+a.areaBefore(end-a.rows)) - a.want
}

// fair is the start of an arc with the area: the first one within the tolerance that begins or ends with a piece, else the one that
// comes nearest on the way from an arc with too little to one with too much.
func (a arcs) fair(parts int, tolerance float64) int {
	for _, start := range a.edges() {
		if math.Abs(a.excess(start)) <= tolerance {
			return start
		}
	}
	best := 0
	for i := range parts { // the arcs that begin here cover every row equally often
		low, high := a.rows*i/parts, a.rows*(i+1)/parts
		if (a.excess(low) > 0) != (a.excess(high) > 0) {
			return a.crossing(low, high)
		}
		if math.Abs(a.excess(low)) < math.Abs(a.excess(best)) {
			best = low
		}
	}
	return best
}

// edges are the starts of arcs that begin or end with a piece: they need one cut.
func (a arcs) edges() []int {
	var starts, ends []int
	row := 0
	for _, p := range a.pieces {
		starts = append(starts, row)
		ends = append(ends, mod(row-a.length, a.rows))
		row += p.Count
	}
	return append(starts, ends...)
}

// crossing is the start between low and high, whose excesses differ in sign, where the excess is nearest to 0 as it changes its sign.
func (a arcs) crossing(low, high int) int {
	falls := a.excess(low) > 0
	for high-low > 1 {
		if middle := low + (high-low)/2; (a.excess(middle) > 0) == falls {
			low = middle
		} else {
			high = middle
		}
	}
	if math.Abs(a.excess(low)) <= math.Abs(a.excess(high)) {
		return low
	}
	return high
}
