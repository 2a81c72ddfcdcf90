//go:build mpi

package faults

import (
	"encoding/json"
	"os/exec"
	"slices"
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
	said := r.estimated(t, "50ms")
	if ratio := after.Seconds() / said; ratio < 0.75 || ratio > 1.5 { // more on a busy machine
		t.Errorf("a step takes %v, and train estimate says %.2f s", after, said)
	}
	t.Logf("a host behind 100 Mbit/s and 50 ms: no error, same bits, %.2f s a step instead of %.2f s; train estimate says %.2f s",
		after.Seconds(), before.Seconds(), said)
}

// perStep is what the last step took.
func (r training) perStep(t *testing.T) time.Duration {
	for _, l := range slices.Backward(r.lines(t)) {
		if l.Loss != nil {
			return time.Duration(l.Seconds * float64(time.Second))
		}
	}
	t.Fatal("no steps")
	return 0
}

// estimated is what train estimate says of a step, in seconds, with a latency.
func (r training) estimated(t *testing.T, latency string) float64 {
	t.Helper()
	args := []string{"estimate", "--json", "--config", r.config, "--hosts", "4", "--link", "100Mbit/s", "--latency", latency, "--cores", "0.5"}
	text, err := exec.Command(r.lab.train, args...).Output()
	if err != nil {
		t.Fatalf("train estimate: %v", err)
	}
	var said struct {
		Seconds float64 `json:"seconds_per_step"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		t.Fatalf("train estimate: %v: %s", err, text)
	}
	return said.Seconds
}
