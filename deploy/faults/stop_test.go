//go:build mpi

package faults

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A stopped process keeps its connections: only the watchdog notices.
func TestTheWatchdogNamesAStoppedRankOnce(t *testing.T) {
	const watchdog = 4 * time.Second
	for rank := range 2 {
		t.Run(fmt.Sprintf("rank %d", 2*rank), func(t *testing.T) {
			rank := 2 * rank
			r := newTraining(t, "max_steps=2000", "ring_timeout="+watchdog.String())
			j := r.lab.start(t, r.mpirun())
			j.inStep(r, 7)
			r.lab.the(t, rank+1, isRank).send(syscall.SIGSTOP)
			struck := time.Now()
			j.until("the watchdog", func() bool { return strings.Contains(j.said(), "train: ") })
			told := time.Since(struck)
			status, took := j.ends(limit)
			if told > watchdog+limit/2 {
				t.Errorf("told after %v, the limit is %v", told, watchdog)
			}
			if status == 0 {
				t.Error("status 0")
			}
			place := fmt.Sprintf("rank %d is on %s", rank, host(rank+1))
			if n := strings.Count(j.said(), place); n != 1 {
				t.Errorf("%q is said %d times, want once", place, n)
			}
			if n := strings.Count(j.said(), "train: "); n != 1 {
				t.Errorf("%d errors are told, want the first cause alone", n)
			}
			t.Logf("SIGSTOP of rank %d, watchdog %v: told after %.1f s, all gone %.1f s later, status %d", rank, watchdog, told.Seconds(), took.Seconds(), status)
		})
	}
}
