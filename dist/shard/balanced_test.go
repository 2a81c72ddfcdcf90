package shard_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
)

// visible is the area of a sequence of documents under a causal mask: as a query sees what is before it in its document, and no more
// than a window of it. A window of 0 has no end.
func visible(window int, documents ...int) func(from, to int) int64 {
	before := []int64{0} // by position: the area of the queries before it
	for _, length := range documents {
		for i := range length {
			keys := i + 1
			if window > 0 {
				keys = min(keys, window)
			}
			before = append(before, before[len(before)-1]+int64(keys))
		}
	}
	return func(from, to int) int64 { return before[to] - before[from] }
}

func even(from, to int) int64 { return int64(to - from) }

// documents draws the lengths of documents that fill a sequence.
func documents(seed uint64, count, tokens int, length func(*rand.Rand) float64) []int {
	r := rand.New(rand.NewPCG(seed, 0))
	draws, sum := make([]float64, count), 0.0
	for i := range draws {
		draws[i] = length(r)
		sum += draws[i]
	}
	lengths, end, total := make([]int, count), 0, 0.0
	for i, d := range draws {
		total += d
		next := int(math.Round(total / sum * float64(tokens)))
		lengths[i], end = next-end, next
	}
	return lengths
}

func uniform(r *rand.Rand) float64   { return r.Float64() }
func logNormal(r *rand.Rand) float64 { return math.Exp(r.NormFloat64()) }

// A mask of a sequence, and the ring it is dealt to.
type load struct {
	name          string
	tokens, ranks int
	area          func(from, to int) int64
}

func loads() []load {
	list := []load{
		{"causal", 1 << 14, 8, visible(0, 1<<14)},
		{"causal, odd", 9973, 7, visible(0, 9973)},
		{"full", 1 << 14, 8, even},
		{"16 equal documents", 1 << 14, 4, visible(0, slices.Repeat([]int{1024}, 16)...)},
		{"window", 1 << 14, 4, visible(1024, 1<<14)},
		{"window", 1 << 14, 8, visible(1024, 1<<14)},
		{"one long document, then short ones", 1 << 14, 8, visible(0, append([]int{1 << 13}, slices.Repeat([]int{64}, 128)...)...)},
	}
	for _, tokens := range []int{1 << 14, 1 << 16} {
		for seed := range uint64(5) {
			list = append(list,
				load{fmt.Sprintf("uniform documents, seed %d", seed), tokens, 8, visible(0, documents(seed, 32, tokens, uniform)...)},
				load{fmt.Sprintf("log-normal documents, seed %d", seed), tokens, 8, visible(0, documents(seed, 32, tokens, logNormal)...)})
		}
	}
	for _, ranks := range []int{2, 3, 5, 16, 32} {
		list = append(list, load{fmt.Sprintf("log-normal documents on %d", ranks), 1 << 16, ranks, visible(0, documents(9, 40, 1<<16, logNormal)...)})
	}
	return list
}

// shares are the largest area of a rank over the mean, and the mean and the largest number of segments.
func shares(s shard.Sharding, area func(from, to int) int64) (areas, segments float64, most int) {
	var sum, largest int64
	total := 0
	for rank := range s.Ranks() {
		var own int64
		for _, g := range s.Segments(rank) {
			own += area(g.Start, g.Start+g.Count)
		}
		sum, largest = sum+own, max(largest, own)
		total, most = total+len(s.Segments(rank)), max(most, len(s.Segments(rank)))
	}
	w := float64(s.Ranks())
	return float64(largest) * w / float64(sum), float64(total) / w, most
}

// Work within 5 % of the mean, rows even, and on average less than two segments a rank.
func TestBalancedSharesAreasAndRowsInFewSegments(t *testing.T) {
	for _, l := range loads() {
		s, err := shard.NewBalanced(l.tokens, l.ranks, l.area)
		if err != nil {
			t.Fatal(err)
		}
		areas, segments, most := shares(s, l.area)
		t.Logf("%s, %d tokens on %d: area %.4f of the mean, %.2f segments a rank, at most %d", l.name, l.tokens, l.ranks, areas, segments, most)
		if areas > 1.05 || s.MaxLen() > l.tokens/l.ranks+1 || segments >= 2 || most > 4 {
			t.Errorf("%s, %d tokens on %d: area %.4f of the mean, %d rows, %.2f segments a rank, at most %d",
				l.name, l.tokens, l.ranks, areas, s.MaxLen(), segments, most)
		}
	}
}

// What a layout does well already is left to it.
func TestBalancedIsSimpleForSimpleMasks(t *testing.T) {
	for _, c := range []struct {
		load
		want shard.Layout
	}{
		{load{"full", 4096, 8, even}, shard.Contiguous},
		{load{"window", 16384, 8, visible(1024, 16384)}, shard.Contiguous},
		{load{"nothing is visible", 4096, 4, func(int, int) int64 { return 0 }}, shard.Contiguous},
		{load{"causal", 4096, 2, visible(0, 4096)}, shard.Zigzag},
		{load{"causal", 4096, 8, visible(0, 4096)}, shard.Zigzag},
	} {
		got, err := shard.NewBalanced(c.tokens, c.ranks, c.area)
		if err != nil {
			t.Fatal(err)
		}
		want, err := shard.New(c.want, c.tokens, c.ranks)
		if err != nil {
			t.Fatal(err)
		}
		for rank := range c.ranks {
			if !slices.Equal(got.Segments(rank), want.Segments(rank)) {
				t.Errorf("%s: rank %d of %d has %v, want %v as %s", c.name, rank, c.ranks, got.Segments(rank), want.Segments(rank), c.want)
			}
		}
	}
}

// Queries that see nothing (the padding behind 4096 tokens) have an owner like all others.
func TestBalancedDealsMaskedQueries(t *testing.T) {
	causal := visible(0, 4096)
	area := func(from, to int) int64 { return causal(min(from, 4096), min(to, 4096)) }
	s, err := shard.NewBalanced(16384, 4, area)
	if err != nil {
		t.Fatal(err)
	}
	if areas, _, _ := shares(s, area); areas > 1.05 || s.MaxLen() != 4096 {
		t.Errorf("area %.4f of the mean, %d rows", areas, s.MaxLen())
	}
}

func TestBalancedIsTheSameEveryTime(t *testing.T) {
	area := visible(0, documents(1, 32, 5000, logNormal)...)
	first, err := shard.NewBalanced(5000, 7, area)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		again, err := shard.NewBalanced(5000, 7, area)
		if err != nil {
			t.Fatal(err)
		}
		for rank := range 7 {
			if !slices.Equal(again.Segments(rank), first.Segments(rank)) {
				t.Errorf("rank %d has %v, and %v before", rank, again.Segments(rank), first.Segments(rank))
			}
		}
	}
}

// Where a query is a large part of the work nothing is fair, but every position has an owner.
func TestBalancedIsASharding(t *testing.T) {
	for _, c := range [][2]int{{0, 1}, {0, 5}, {1, 1}, {1, 4}, {3, 8}, {8, 8}, {9, 8}, {17, 16}} {
		tokens, ranks := c[0], c[1]
		for name, area := range map[string]func(from, to int) int64{"causal": visible(0, tokens), "full": even, "none": func(int, int) int64 { return 0 }} {
			s, err := shard.NewBalanced(tokens, ranks, area)
			if err != nil || s.Tokens() != tokens || s.Ranks() != ranks || s.Layout() != shard.Balanced {
				t.Errorf("%s: %d tokens on %d ranks: %v", name, tokens, ranks, err)
				continue
			}
			for position := range tokens {
				if rank, row := s.Owner(position); s.Position(rank, row) != position {
					t.Errorf("%s: %d tokens on %d ranks: position %d is lost", name, tokens, ranks, position)
				}
			}
		}
	}
}

func TestBalancedRefusesWhatItCannotDeal(t *testing.T) {
	for want, c := range map[string][2]int{"-1 tokens": {-1, 2}, "0 ranks": {8, 0}} {
		if _, err := shard.NewBalanced(c[0], c[1], even); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: got error %v, want %q", c, err, want)
		}
	}
}
