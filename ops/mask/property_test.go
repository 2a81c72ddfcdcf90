package mask

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// specs draws masks over so many keys, whatever can be combined.
func specs(t *rapid.T, tokens int) (s Spec) {
	s.Causal = rapid.Bool().Draw(t, "causal")
	if rapid.Bool().Draw(t, "windowed") {
		side := rapid.IntRange(-1, tokens+1)
		s.Window = &Window{Left: side.Draw(t, "left"), Right: side.Draw(t, "right")}
	}
	if rapid.Bool().Draw(t, "packed") {
		s.CuSeqlens = append([]int{0}, rapid.SliceOfN(rapid.IntRange(0, tokens), 0, 6).Draw(t, "bounds")...)
		slices.Sort(s.CuSeqlens)
		s.CuSeqlens = append(s.CuSeqlens, tokens)
	}
	if rapid.Bool().Draw(t, "with rectangles") {
		s.Rectangles = []Rectangle{}
		for range rapid.IntRange(0, 6).Draw(t, "rectangles") {
			s.Rectangles = append(s.Rectangles, rectangles(t, tokens))
		}
	}
	return s
}

// rectangles draws one, which may be empty, or reach behind the sequence.
func rectangles(t *rapid.T, tokens int) Rectangle {
	bound := rapid.IntRange(0, tokens+2)
	q, k := []int{bound.Draw(t, "query"), bound.Draw(t, "query")}, []int{bound.Draw(t, "key"), bound.Draw(t, "key")}
	slices.Sort(q)
	slices.Sort(k)
	return Rectangle{QueryFrom: q[0], QueryTo: q[1], KeyFrom: k[0], KeyTo: k[1], Kind: rapid.SampledFrom(append(Kinds(), "")).Draw(t, "kind")}
}

// compiled draws a mask with its definition.
func compiled(t *rapid.T) (s Spec, m *Mask, tokens int) {
	tokens = rapid.IntRange(1, 24).Draw(t, "tokens")
	s = specs(t, tokens)
	m, err := New(s, tokens)
	if err != nil {
		t.Fatal(err)
	}
	return s, m, tokens
}

// seen are the keys of a query by definition.
func seen(s Spec, i, tokens int) (keys []int) {
	for j := range tokens {
		if s.Visible(i, j) {
			keys = append(keys, j)
		}
	}
	return keys
}

func TestIntervalsAreTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, m, tokens := compiled(t)
		start, stride := rapid.IntRange(0, tokens-1).Draw(t, "start"), rapid.IntRange(1, 3).Draw(t, "stride")
		var queries []int
		for i := start; i < tokens; i += stride {
			queries = append(queries, i)
		}
		if rapid.Bool().Draw(t, "zigzag") {
			queries = append(queries, queries...) // a second segment begins before the first ends
		}
		got := make([][]int, len(queries))
		if m == nil {
			for n := range got {
				got[n] = seen(Spec{}, 0, tokens)
			}
		}
		low, high := make([]int, len(queries)), make([]int, len(queries))
		for layer := range m.Layers() {
			m.Intervals(layer, queries, low, high)
			for n := range queries {
				for j := max(low[n], 0); j < min(high[n], tokens); j++ {
					got[n] = append(got[n], j)
				}
			}
		}
		for n, i := range queries {
			slices.Sort(got[n])
			got[n] = slices.Compact(got[n])
			if want := seen(s, i, tokens); !slices.Equal(got[n], want) {
				t.Fatalf("query %d sees %v, want %v", i, got[n], want)
			}
		}
	})
}

func TestNoPairIsInTwoLayers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, m, tokens := compiled(t)
		if m == nil || len(s.Rectangles) > 0 {
			return // rectangles may overlap
		}
		if n := m.Layers(); n != 1 {
			t.Fatalf("%d layers over %d tokens without rectangles", n, tokens)
		}
	})
}

func TestCountsAndAreasAreTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, m, tokens := compiled(t)
		from := rapid.IntRange(0, tokens-1).Draw(t, "from")
		n, keys := rapid.IntRange(0, tokens-from).Draw(t, "n"), rapid.IntRange(0, tokens).Draw(t, "keys")
		areas, sum := m.Areas(from, n, keys), int64(0)
		for i := range n {
			if areas[i] != sum {
				t.Fatalf("the queries [%d,%d) have area %d, want %d", from, from+i, areas[i], sum)
			}
			want := len(seen(s, from+i, keys))
			if got := m.Count(from+i, keys); got != want {
				t.Fatalf("query %d sees %d of %d keys, want %d", from+i, got, keys, want)
			}
			sum += int64(want)
		}
		if areas[n] != sum {
			t.Fatalf("the queries [%d,%d) have area %d, want %d", from, from+n, areas[n], sum)
		}
	})
}

func TestMeetIsTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, m, tokens := compiled(t)
		some := func(name string) Positions {
			p := Positions{Start: rapid.IntRange(0, tokens-1).Draw(t, name), Stride: rapid.IntRange(1, 7).Draw(t, name)}
			p.Count = rapid.IntRange(0, (tokens-p.Start+p.Stride-1)/p.Stride).Draw(t, name)
			return p
		}
		queries, keys := some("queries"), some("keys")
		want := false
		for i := range queries.Count {
			for j := range keys.Count {
				want = want || s.Visible(queries.Start+i*queries.Stride, keys.Start+j*keys.Stride)
			}
		}
		if got := m.Meet(queries, keys); got != want {
			t.Fatalf("queries %+v meet keys %+v: %t, want %t", queries, keys, got, want)
		}
	})
}
