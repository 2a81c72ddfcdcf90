package shard_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringgrad/ringgrad/dist/shard"
)

// anyTable draws segments of all strides in any order: the positions of a random permutation, cut into runs.
func anyTable(t *rapid.T) shard.Sharding {
	tokens := rapid.IntRange(0, 60).Draw(t, "tokens")
	segments := make([][]shard.Segment, rapid.IntRange(1, 9).Draw(t, "ranks"))
	for from := 0; from < tokens; {
		count := rapid.IntRange(1, tokens-from).Draw(t, "count")
		stride := rapid.SampledFrom([]int{1, 1, 2, 3, -1}).Draw(t, "stride")
		for _, g := range strided(from, count, stride) {
			rank := rapid.IntRange(0, len(segments)-1).Draw(t, "rank")
			at := rapid.IntRange(0, len(segments[rank])).Draw(t, "place")
			segments[rank] = slices.Insert(segments[rank], at, g)
		}
		from += count
	}
	s, err := shard.FromSegments(tokens, segments)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// strided divides neighbouring positions into segments of a stride.
func strided(from, count, stride int) []shard.Segment {
	if stride < 0 {
		return []shard.Segment{{from + count - 1, stride, count}}
	}
	var list []shard.Segment
	for i := range stride {
		list = append(list, shard.Segment{Start: from + i, Stride: stride, Count: max(count-i+stride-1, 0) / stride})
	}
	return list
}

func TestSegmentsMayBeAnyThatHoldEveryPositionOnce(t *testing.T) {
	s, err := shard.FromSegments(10, [][]shard.Segment{
		{{8, 1, 2}, {3, -1, 4}},           // 8 9 3 2 1 0
		{},                                // none
		{{5, 2, 2}, {0, 7, 0}, {4, 0, 1}}, // 5 7 4
		{{6, 1, 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Layout() != shard.Balanced || s.Tokens() != 10 || s.Ranks() != 4 || s.MaxLen() != 6 || s.Len(1) != 0 {
		t.Errorf("%s, %d tokens, %d ranks, at most %d rows, rank 1 has %d", s.Layout(), s.Tokens(), s.Ranks(), s.MaxLen(), s.Len(1))
	}
	if got, want := s.Segments(2), []shard.Segment{{5, 2, 2}, {4, 1, 1}}; !slices.Equal(got, want) {
		t.Errorf("rank 2 has %v, want %v", got, want)
	}
	for position, want := range [][2]int{{0, 5}, {0, 4}, {0, 3}, {0, 2}, {2, 2}, {2, 0}, {3, 0}, {2, 1}, {0, 0}, {0, 1}} {
		if rank, row := s.Owner(position); rank != want[0] || row != want[1] {
			t.Errorf("position %d is row %d of rank %d, want %v", position, row, rank, want)
		}
	}
}

func TestSegmentsThatTouchAreJoined(t *testing.T) {
	s, err := shard.FromSegments(6, [][]shard.Segment{{{0, 1, 2}, {2, 5, 1}, {3, 1, 3}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Segments(0); !slices.Equal(got, []shard.Segment{{0, 1, 6}}) {
		t.Errorf("got %v", got)
	}
}

// A table is not changed through what it was made of, or through what it gives.
func TestTablesOwnTheirSegments(t *testing.T) {
	given := []shard.Segment{{0, 1, 4}}
	s, err := shard.FromSegments(4, [][]shard.Segment{given})
	if err != nil {
		t.Fatal(err)
	}
	given[0].Start = 1
	s.Segments(0)[0].Start = 2
	if got := s.Segments(0)[0]; got != (shard.Segment{Start: 0, Stride: 1, Count: 4}) {
		t.Errorf("got %v", got)
	}
}

func TestMistakesInSegmentsAreNamed(t *testing.T) {
	for want, ranks := range map[string][][]shard.Segment{
		"shard: no rank holds position 3":                              {{{0, 1, 3}}, {{4, 1, 4}}},
		"shard: no rank holds position 7":                              {{{0, 1, 7}}},
		"shard: no rank holds position 0":                              {{}, {{1, 1, 7}}},
		"shard: position 5 is held twice, by rank 0 and by rank 1":     {{{0, 1, 6}}, {{5, 1, 3}}},
		"shard: position 2 is held twice, by rank 0 and by rank 0":     {{{0, 1, 8}, {2, 1, 1}}},
		"shard: position 4 is held twice, by rank 0 and by rank 2":     {{{4, 1, 4}}, {{0, 1, 4}}, {{4, 0, 2}}},
		"shard: rank 1 holds position 8 of a sequence of 8":            {{{0, 1, 8}}, {{6, 2, 2}}},
		"shard: rank 0 holds position -1 of a sequence of 8":           {{{1, -1, 3}}},
		"shard: rank 0 has a segment of -1 positions in a sequence of": {{{1, 1, -1}}},
		"shard: rank 0 has a segment of 9 positions in a sequence of":  {{{0, 1, 9}}},
		"shard: rank 0 has a segment of stride 4611686018427387904 in": {{{0, 1 << 62, 5}}},
		"shard: 0 ranks": nil,
	} {
		if _, err := shard.FromSegments(8, ranks); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: got error %v, want %s", ranks, err, want)
		}
	}
}

func TestGroupsHoldTheRowsOfTheirMembersOneBehindTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, groups := rapid.IntRange(1, 4).Draw(t, "size"), rapid.IntRange(1, 5).Draw(t, "groups")
		layout := rapid.SampledFrom(shard.Layouts()).Draw(t, "layout")
		s, err := shard.New(layout, rapid.IntRange(0, 100).Draw(t, "tokens"), size*groups)
		if err != nil {
			t.Fatal(err)
		}
		g, err := s.Grouped(size)
		if err != nil {
			t.Fatal(err)
		}
		if g.Ranks() != groups || g.Tokens() != s.Tokens() {
			t.Fatalf("%d ranks and %d tokens", g.Ranks(), g.Tokens())
		}
		for group := range groups {
			row := 0
			for member := range size {
				for old := range s.Len(group*size + member) {
					position := s.Position(group*size+member, old)
					if rank, r := g.Owner(position); g.Position(group, row) != position || rank != group || r != row {
						t.Fatalf("%s: group %d row %d: position %d, want %d, owned by row %d of %d", layout, group, row, g.Position(group, row), position, r, rank)
					}
					row++
				}
			}
			if g.Len(group) != row {
				t.Fatalf("group %d has %d rows, want %d", group, g.Len(group), row)
			}
		}
	})
}

func TestGroupsOfOneAndOfContiguousShardsAreShardingsOfTheirLayout(t *testing.T) {
	zigzag, err := shard.New(shard.Zigzag, 20, 6)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := zigzag.Grouped(1); err != nil || same != zigzag {
		t.Errorf("groups of one: %v, %v", same, err)
	}
	contiguous, err := shard.New(shard.Contiguous, 20, 6)
	if err != nil {
		t.Fatal(err)
	}
	want, err := shard.New(shard.Contiguous, 20, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := contiguous.Grouped(2); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
	for _, size := range []int{-1, 0, 4, 12} {
		if _, err := zigzag.Grouped(size); err == nil || err.Error() != fmt.Sprintf("shard: 6 ranks are not groups of %d", size) {
			t.Errorf("groups of %d: got error %v", size, err)
		}
	}
}

// Groups of groups are groups.
func TestGroupsNest(t *testing.T) {
	s, err := shard.New(shard.Striped, 30, 8)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := s.Grouped(2)
	if err != nil {
		t.Fatal(err)
	}
	if twice, err = twice.Grouped(2); err != nil {
		t.Fatal(err)
	}
	once, err := s.Grouped(4)
	if err != nil {
		t.Fatal(err)
	}
	for position := range 30 {
		rank, row := twice.Owner(position)
		if wantRank, wantRow := once.Owner(position); rank != wantRank || row != wantRow {
			t.Errorf("position %d is row %d of %d, want row %d of %d", position, row, rank, wantRow, wantRank)
		}
	}
}
