package data

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestPacksHoldEverythingOnceAndNotTooMuch for any lengths, and of two neighbours at least one is more than half full.
func TestPacksHoldEverythingOnceAndNotTooMuch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.IntRange(2, 30).Draw(t, "length")
		lengths := rapid.SliceOfN(rapid.IntRange(1, length), 0, 400).Draw(t, "lengths")
		packs := Packs(lengths, length)
		var all []int
		total := 0
		for _, pack := range packs {
			n := 0
			for _, i := range pack {
				n += lengths[i]
			}
			if n > length || !slices.IsSorted(pack) {
				t.Fatalf("pack %v has %d tokens of at most %d", pack, n, length)
			}
			all, total = append(all, pack...), total+n
		}
		slices.Sort(all)
		for i := range lengths {
			if len(all) != len(lengths) || all[i] != i {
				t.Fatalf("packs hold %v, want each of %d once", all, len(lengths))
			}
		}
		// First fit leaves at most one pack in a window half empty.
		if windows := total/(packWindow*length) + 1; len(packs) > 2*total/length+windows+1 {
			t.Fatalf("%d packs for %d tokens", len(packs), total)
		}
	})
}

// TestPacksByHand: 6 and 4, 5 and 4 and 1 fit in 10; first-fit decreasing finds that, and the packs come by their first things.
func TestPacksByHand(t *testing.T) {
	if got, want := fmt.Sprint(Packs([]int{4, 1, 6, 5, 4, 12}, 10)), "[[0 2] [1 3 4] [5]]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestPacksAreMadeInWindows, so that things do not get far from their place: 128 packs of 2 are a window of 256 things.
func TestPacksAreMadeInWindows(t *testing.T) {
	lengths := slices.Repeat([]int{1}, 600)
	for _, pack := range Packs(lengths, 2) {
		if pack[0]/256 != pack[len(pack)-1]/256 {
			t.Errorf("%v are of two windows", pack)
		}
	}
}

// sized is a split of sequences of the given lengths, all of the number of the sequence.
func sized(lengths ...int) *Split {
	s := &Split{}
	for i, n := range lengths {
		s.sequences = append(s.sequences, Sequence{IDs: slices.Repeat([]int32{int32(i + 1)}, n), Next: Ignored})
	}
	return s
}

// TestABatchOfPacksIsOneSequenceOfDocuments, whose last tokens predict nothing; padding is a document of its own.
func TestABatchOfPacksIsOneSequenceOfDocuments(t *testing.T) {
	l := NewLoader(sized(3, 4, 2, 1), LoaderOptions{PackLength: 6, MicroBatch: 2})
	b, err := l.Next()
	if err != nil {
		t.Fatal(err)
	}
	// Packs of 3 and 1, and of 4 and 2, and 2 tokens of padding.
	if got, want := fmt.Sprint(b), "{[1 1 1 4 2 2 2 2 3 3 0 0] [1 1 -100 -100 2 2 2 -100 3 -100 -100 -100] 1 12 [0 3 4 8 10 12]}"; got != want {
		t.Errorf("batch %s, want %s", got, want)
	}
	if got, want := l.State(), (Cursor{Index: 2, Sequences: 4, Packs: 2}); got != want {
		t.Errorf("cursor %+v, want %+v", got, want)
	}
	if b, err = NewLoader(sized(9, 2), LoaderOptions{PackLength: 11}).Next(); err != nil || fmt.Sprint(b.T, b.Documents) != "11 [0 9 11]" {
		t.Errorf("%+v, %v: want no padding", b, err)
	}
}

// TestEveryEpochPacksEverySequenceInANewOrder, and Rows knows the number of packs before.
func TestEveryEpochPacksEverySequenceInANewOrder(t *testing.T) {
	lengths := []int{5, 3, 4, 2, 6, 1, 3, 5}
	l := NewLoader(sized(lengths...), LoaderOptions{PackLength: 7, Shuffle: true, Seed: 3})
	var before []int32
	for epoch := range 3 {
		var ids []int32
		for range l.Rows(epoch) {
			b, err := l.Next()
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, b.IDs[:b.T]...)
		}
		if l.State().Epoch != epoch || slices.Equal(ids, before) {
			t.Errorf("epoch %d ends at %+v with %v", epoch, l.State(), ids)
		}
		before = slices.Clone(ids)
		for i, n := range lengths {
			count := 0
			for _, id := range ids {
				if id == int32(i+1) {
					count++
				}
			}
			if count != n {
				t.Errorf("epoch %d has %d tokens of sequence %d, want %d", epoch, count, i, n)
			}
		}
	}
}

func TestACursorOfOtherPacksIsRefused(t *testing.T) {
	l := NewLoader(sized(3, 3, 3, 3), LoaderOptions{PackLength: 6})
	for _, c := range []Cursor{{Index: 1, Packs: 3}, {Index: 3}} {
		if err := l.Restore(c); err == nil || !strings.Contains(err.Error(), "now there are 2") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestPackingNeedsALengthAndNoConcatenation(t *testing.T) {
	for want, o := range map[string]Options{
		"sample_packing needs sequence_len":           {Pack: true},
		"sample_packing and concatenate are both set": {Pack: true, Concatenate: true, SequenceLen: 8},
	} {
		o.Tokenizer, o.Sources = byteTokenizer{}, []Source{{Path: "nowhere"}}
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
