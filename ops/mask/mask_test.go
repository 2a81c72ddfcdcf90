package mask_test

import (
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/mask"
	"pgregory.net/rapid"
)

// anySpec draws a mask over so many tokens, and whether it is one of several layers.
func anySpec(t *rapid.T, tokens int) mask.Spec {
	s := mask.Spec{Causal: rapid.Bool().Draw(t, "causal")}
	if rapid.Bool().Draw(t, "has window") {
		side := rapid.IntRange(-1, tokens)
		s.Window = &mask.Window{Left: side.Draw(t, "left"), Right: side.Draw(t, "right")}
	}
	if rapid.Bool().Draw(t, "has documents") {
		s.CuSeqlens = []int{0}
		for s.CuSeqlens[len(s.CuSeqlens)-1] < tokens {
			from := s.CuSeqlens[len(s.CuSeqlens)-1]
			s.CuSeqlens = append(s.CuSeqlens, from+rapid.IntRange(0, tokens-from).Draw(t, "document"))
		}
	}
	if rapid.Bool().Draw(t, "has rectangles") {
		s.Rectangles = []mask.Rectangle{}
		for range rapid.IntRange(0, 5).Draw(t, "rectangles") {
			pair := func(name string) (int, int) {
				a, b := rapid.IntRange(0, tokens+2).Draw(t, name), rapid.IntRange(0, tokens+2).Draw(t, name)
				return min(a, b), max(a, b)
			}
			r := mask.Rectangle{Kind: rapid.SampledFrom(append(mask.Kinds(), "")).Draw(t, "kind")}
			r.QueryFrom, r.QueryTo = pair("queries")
			r.KeyFrom, r.KeyTo = pair("keys")
			s.Rectangles = append(s.Rectangles, r)
		}
	}
	return s
}

func TestCompiledMasksAreTheirSpecs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.IntRange(1, 24).Draw(t, "tokens")
		s := anySpec(t, tokens)
		m, err := mask.New(s, tokens)
		if err != nil {
			t.Fatal(err)
		}
		queries := rapid.SliceOfN(rapid.IntRange(0, tokens+3), 1, 12).Draw(t, "queries")
		seen := make([]map[int]bool, len(queries))
		for n := range seen {
			seen[n] = map[int]bool{}
		}
		low, high := make([]int, len(queries)), make([]int, len(queries))
		for layer := range m.Layers() {
			m.Intervals(layer, queries, low, high)
			for n := range queries {
				for j := max(low[n], 0); j < min(high[n], tokens); j++ {
					seen[n][j] = true
				}
			}
		}
		for n, i := range queries {
			visible := 0
			for j := range tokens {
				want := s.Visible(i, j)
				if m != nil && seen[n][j] != want {
					t.Fatalf("query %d and key %d: visible %t, in an interval %t", i, j, want, seen[n][j])
				}
				if want {
					visible++
				}
			}
			if got := m.Count(i, tokens); got != visible {
				t.Fatalf("query %d sees %d keys, counted %d", i, visible, got)
			}
		}
		areas := m.Areas(0, tokens, tokens)
		for i := range tokens {
			if areas[i+1]-areas[i] != int64(m.Count(i, tokens)) {
				t.Fatalf("areas %v do not grow by what query %d sees", areas, i)
			}
		}
	})
}

func TestMeetIsSomePairThatIsVisible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tokens := rapid.IntRange(1, 30).Draw(t, "tokens")
		s := anySpec(t, tokens)
		m, err := mask.New(s, tokens)
		if err != nil {
			t.Fatal(err)
		}
		some := func(name string) mask.Positions {
			return mask.Positions{
				Start: rapid.IntRange(0, tokens-1).Draw(t, name), Stride: rapid.IntRange(1, 7).Draw(t, name), Count: rapid.IntRange(0, 6).Draw(t, name),
			}
		}
		queries, keys := some("queries"), some("keys")
		want := false
		for i := range queries.Count {
			for j := range keys.Count {
				want = want || s.Visible(queries.Start+i*queries.Stride, keys.Start+j*keys.Stride)
			}
		}
		if got := m.Meet(queries, keys); got != want {
			// keys behind the sequence are hidden by documents only
			t.Fatalf("%+v of %d tokens: queries %+v meet keys %+v: %t, want %t", s, tokens, queries, keys, got, want)
		}
	})
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	for want, s := range map[string]mask.Spec{
		"window left is -2":                          {Window: &mask.Window{Left: -2}},
		"window right is -7":                         {Window: &mask.Window{Right: -7}},
		"cu_seqlens [1 10] does not begin with 0":    {CuSeqlens: []int{1, 10}},
		"cu_seqlens [] does not begin with 0":        {CuSeqlens: []int{}},
		"[0 7 5 10] is not sorted: 5 comes behind 7": {CuSeqlens: []int{0, 7, 5, 10}},
		"ends at 9, the sequence has 10 tokens":      {CuSeqlens: []int{0, 9}},
		`rectangle 1: kind "triangle" is not known`:  {Rectangles: []mask.Rectangle{{}, {Kind: "triangle"}}},
		"rectangle 0: queries [5,3)":                 {Rectangles: []mask.Rectangle{{QueryFrom: 5, QueryTo: 3}}},
	} {
		if _, err := mask.New(s, 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v gives %v, want %q in it", s, err, want)
		}
	}
}
