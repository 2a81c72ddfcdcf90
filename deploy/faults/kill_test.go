//go:build mpi

package faults

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// limit is how long a job may take to be gone after a fault that somebody notices at once.
const limit = 10 * time.Second

func TestAKilledProcessEndsAllRanks(t *testing.T) {
	for _, victim := range []struct {
		name string
		host int
		kind func(process) bool
	}{
		{"a rank", 3, isRank},
		{"rank 0", 1, isRank},
		{"a host's daemon", 3, isDaemon},
		{"mpirun", 1, isMpirun},
	} {
		t.Run(victim.name, func(t *testing.T) {
			r := newTraining(t, "max_steps=2000")
			j := r.lab.start(t, r.mpirun())
			j.inStep(r, 7)
			r.lab.the(t, victim.host, victim.kind).send(syscall.SIGKILL)
			status, took := j.ends(limit)
			if status == 0 {
				t.Error("status 0")
			}
			r.wholeCheckpoints(t)
			t.Logf("kill -9 of %s: all gone after %.1f s, status %d", victim.name, took.Seconds(), status)
		})
	}
}

func TestSupervisedRunAfterKillsHasTheBitsOfAnUndisturbedOne(t *testing.T) {
	r := newTraining(t)
	j := r.lab.start(t, r.supervised(hostCount))
	j.inStep(r, 8)
	r.lab.the(t, 3, isRank).send(syscall.SIGKILL)
	j.restarted(1)
	j.inStep(r, 18)
	r.lab.the(t, 2, isDaemon).send(syscall.SIGKILL)
	first := time.Now()
	j.restarted(2)
	j.inStep(r, 20)
	took := time.Since(first)
	if status, _ := j.ends(slow); status != 0 {
		t.Fatalf("status %d", status)
	}
	if r.outcome(t).weights != r.undisturbed(t).weights {
		t.Error("the weights differ from an undisturbed run's")
	}
	t.Logf("kill -9 of a rank, then of a daemon: 2 restarts, same bits; %.1f s from the second fault to the next step", took.Seconds())
}

// restarted waits for a restart of train supervise.
func (j *job) restarted(n int) {
	j.t.Helper()
	j.until("a restart", func() bool { return strings.Count(j.said(), "; restart ") >= n })
}
