package shard

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// slack is how much more than the mean a rank may have to do if that makes the sharding simpler.
const slack = 0.04

// NewBalanced deals tokens to ranks so that all have the same number of rows (to one) and the same area, in few segments. The
// area of the queries [from, to) is the number of their visible pairs, or whatever their work is: it must be additive over
// neighbouring ranges, and not negative. A rank has more than 1.04 times the mean only where few rows are a large part of it.
//
// Contiguous shards are taken if they are good enough. Else the sequence is divided as a stolen necklace is, see necklace; each of
// the two parts again, until there is one for each rank. A causal mask gives zigzag. All ranks together have about 2W segments.
func NewBalanced(tokens, ranks int, area func(from, to int) int64) (Sharding, error) {
	if err := checkSizes(tokens, ranks); err != nil {
		return Sharding{}, err
	}
	parts := evenly(tokens, ranks)
	if !isBalanced(parts, area) {
		levels := bits.Len(uint(ranks - 1))
		parts = divide(newNecklace([]Segment{{0, 1, tokens}}, area), ranks, slack/float64(levels))
		slices.SortStableFunc(parts, func(a, b []Segment) int { return cmp.Compare(firstOf(a), firstOf(b)) })
	}
	return FromSegments(tokens, parts)
}

// firstOf is the first position of a part; empty ones come last.
func firstOf(part []Segment) int {
	if len(part) == 0 {
		return math.MaxInt
	}
	return part[0].Start
}

// evenly gives contiguous parts.
func evenly(tokens, ranks int) [][]Segment {
	s := Sharding{layout: Contiguous, tokens: tokens, ranks: ranks}
	parts := make([][]Segment, ranks)
	for rank := range parts {
		parts[rank] = []Segment{s.chunk(rank, ranks)}
	}
	return parts
}

// isBalanced says whether no part has more area than it should.
func isBalanced(parts [][]Segment, area func(from, to int) int64) bool {
	var sum, largest float64
	for _, p := range parts {
		a := float64(area(p[0].Start, p[0].At(p[0].Count)))
		sum, largest = sum+a, max(largest, a)
	}
	return largest*float64(len(parts)) <= sum*(1+slack)
}

// divide gives each of ranks its part; an area is missed by up to the tolerance at each of the log2(ranks) levels.
func divide(n *necklace, ranks int, tolerance float64) [][]Segment {
	if ranks == 1 {
		return [][]Segment{n.pieces}
	}
	some := ranks / 2
	share, others := n.cut(some, ranks, tolerance)
	return append(divide(share, some, tolerance), divide(others, ranks-some, tolerance)...)
}
