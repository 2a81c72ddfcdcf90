package shard

import (
	"cmp"
	"fmt"
	"slices"
)

// table is a sharding that no formula gives. It knows who owns a position by runs, or by the sharding that it groups.
type table struct {
	segments [][]Segment // by rank: neither empty nor touching
	runs     []run       // all positions, rising
	grouped  *grouping
}

// run is neighbouring positions that are neighbouring rows of a rank.
type run struct{ start, count, rank, row int }

// FromSegments is the sharding in which rank r holds the positions of ranks[r], in that order; its layout is Balanced. Every position
// of 0 to tokens-1 must be held exactly once. Ranks may be empty and strides of any sort. The rows of a rank need not rise, but the
// kernels find masked tiles best if they do. Strides other than 1 cost memory for every position.
func FromSegments(tokens int, ranks [][]Segment) (Sharding, error) {
	if err := checkSizes(tokens, len(ranks)); err != nil {
		return Sharding{}, err
	}
	t := &table{segments: make([][]Segment, len(ranks))}
	for rank, parts := range ranks {
		row := 0
		for _, p := range parts {
			if err := checkSegment(p, rank, tokens); err != nil {
				return Sharding{}, err
			}
			t.runs = p.appendRuns(t.runs, rank, row)
			row += p.Count
		}
		t.segments[rank] = normal(parts)
	}
	if err := t.sortRuns(tokens); err != nil {
		return Sharding{}, err
	}
	return Sharding{layout: Balanced, tokens: tokens, ranks: len(ranks), table: t}, nil
}

// checkSegment refuses a segment that leaves the sequence.
func checkSegment(p Segment, rank, tokens int) error {
	if p.Count < 0 || p.Count > tokens {
		return fmt.Errorf("shard: rank %d has a segment of %d positions in a sequence of %d", rank, p.Count, tokens)
	}
	if p.Count == 0 {
		return nil
	}
	if limit := tokens; p.Count > 1 && (p.Stride > limit || p.Stride < -limit) {
		return fmt.Errorf("shard: rank %d has a segment of stride %d in a sequence of %d", rank, p.Stride, tokens)
	}
	for _, position := range []int{p.Start, p.At(p.Count - 1)} {
		if position < 0 || position >= tokens {
			return fmt.Errorf("shard: rank %d holds position %d of a sequence of %d", rank, position, tokens)
		}
	}
	return nil
}

// normal copies segments, joins what touches, and gives single positions stride 1.
func normal(parts []Segment) []Segment {
	out := slices.Clone(parts)
	for i := range out {
		if out[i].Count == 1 {
			out[i].Stride = 1
		}
	}
	return slices.Clip(joined(out))
}

// appendRuns appends the runs of a segment whose first row is given.
func (g Segment) appendRuns(runs []run, rank, row int) []run {
	if g.Stride == 1 && g.Count > 0 {
		return append(runs, run{g.Start, g.Count, rank, row})
	}
	for i := range g.Count {
		runs = append(runs, run{g.At(i), 1, rank, row + i})
	}
	return runs
}

// sortRuns makes the runs rise and checks that they fill the sequence.
func (t *table) sortRuns(tokens int) error {
	slices.SortFunc(t.runs, func(a, b run) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.rank, b.rank)) })
	end := 0 // of the runs so far
	for i, r := range t.runs {
		switch {
		case r.start > end:
			return fmt.Errorf("shard: no rank holds position %d", end)
		case r.start < end:
			return fmt.Errorf("shard: position %d is held twice, by rank %d and by rank %d", r.start, t.runs[i-1].rank, r.rank)
		}
		end += r.count
	}
	if end < tokens {
		return fmt.Errorf("shard: no rank holds position %d", end)
	}
	return nil
}

// owner finds the rank and the row of a position that exists.
func (t *table) owner(position int) (rank, row int) {
	if t.grouped != nil {
		return t.grouped.owner(position)
	}
	i, found := slices.BinarySearchFunc(t.runs, position, func(r run, p int) int { return cmp.Compare(r.start, p) })
	if !found {
		i--
	}
	r := t.runs[i]
	return r.rank, r.row + position - r.start
}
