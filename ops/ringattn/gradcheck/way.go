package gradcheck

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// Way is how blocks go through a ring; the zero value is keys and values in a single ring.
type Way struct {
	Travel    ring.Travel `json:"travel,omitempty"`
	Ulysses   int         `json:"ulysses,omitempty"`    // ranks of a Ulysses group; 0 and 1 are none
	InnerRing int         `json:"inner_ring,omitempty"` // ranks of an inner ring; 0 and 1 are a single ring
}

// Ways are all combinations of what is given; an empty list stands for the zero value.
func Ways(travels []ring.Travel, ulysses, innerRings []int) (all []Way) {
	for _, t := range orZero(travels) {
		for _, u := range orZero(ulysses) {
			for _, i := range orZero(innerRings) {
				all = append(all, Way{t, u, i})
			}
		}
	}
	return all
}

func orZero[T any](list []T) []T {
	if len(list) == 0 {
		return make([]T, 1)
	}
	return list
}

// String names what differs from the zero value.
func (w Way) String() string {
	var parts []string
	if w.Travel != "" {
		parts = append(parts, string(w.Travel))
	}
	if w.Ulysses > 1 {
		parts = append(parts, fmt.Sprintf("ulysses %d", w.Ulysses))
	}
	if w.InnerRing > 1 {
		parts = append(parts, fmt.Sprintf("inner ring %d", w.InnerRing))
	}
	return strings.Join(parts, " ")
}

// single reports whether the way suits every ring and every number of heads.
func (w Way) single() bool { return w.Ulysses <= 1 && w.InnerRing <= 1 }

// fits reports whether the way divides a ring and the heads of a problem.
func (w Way) fits(size int, in ringattn.DenseInputs) bool {
	u, i := max(w.Ulysses, 1), max(w.InnerRing, 1)
	return size%(u*i) == 0 && in.Heads%u == 0 && in.KVHeads%u == 0
}

func (w Way) validate() error {
	var errs []error
	if w.Travel != "" && !slices.Contains(ring.Travels(), w.Travel) {
		errs = append(errs, fmt.Errorf("gradcheck: travel %q: give kv, q or auto", w.Travel))
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"Ulysses groups", w.Ulysses}, {"inner rings", w.InnerRing}} {
		if n.value < 0 || n.value > ringattn.MaxDevices {
			errs = append(errs, fmt.Errorf("gradcheck: %s of %d ranks: give 1 to %d", n.name, n.value, ringattn.MaxDevices))
		}
	}
	return errors.Join(errs...)
}
