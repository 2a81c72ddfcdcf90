//go:build mpi && cgo

package mpi

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Variables of the tests that start jobs of their own: the launcher with its options, and what the processes of such a job do.
const (
	launcherVariable = "RINGGRAD_MPIRUN"
	actVariable      = "RINGGRAD_MPI_ACT"
)

// acts are ends of a process that must end the job.
var acts = map[string]func(){
	"abort": func() {
		if job.Rank() == 1 {
			job.Abort(7)
		}
		_, _ = job.World(1) // for which rank 1 never comes
	},
	"abort while closing": func() {
		if job.Rank() == 1 {
			time.AfterFunc(200*time.Millisecond, func() { job.Abort(7) })
			_ = job.Close() // for which rank 0 never comes
		}
		time.Sleep(time.Minute)
	},
	"abort after closing": func() {
		if err := job.Close(); err != nil {
			os.Exit(1)
		}
		job.Abort(7)
	},
	"killed": func() {
		if job.Rank() == 1 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		_, _ = job.World(1)
	},
	"exit without Close": func() {
		if job.Rank() == 1 {
			os.Exit(7)
		}
		_, _ = job.World(1)
	},
	"a message that nobody receives": func() {
		e, err := job.World(2)
		if err != nil || job.Rank() == 0 {
			time.Sleep(time.Minute)
		}
		e.Isend(make([]byte, 4<<20), 0, 1)
		if err := errors.Join(e.Close(), job.Close()); err == nil || !strings.Contains(err.Error(), "1 messages were not received") {
			os.Exit(1)
		}
		job.Abort(7)
	},
}

func TestTheEndOfOneProcessEndsTheJob(t *testing.T) {
	launcher := strings.Fields(os.Getenv(launcherVariable))
	if _, inside := Launched(); inside || len(launcher) == 0 {
		t.Skipf(`SKIPPED: starts jobs of its own; set %s="mpirun --oversubscribe --bind-to none" and run without a launcher, as dist/mpi/test.sh does`, launcherVariable)
	}
	for name := range acts {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c := exec.CommandContext(ctx, launcher[0], append(launcher[1:], "-n", "2", os.Args[0])...)
			c.Env = append(os.Environ(), actVariable+"="+name)
			c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // the launcher ends its processes
			c.WaitDelay = 5 * time.Second
			start := time.Now()
			said, err := c.CombinedOutput()
			var exit *exec.ExitError
			switch {
			case ctx.Err() != nil:
				t.Errorf("the job still runs after %v", time.Since(start))
			case !errors.As(err, &exit):
				t.Errorf("got %v", err)
			case name != "killed" && exit.ExitCode() != 7:
				t.Errorf("exit status %d, want 7:\n%s", exit.ExitCode(), said)
			}
			t.Logf("%v after %v", err, time.Since(start).Round(10*time.Millisecond))
		})
	}
}
