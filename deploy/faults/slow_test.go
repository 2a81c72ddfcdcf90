//go:build mpi

package faults

import (
	"testing"
	"time"
)

func TestASlowHostSlowsTheRunDownAndChangesNothingElse(t *testing.T) {
	fast := newTraining(t, "max_steps=3")
	fast.lab.must(t, 0, fast.mpirun())
	r := newTraining(t, "max_steps=3")
	if _, err := r.lab.script("netns/rate", host(3), "100mbit", "50ms"); err != nil {
		t.Fatal(err)
	}
	defer r.lab.do(t, "netns/rate", host(3), "none")
	r.lab.must(t, 0, r.mpirun())
	if r.outcome(t).weights != r.undisturbed(t).weights {
		t.Error("the weights differ from an undisturbed run's")
	}
	before, after := fast.perStep(t), r.perStep(t)
	if after < 2*before {
		t.Errorf("a step takes %v, and %v with a slow host", before, after)
	}
	t.Logf("a host behind 100 Mbit/s and 50 ms: no error, same bits, %.2f s a step instead of %.2f s", after.Seconds(), before.Seconds())
}

// perStep is what the last step took.
func (r training) perStep(t *testing.T) time.Duration {
	list := r.lines(t)
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Loss != nil {
			return time.Duration(list[i].Seconds * float64(time.Second))
		}
	}
	t.Fatal("no steps")
	return 0
}
