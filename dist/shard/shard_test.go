package shard_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringgrad/ringgrad/dist/shard"
)

// anySharding draws lengths and ring sizes of all sorts: empty, one token, odd, more ranks than tokens.
func anySharding(t *rapid.T) shard.Sharding {
	layout := rapid.SampledFrom(shard.Layouts()).Draw(t, "layout")
	tokens := rapid.OneOf(rapid.IntRange(0, 5), rapid.IntRange(0, 300)).Draw(t, "tokens")
	ranks := rapid.OneOf(rapid.IntRange(1, 9), rapid.IntRange(1, 400)).Draw(t, "ranks")
	s, err := shard.New(layout, tokens, ranks)
	if layout == shard.Balanced {
		loads := rapid.SliceOfN(rapid.IntRange(0, 9), tokens, tokens).Draw(t, "loads")
		s, err = shard.NewBalanced(tokens, ranks, func(from, to int) (sum int64) {
			for _, load := range loads[from:to] {
				sum += int64(load)
			}
			return sum
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// layoutOrTable draws shardings by layout, by table and in groups.
func layoutOrTable(t *rapid.T) shard.Sharding {
	s := anySharding
	if rapid.Bool().Draw(t, "by table") {
		s = anyTable
	}
	all := s(t)
	size := rapid.SampledFrom([]int{1, 1, 2, 3}).Draw(t, "group")
	if all.Ranks()%size != 0 {
		return all
	}
	grouped, err := all.Grouped(size)
	if err != nil {
		t.Fatal(err)
	}
	return grouped
}

func TestEveryPositionIsHeldExactlyOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := layoutOrTable(t)
		held := make([]int, s.Tokens())
		for rank := range s.Ranks() {
			for row := range s.Len(rank) {
				held[s.Position(rank, row)]++
			}
		}
		for position, times := range held {
			if times != 1 {
				t.Fatalf("position %d is held %d times", position, times)
			}
		}
	})
}

func TestSegmentsListThePositionsOfTheRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := layoutOrTable(t)
		for rank := range s.Ranks() {
			row := 0
			for _, g := range s.Segments(rank) {
				if g.Count < 1 {
					t.Fatalf("rank %d has segment %+v", rank, g)
				}
				for i := range g.Count {
					if g.At(i) != s.Position(rank, row) {
						t.Fatalf("rank %d row %d: segment says %d, Position %d", rank, row, g.At(i), s.Position(rank, row))
					}
					row++
				}
			}
			if row != s.Len(rank) {
				t.Fatalf("rank %d: segments hold %d rows, Len says %d", rank, row, s.Len(rank))
			}
		}
	})
}

// Rows of a rank are in the order of their positions, in every layout: the kernels' causal tiles rely on it.
func TestRowsAscend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySharding(t)
		for rank := range s.Ranks() {
			for row := 1; row < s.Len(rank); row++ {
				if s.Position(rank, row-1) >= s.Position(rank, row) {
					t.Fatalf("rank %d: row %d is not behind row %d", rank, row, row-1)
				}
			}
		}
	})
}

func TestOwnerIsTheInverseOfPosition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := layoutOrTable(t)
		for position := range s.Tokens() {
			rank, row := s.Owner(position)
			if got := s.Position(rank, row); got != position {
				t.Fatalf("position %d is owned by rank %d row %d, which holds %d", position, rank, row, got)
			}
		}
	})
}

func TestGatherUndoesScatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := layoutOrTable(t)
		width := rapid.IntRange(0, 4).Draw(t, "width")
		global := make([]int, s.Tokens()*width)
		for i := range global {
			global[i] = i + 1
		}
		back := make([]int, len(global))
		for rank := range s.Ranks() {
			local := shard.Scatter(s, rank, global, width)
			for row := range s.Len(rank) {
				if width > 0 && local[row*width] != s.Position(rank, row)*width+1 {
					t.Fatalf("rank %d row %d begins with %d", rank, row, local[row*width])
				}
			}
			shard.Gather(s, rank, local, back, width)
		}
		if !slices.Equal(back, global) {
			t.Fatal("not what was scattered")
		}
	})
}

func TestLengthsAreEven(t *testing.T) {
	slack := map[shard.Layout]int{shard.Contiguous: 1, shard.Zigzag: 2, shard.Striped: 1, shard.Balanced: 1}
	rapid.Check(t, func(t *rapid.T) {
		s := anySharding(t)
		longest, shortest := 0, s.Tokens()
		for rank := range s.Ranks() {
			longest, shortest = max(longest, s.Len(rank)), min(shortest, s.Len(rank))
		}
		if longest-shortest > slack[s.Layout()] {
			t.Fatalf("shards of %d and of %d rows", shortest, longest)
		}
		if s.MaxLen() != longest {
			t.Fatalf("MaxLen is %d, the longest shard %d", s.MaxLen(), longest)
		}
	})
}

// area is the number of (query, key) pairs that a rank computes under a causal mask.
func area(s shard.Sharding, rank int) int {
	sum := 0
	for row := range s.Len(rank) {
		sum += s.Position(rank, row) + 1
	}
	return sum
}

func TestCausalWorkIsBalanced(t *testing.T) {
	for _, ranks := range []int{2, 3, 4, 7, 8} {
		tokens := 2 * ranks * 16
		ideal := tokens * (tokens + 1) / 2 / ranks
		for _, c := range []struct {
			layout    shard.Layout
			tolerance int // of the ideal, in permille
		}{{shard.Zigzag, 0}, {shard.Striped, 32}} {
			s, err := shard.New(c.layout, tokens, ranks)
			if err != nil {
				t.Fatal(err)
			}
			for rank := range ranks {
				if off := area(s, rank) - ideal; off*off > (ideal*c.tolerance/1000)*(ideal*c.tolerance/1000) {
					t.Errorf("%s: rank %d of %d computes %d pairs, ideal %d", c.layout, rank, ranks, area(s, rank), ideal)
				}
			}
		}
	}
}

// A block seen at forward step s was sent by the previous rank, which saw it at step s-1; backward is the mirror.
func TestSourcesFollowTheRing(t *testing.T) {
	for size := 1; size <= 8; size++ {
		for rank := range size {
			if shard.ForwardSource(rank, 0, size) != rank || shard.BackwardSource(rank, 0, size) != rank {
				t.Fatal("step 0 is not the own block")
			}
			for step := 1; step < size; step++ {
				previous, next := (rank+size-1)%size, (rank+1)%size
				if shard.ForwardSource(rank, step, size) != shard.ForwardSource(previous, step-1, size) {
					t.Errorf("forward rank %d step %d of %d", rank, step, size)
				}
				if shard.BackwardSource(rank, step, size) != shard.BackwardSource(next, step-1, size) {
					t.Errorf("backward rank %d step %d of %d", rank, step, size)
				}
			}
			if size > 1 && shard.BackwardSource(rank, 1, size) != shard.ForwardSource(rank, size-1, size) {
				t.Error("the first foreign block of backward is not the last of forward")
			}
		}
	}
}

func TestNewRefusesWhatItCannotDeal(t *testing.T) {
	for _, c := range []struct {
		layout        shard.Layout
		tokens, ranks int
		want          string
	}{
		{"spiral", 8, 2, `layout "spiral" is not known: use contiguous, zigzag, striped or balanced`},
		{shard.Zigzag, -1, 2, "-1 tokens"},
		{shard.Zigzag, 8, 0, "0 ranks"},
		{shard.Zigzag, 1 << 41, 2, "tokens"},
		{shard.Zigzag, 8, 1 << 21, "ranks"},
	} {
		if _, err := shard.New(c.layout, c.tokens, c.ranks); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got error %v, want %q", c, err, c.want)
		}
	}
	if s, err := shard.New("", 8, 2); err != nil || s.Layout() != shard.Contiguous {
		t.Errorf("the empty layout gave %q, %v", s.Layout(), err)
	}
	if _, err := shard.ParseLayout(""); err == nil {
		t.Error("ParseLayout took the empty name")
	}
	for _, l := range shard.Layouts() {
		if got, err := shard.ParseLayout(string(l)); got != l || err != nil {
			t.Errorf("ParseLayout(%q) = %q, %v", l, got, err)
		}
	}
}

func TestMistakesOfTheCallerPanicWithNumbers(t *testing.T) {
	s, err := shard.New(shard.Zigzag, 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]func(){
		"rank 3 of 3":      func() { s.Len(3) },
		"row 4":            func() { s.Position(0, 4) },
		"row -1":           func() { s.Position(0, -1) },
		"position 10 of":   func() { s.Owner(10) },
		"has 9 elements":   func() { shard.Scatter(s, 0, make([]int, 9), 1) },
		"the shard has 10": func() { shard.Gather(s, 0, make([]int, 10), make([]int, 10), 1) },
	} {
		func() {
			defer func() {
				if v, _ := recover().(string); !strings.Contains(v, want) {
					t.Errorf("panic %q, want %q", v, want)
				}
			}()
			f()
		}()
	}
}
