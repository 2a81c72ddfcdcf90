package shard

import "fmt"

// grouping says that the ranks of a sharding are taken together, size at a time.
type grouping struct {
	of    Sharding
	size  int
	first []int // by old rank: its first row in the new one
}

// Grouped is the sharding over Ranks()/size ranks in which rank g holds the rows of the ranks g*size to g*size+size-1 of s, one behind
// the other: what the members of a group hold together once they have exchanged heads for rows. Its layout is Balanced, unless it is a
// contiguous one. Of zigzag and striped layouts the rows of a group do not rise.
func (s Sharding) Grouped(size int) (Sharding, error) {
	switch {
	case size < 1 || s.ranks%size != 0:
		return Sharding{}, fmt.Errorf("shard: %d ranks are not groups of %d", s.ranks, size)
	case size == 1:
		return s, nil
	case s.layout == Contiguous:
		return New(Contiguous, s.tokens, s.ranks/size)
	}
	g := &grouping{of: s, size: size, first: make([]int, s.ranks)}
	t := &table{segments: make([][]Segment, s.ranks/size), grouped: g}
	for rank := range t.segments {
		var parts []Segment
		rows := 0
		for old := rank * size; old < (rank+1)*size; old++ {
			g.first[old] = rows
			rows += s.Len(old)
			parts = append(parts, s.Segments(old)...)
		}
		t.segments[rank] = normal(parts)
	}
	return Sharding{layout: Balanced, tokens: s.tokens, ranks: s.ranks / size, table: t}, nil
}

func (g *grouping) owner(position int) (rank, row int) {
	old, row := g.of.Owner(position)
	return old / g.size, g.first[old] + row
}
