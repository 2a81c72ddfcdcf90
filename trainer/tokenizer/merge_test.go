package tokenizer

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// mergeByHand is the definition: of all pairs the one of lowest rank, of those the leftmost, until none is left.
func mergeByHand(table *pairTable, symbols []int32) []int32 {
	out := slices.Clone(symbols)
	for {
		best, at := uint64(noPair), -1
		for i := 1; i < len(out); i++ {
			if v := table.get(out[i-1], out[i]); v < best {
				best, at = v, i
			}
		}
		if at < 0 {
			return out
		}
		out = slices.Replace(out, at-1, at+1, int32(uint32(best)))
	}
}

// randomMerges builds tokens out of a few symbols as training does: each merge joins two tokens that exist.
func randomMerges(t *rapid.T) pairTable {
	n := rapid.IntRange(0, 60).Draw(t, "merges")
	table := newPairTable(n)
	for rank := range n {
		left := rapid.Int32Range(0, int32(3+rank)).Draw(t, "left")
		right := rapid.Int32Range(0, int32(3+rank)).Draw(t, "right")
		if table.get(left, right) == noPair {
			table.put(left, right, uint64(rank)<<32|uint64(4+rank))
		}
	}
	return table
}

func TestHeapAndScanMergeAsTheDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table := randomMerges(t)
		symbols := rapid.SliceOfN(rapid.Int32Range(0, 3), 1, 120).Draw(t, "symbols")
		want := mergeByHand(&table, symbols)
		var g merger
		if got := g.mergeShort(&table, slices.Clone(symbols)); !slices.Equal(got, want) {
			t.Fatalf("scan: %v, want %v", got, want)
		}
		if got := g.mergeLong(&table, slices.Clone(symbols)); !slices.Equal(got, want) {
			t.Fatalf("heap: %v, want %v", got, want)
		}
	})
}

func TestPairTableHoldsWhatWasPut(t *testing.T) {
	table := newPairTable(1000)
	for i := range int32(1000) {
		table.put(i, 7*i, uint64(i))
	}
	for i := range int32(1000) {
		if table.get(i, 7*i) != uint64(i) || table.get(i, 7*i+1) != noPair {
			t.Fatalf("pair %d: %d and %d", i, table.get(i, 7*i), table.get(i, 7*i+1))
		}
	}
}

// TestCuttingAWordChangesNothing compares the cut at pairs that no merge joins, and the cache, with merging the text as
// the one word that it is.
func TestCuttingAWordChangesNothing(t *testing.T) {
	tok := load(t, "testdata/sentencepiece")
	whole := *tok.model
	whole.joins = nil
	rapid.Check(t, func(t *rapid.T) {
		parts := []string{"▁", "▁", "the", "and", "hath", "King", "wherefore", "x", "é", "日", "aaaaaaaaaaaaaaaa", "<0x41>", ",", "\n"}
		s := "▁" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 60).Draw(t, "parts"), "")
		cut, err := newEncoder(tok.model).appendWord(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		want, err := newEncoder(&whole).appendWord(nil, s)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(cut, want) {
			t.Fatalf("%q: %v, want %v", s, cut, want)
		}
	})
}
