//go:build mpi

package faults

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// The other ring has other sums, which agree to rounding.
func TestACutLinkIsNoticedAndTheOtherHostsGoOn(t *testing.T) {
	r := newTraining(t)
	command := r.command("--set", "resume_from_checkpoint=auto", "--set", "context_parallel_size={hosts}")
	j := r.lab.start(t, r.supervised(2, command...))
	j.inStep(r, 8)
	r.lab.do(t, "netns/cut", host(3))
	from := time.Now()
	j.restarted(1)
	noticed := time.Since(from)
	r.lab.gonefrom(t, 3, max(limit-noticed, 0))
	j.inStep(r, r.lastStep(t)+1)
	resumed := time.Since(from)
	status, _ := j.ends(slow)
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	if noticed > limit {
		t.Errorf("noticed after %v, want %v at most", noticed, limit)
	}
	if !strings.Contains(j.said(), fmt.Sprintf("on 3 hosts: %s %s %s", host(1), host(2), host(4))) {
		t.Error("it did not go on with the other three hosts")
	}
	off := apart(t, r.outcome(t), r.undisturbed(t))
	if off > 1e-4 {
		t.Errorf("losses are up to %.1e apart from those of four ranks", off)
	}
	t.Logf("link cut: noticed after %.1f s, next step of the ring of three after %.1f s; losses at most %.1e apart", noticed.Seconds(), resumed.Seconds(), off)
}

// gonefrom waits until a host has no ranks.
func (l *laboratory) gonefrom(t *testing.T, host int, limit time.Duration) {
	t.Helper()
	onIt := func(p process) bool { return p.host == host }
	for end := time.Now().Add(limit); len(l.processes(onIt)) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("on the cut host there are still %v", l.processes(onIt))
			return
		}
	}
}

// apart is the largest relative difference of two runs' losses.
func apart(t *testing.T, a, b outcome) float64 {
	t.Helper()
	if len(a.losses) != len(b.losses) {
		t.Errorf("%d steps and %d", len(a.losses), len(b.losses))
	}
	most := 0.0
	for step, loss := range a.losses {
		most = max(most, math.Abs(loss-b.losses[step])/b.losses[step])
	}
	return most
}
