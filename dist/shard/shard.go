// Package shard says which rank holds which positions of a sequence, and which block a rank meets at which step of the ring.
//
// A sequence of T tokens is dealt to W ranks by a layout. Nothing is padded: any T and any W are allowed, shards may differ by a token
// or two and may be empty.
//
//	T = 16, W = 2        rank 0                      rank 1
//	contiguous           0 1 2 3 4 5 6 7             8 9 10 11 12 13 14 15
//	zigzag               0 1 2 3 . . . . 12 13 14 15 4 5 6 7 8 9 10 11
//	striped              0 2 4 6 8 10 12 14          1 3 5 7 9 11 13 15
//
// Under a causal mask contiguous gives the last rank almost all of the work. Zigzag (each rank an early chunk and the late one
// that mirrors it) and striped give every rank the same.
//
// No such formula fits documents of unequal length, of which the long ones are most of the work. Balanced is told the work of every
// range of queries, and gives every rank the same number of rows and the same work, in few segments: contiguous ones if that
// is good enough, those of zigzag for a plain causal mask. Two documents, of 12 and of 4 tokens:
//
//	balanced             0 . . . . 9 10 11 12 13 14 15   1 2 3 4 5 6 7 8
//	                     a         a a  a  b  b  b  b    a a a a a a a a      44 pairs each
//
// Shardings that no layout makes are given by their segments: FromSegments, Grouped.
package shard

import (
	"fmt"
	"slices"
	"strings"
)

// Layout is the name of a way to deal positions to ranks; the empty Layout means Contiguous.
type Layout string

// The layouts.
const (
	Contiguous Layout = "contiguous" // rank r holds [T*r/W, T*(r+1)/W)
	Zigzag     Layout = "zigzag"     // of 2W chunks [T*c/2W, T*(c+1)/2W) rank r holds chunks r and 2W-1-r
	Striped    Layout = "striped"    // rank r holds r, r+W, r+2W, ...
	Balanced   Layout = "balanced"   // rank r holds what a table says: NewBalanced, FromSegments, Grouped
)

// Layouts lists all layouts.
func Layouts() []Layout { return []Layout{Contiguous, Zigzag, Striped, Balanced} }

// ParseLayout reads the name of a layout.
func ParseLayout(s string) (Layout, error) {
	if slices.Contains(Layouts(), Layout(s)) {
		return Layout(s), nil
	}
	return "", fmt.Errorf("shard: layout %q is not known: use %s", s, names())
}

func names() string {
	all := Layouts()
	list := make([]string, len(all))
	for i, l := range all {
		list[i] = string(l)
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}

// Segment is a run of global positions: Start, Start+Stride, ... (Count of them).
type Segment struct{ Start, Stride, Count int }

// At is the i-th position of the segment.
func (g Segment) At(i int) int { return g.Start + i*g.Stride }

// Products of tokens and ranks must fit an int with room to spare.
const (
	maxTokens = 1 << 40
	maxRanks  = 1 << 20
)

// Sharding deals a sequence of tokens to ranks. It is a small value, made by New and never changed. Those made by one formula are equal
// (==) if layout, tokens and ranks are; those with a table only to copies of themselves.
type Sharding struct {
	layout        Layout
	tokens, ranks int
	table         *table // of Balanced, else nil
}

// New deals tokens (>= 0) to ranks (>= 1). More ranks than tokens leave some shards empty. Balanced takes all tokens for the same
// work here; NewBalanced is told what they are.
func New(layout Layout, tokens, ranks int) (Sharding, error) {
	if layout == "" {
		layout = Contiguous
	}
	if _, err := ParseLayout(string(layout)); err != nil {
		return Sharding{}, err
	}
	if err := checkSizes(tokens, ranks); err != nil {
		return Sharding{}, err
	}
	if layout == Balanced {
		return NewBalanced(tokens, ranks, func(from, to int) int64 { return int64(to - from) })
	}
	return Sharding{layout: layout, tokens: tokens, ranks: ranks}, nil
}

func checkSizes(tokens, ranks int) error {
	if tokens < 0 || tokens > maxTokens {
		return fmt.Errorf("shard: %d tokens: give a number from 0 to 2^40", tokens)
	}
	if ranks < 1 || ranks > maxRanks {
		return fmt.Errorf("shard: %d ranks: give a number from 1 to 2^20", ranks)
	}
	return nil
}

// Tokens is the length T of the whole sequence.
func (s Sharding) Tokens() int { return s.tokens }

// Ranks is the number W of shards.
func (s Sharding) Ranks() int { return s.ranks }

// Layout is how the positions are dealt.
func (s Sharding) Layout() Layout { return s.layout }

// Segments gives the global positions of a rank's rows, in the order of the rows. Empty segments are left out and neighbours
// that continue each other are joined, so there are 0, 1 or (zigzag) 2; of a balanced layout a few.
func (s Sharding) Segments(rank int) []Segment {
	var room [2]Segment
	return slices.Clone(s.segments(rank, &room))
}

// segments is Segments without an allocation: the result is in room or in the table.
func (s Sharding) segments(rank int, room *[2]Segment) []Segment {
	if rank < 0 || rank >= s.ranks {
		panic(fmt.Sprintf("shard: rank %d of %d", rank, s.ranks))
	}
	switch s.layout {
	case Balanced:
		return s.table.segments[rank]
	case Striped:
		room[0] = Segment{Start: rank, Stride: s.ranks, Count: (s.tokens - rank + s.ranks - 1) / s.ranks}
		room[1] = Segment{}
	case Zigzag:
		room[0] = s.chunk(rank, 2*s.ranks)
		room[1] = s.chunk(2*s.ranks-1-rank, 2*s.ranks)
	default:
		room[0], room[1] = s.chunk(rank, s.ranks), Segment{}
	}
	return joined(room[:])
}

// chunk c of n equal ones.
func (s Sharding) chunk(c, n int) Segment {
	start := s.tokens * c / n
	return Segment{Start: start, Stride: 1, Count: s.tokens*(c+1)/n - start}
}

// joined drops empty segments and joins those that touch (the middle of a zigzag), in place.
func joined(parts []Segment) []Segment {
	out := parts[:0]
	for _, p := range parts {
		last := len(out) - 1
		switch {
		case p.Count == 0:
		case last >= 0 && p.Stride == 1 && out[last].Stride == 1 && out[last].At(out[last].Count) == p.Start:
			out[last].Count += p.Count
		default:
			out = append(out, p)
		}
	}
	return out
}

// Len is the number S of rows that a rank holds.
func (s Sharding) Len(rank int) int {
	var room [2]Segment
	return rowsOf(s.segments(rank, &room))
}

func rowsOf(parts []Segment) int {
	sum := 0
	for _, p := range parts {
		sum += p.Count
	}
	return sum
}

// MaxLen is the length of the longest shard.
func (s Sharding) MaxLen() int {
	longest := 0
	for r := range s.ranks {
		longest = max(longest, s.Len(r))
	}
	return longest
}

// Position is the global position of a rank's row; row is in [0, Len(rank)).
func (s Sharding) Position(rank, row int) int {
	var room [2]Segment
	left := row
	for _, p := range s.segments(rank, &room) {
		if left >= 0 && left < p.Count {
			return p.At(left)
		}
		left -= p.Count
	}
	panic(fmt.Sprintf("shard: row %d of the %d rows of rank %d", row, s.Len(rank), rank))
}

// Owner is the rank and the row that hold a global position, the inverse of Position.
func (s Sharding) Owner(position int) (rank, row int) {
	if position < 0 || position >= s.tokens {
		panic(fmt.Sprintf("shard: position %d of %d", position, s.tokens))
	}
	switch s.layout {
	case Balanced:
		return s.table.owner(position)
	case Striped:
		return position % s.ranks, position / s.ranks
	case Zigzag:
		c := s.chunkOf(position, 2*s.ranks)
		rank = min(c, 2*s.ranks-1-c)
	default:
		rank = s.chunkOf(position, s.ranks)
	}
	var room [2]Segment
	parts := s.segments(rank, &room)
	if len(parts) > 1 && position >= parts[1].Start {
		return rank, parts[0].Count + position - parts[1].Start
	}
	return rank, position - parts[0].Start
}

// chunkOf is the chunk of n that holds a position: the last c with T*c/n <= position.
func (s Sharding) chunkOf(position, n int) int { return ((position+1)*n - 1) / s.tokens }
