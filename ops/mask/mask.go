// Package mask says which keys a query sees: causal order, sliding windows, packed documents and general rectangles of queries by keys,
// freely combined. Positions are global, so a mask means the same on every rank, in every layout and whatever the ring's size.
//
//	documents, causal        window of 2, causal      a question that two answers share
//	    keys                     keys                     keys
//	  █ . . . . .              █ . . . . .              █ . . . . .
//	  █ █ . . . .              █ █ . . . .              █ █ . . . .
//	  . . █ . . .              █ █ █ . . .              █ █ █ . . .
//	  . . █ █ . .              . █ █ █ . .              █ █ █ █ . .
//	  . . █ █ █ .              . . █ █ █ .              █ █ . . █ .
//	  . . █ █ █ █              . . . █ █ █              █ █ . . █ █
//
// Spec is the definition, pair by pair; New compiles it into a Mask, which gives each query the few intervals of keys that it sees.
package mask

import (
	"fmt"
	"slices"
	"strings"
)

// Window bounds how far a query sees: Left keys before its own position and Right keys behind; -1 is unbounded.
type Window struct{ Left, Right int }

// Unbounded is the side of a Window that has no bound.
const Unbounded = -1

// Kind says which pairs of a Rectangle see each other.
type Kind string

// The kinds of rectangles. The diagonals need not be the sequence's: causal is aligned with the rectangle's last query and key,
// inverse causal with its first (as the mask types of MagiAttention are).
const (
	Full          Kind = "full"           // all
	Causal        Kind = "causal"         // the last query sees all keys, each query before it one less at the end
	InverseCausal Kind = "inverse_causal" // the first query sees all keys, each query behind it one less at the beginning
	Bidirectional Kind = "bidirectional"  // both at once: a band between the two diagonals
)

// Kinds lists all kinds.
func Kinds() []Kind { return []Kind{Full, Causal, InverseCausal, Bidirectional} }

// Rectangle is the queries at positions [QueryFrom, QueryTo) by the keys at positions [KeyFrom, KeyTo); an empty Kind is Full.
type Rectangle struct {
	QueryFrom, QueryTo, KeyFrom, KeyTo int
	Kind                               Kind
}

// Visible reports whether the query at position i sees the key at position j by this rectangle.
func (r Rectangle) Visible(i, j int) bool {
	if i < r.QueryFrom || i >= r.QueryTo || j < r.KeyFrom || j >= r.KeyTo {
		return false
	}
	if (r.Kind == Causal || r.Kind == Bidirectional) && j-i > r.KeyTo-r.QueryTo {
		return false
	}
	return r.Kind != InverseCausal && r.Kind != Bidirectional || j-i >= r.KeyFrom-r.QueryFrom
}

// Spec defines a mask; the zero value lets every query see every key. A pair must be allowed by all that is set.
type Spec struct {
	// Causal lets the query at position i see the keys at positions up to i.
	Causal bool
	// Window, if set, bounds the distance between a query and the keys it sees.
	Window *Window
	// CuSeqlens, if set, are the bounds of packed documents, which do not see each other: 0, the end of the first, ..., T. Two
	// equal bounds are an empty document.
	CuSeqlens []int
	// Rectangles, if set, are all that is visible: a pair must be in one of them, and may be in several.
	Rectangles []Rectangle
}

// Visible reports whether the query at position i sees the key at position j: the definition that everything else is tested against.
func (s Spec) Visible(i, j int) bool {
	if s.Causal && j > i {
		return false
	}
	if w := s.Window; w != nil && (w.Left >= 0 && i-j > w.Left || w.Right >= 0 && j-i > w.Right) {
		return false
	}
	if s.CuSeqlens != nil && !s.sameDocument(i, j) {
		return false
	}
	return s.Rectangles == nil || slices.ContainsFunc(s.Rectangles, func(r Rectangle) bool { return r.Visible(i, j) })
}

func (s Spec) sameDocument(i, j int) bool {
	for d := 1; d < len(s.CuSeqlens); d++ {
		from, to := s.CuSeqlens[d-1], s.CuSeqlens[d]
		if from <= i && i < to {
			return from <= j && j < to
		}
	}
	return false
}

// Validate reports the first thing that is wrong for a sequence of so many keys.
func (s Spec) Validate(tokens int) error {
	if w := s.Window; w != nil {
		for _, side := range []struct {
			name  string
			value int
		}{{"left", w.Left}, {"right", w.Right}} {
			if side.value < Unbounded {
				return fmt.Errorf("mask: window %s is %d: give the number of keys, or -1 for no bound", side.name, side.value)
			}
		}
	}
	if err := s.validateDocuments(tokens); err != nil {
		return err
	}
	for n, r := range s.Rectangles {
		if err := r.validate(); err != nil {
			return fmt.Errorf("mask: rectangle %d: %w", n, err)
		}
	}
	return nil
}

func (s Spec) validateDocuments(tokens int) error {
	cu := s.CuSeqlens
	if cu == nil {
		return nil
	}
	if len(cu) == 0 || cu[0] != 0 {
		return fmt.Errorf("mask: cu_seqlens %s does not begin with 0", brief(cu))
	}
	for d := 1; d < len(cu); d++ {
		if cu[d] < cu[d-1] {
			return fmt.Errorf("mask: cu_seqlens %s is not sorted: %d comes behind %d", brief(cu), cu[d], cu[d-1])
		}
	}
	if end := cu[len(cu)-1]; end != tokens {
		return fmt.Errorf("mask: cu_seqlens %s ends at %d, the sequence has %d tokens", brief(cu), end, tokens)
	}
	return nil
}

func (r Rectangle) validate() error {
	if r.Kind != "" && !slices.Contains(Kinds(), r.Kind) {
		return fmt.Errorf("kind %q is not known: give %s", r.Kind, kindNames())
	}
	if r.QueryFrom < 0 || r.KeyFrom < 0 || r.QueryTo < r.QueryFrom || r.KeyTo < r.KeyFrom {
		return fmt.Errorf("queries [%d,%d) by keys [%d,%d): give ranges from 0 on that do not end before they begin",
			r.QueryFrom, r.QueryTo, r.KeyFrom, r.KeyTo)
	}
	return nil
}

func kindNames() string {
	var names []string
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// brief shows a list without flooding an error.
func brief(cu []int) string {
	const most = 8
	if len(cu) <= most {
		return fmt.Sprint(cu)
	}
	return fmt.Sprintf("%s ... %d]", strings.TrimSuffix(fmt.Sprint(cu[:most]), "]"), cu[len(cu)-1])
}
