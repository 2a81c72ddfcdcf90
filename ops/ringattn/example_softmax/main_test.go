package main

import (
	"math"
	"testing"
)

func TestOneChangedLineChangesNoNumber(t *testing.T) {
	before, err := train(plain)
	if err != nil {
		t.Fatal(err)
	}
	after, err := train(ring)
	if err != nil {
		t.Fatal(err)
	}
	if d := math.Abs(before.loss - after.loss); d > 1e-12*before.loss {
		t.Errorf("losses %v and %v", before.loss, after.loss)
	}
	for i, g := range before.grads {
		if d := difference(g, after.grads[i]); !(d <= 1e-12) {
			t.Errorf("gradients of weight %d differ by %g", i, d)
		}
	}
}
