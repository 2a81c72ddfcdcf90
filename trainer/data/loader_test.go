package data

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// numbered returns a split of n sequences of two tokens, the first being the sequence's number.
func numbered(n int) *Split {
	s := &Split{}
	for i := range n {
		s.sequences = append(s.sequences, Sequence{IDs: []int32{int32(i), 1000}, Next: Ignored})
	}
	return s
}

// numbers reads batches and returns the numbers of their sequences.
func numbers(t testing.TB, l *Loader, batches int) []int32 {
	t.Helper()
	var out []int32
	for range batches {
		b, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		for row := range b.B {
			out = append(out, b.IDs[row*b.T])
		}
	}
	return out
}

func TestEveryEpochTakesEverySequenceOnceInANewOrder(t *testing.T) {
	l := NewLoader(numbered(7), LoaderOptions{MicroBatch: 3, Seed: 11, Shuffle: true})
	all := numbers(t, l, 7) // 21 sequences: three epochs, batches across their ends
	for epoch := range 3 {
		part := slices.Clone(all[7*epoch : 7*epoch+7])
		slices.Sort(part)
		if fmt.Sprint(part) != "[0 1 2 3 4 5 6]" {
			t.Errorf("epoch %d takes %v", epoch, all[7*epoch:7*epoch+7])
		}
	}
	if slices.Equal(all[:7], all[7:14]) {
		t.Errorf("epochs have the same order: %v", all)
	}
	if got := l.State(); got != (Cursor{Epoch: 2, Index: 7, Sequences: 7}) {
		t.Errorf("cursor %+v", got)
	}
	plain := NewLoader(numbered(3), LoaderOptions{})
	if got := fmt.Sprint(numbers(t, plain, 5)); got != "[0 1 2 0 1]" {
		t.Errorf("without shuffling: %s", got)
	}
}

func TestRestoredLoaderGoesOnExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "sequences")
		o := LoaderOptions{MicroBatch: rapid.IntRange(1, 5).Draw(t, "micro batch"), Seed: rapid.Int64().Draw(t, "seed"), Shuffle: rapid.Bool().Draw(t, "shuffle"), PackLength: rapid.SampledFrom([]int{0, 2, 3, 7, 40}).Draw(t, "pack length")}
		l := NewLoader(numbered(n), o)
		read := func(l *Loader) (out []int32) {
			for range 4 {
				b, err := l.Next()
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, b.IDs...)
			}
			return out
		}
		for range rapid.IntRange(0, 6).Draw(t, "batches before") {
			read(l)
		}
		saved := l.State()
		other := NewLoader(numbered(n), o)
		if err := other.Restore(saved); err != nil {
			t.Fatal(err)
		}
		if a, b := read(l), read(other); !slices.Equal(a, b) {
			t.Fatalf("went on with %v, restored with %v", a, b)
		}
	})
}

func TestShorterSequencesArePaddedWithoutTargets(t *testing.T) {
	s := &Split{sequences: []Sequence{{IDs: []int32{5, 6, 7}, Next: 8}, {IDs: []int32{9, 10}, Next: Ignored}}}
	b, err := NewLoader(s, LoaderOptions{MicroBatch: 2}).Next()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(b), "{[5 6 7 9 10 0] [6 7 8 10 -100 -100] 2 3 []}"; got != want {
		t.Errorf("batch %s, want %s", got, want)
	}
}

func TestCursorsThatDoNotFitAreRefused(t *testing.T) {
	l := NewLoader(numbered(4), LoaderOptions{MicroBatch: 1})
	for want, c := range map[string]Cursor{
		"written with 5 sequences": {Index: 1, Sequences: 5},
		"outside the data":         {Index: 5},
		"epoch -1":                 {Epoch: -1},
	} {
		if err := l.Restore(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one with %q", c, err, want)
		}
	}
	if err := l.Restore(Cursor{}); err != nil {
		t.Error(err)
	}
	if _, err := NewLoader(&Split{}, LoaderOptions{}).Next(); err == nil {
		t.Error("a batch of nothing")
	}
	if _, err := NewLoader(numbered(4), LoaderOptions{MicroBatch: -2}).Next(); err == nil {
		t.Error("a batch of -2 sequences")
	}
}
