//go:build unix

package main

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/hosts"
	"github.com/ringgrad/ringgrad/dist/mpi"
)

// The first process tells an error, or the second one where all wait for the first.
func TestOneProcessOfAJobTellsAnError(t *testing.T) {
	late := func(rank, process int) error {
		return fmt.Errorf("step 3: %w", &hosts.Located{Err: &dist.Late{Rank: rank}, Rank: rank, Process: process})
	}
	for _, c := range []struct {
		err     error
		speaker int
	}{
		{errors.New("loss is NaN"), 0},
		{late(5, 2), 0},
		{late(1, 0), 1},
		{&dist.Late{Rank: 0}, 1},
	} {
		for rank := range 3 {
			j := &job{launch: mpi.Launch{Rank: rank, Size: 3}}
			began := time.Now()
			told := make(chan bool)
			go func() { told <- j.tells(c.err) }()
			if rank != c.speaker {
				time.Sleep(50 * time.Millisecond)
				_ = syscall.Kill(syscall.Getpid(), syscall.SIGTERM) // as the launcher ends those that still wait
			}
			if got := <-told; got != (rank == c.speaker) || time.Since(began) > patient/2 {
				t.Errorf("%v: process %d tells: %v after %v", c.err, rank, got, time.Since(began))
			}
		}
	}
	woken := &job{launch: mpi.Launch{Rank: 0, Size: 3}}
	woken.asked.Store(true)
	time.AfterFunc(50*time.Millisecond, func() { _ = syscall.Kill(syscall.Getpid(), syscall.SIGTERM) })
	if woken.tells(late(1, 1)) {
		t.Error("a process that was stopped, woken and asked to end tells what it missed")
	}
	if !(*job)(nil).tells(errors.New("loss is NaN")) {
		t.Error("a process on its own is silent")
	}
}
