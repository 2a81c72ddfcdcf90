//go:build mpi && cgo

package mpi

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringgrad/ringgrad/dist"
)

// job is this process in the job that a launcher started; nil without one.
var job Process

// TestMain runs the tests in every process of the job at once: World is collective, so all must make the same worlds in the same order. A process that
// failed aborts the job.
func TestMain(m *testing.M) {
	flag.Parse()
	if _, ok := Launched(); !ok {
		os.Exit(m.Run())
	}
	var err error
	if job, err = Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if act := acts[os.Getenv(actVariable)]; act != nil {
		act()
		os.Exit(1)
	}
	if job.Rank() == 0 {
		fmt.Fprintf(os.Stderr, "%d processes, %s\n", job.Size(), job.Library())
	}
	os.Exit(finish(m.Run()))
}

// finish leaves MPI. What is left behind then is a leak.
func finish(code int) int {
	if code != 0 {
		job.Abort(code)
	}
	if err := job.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		job.Abort(1)
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := job.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "closed again:", err)
		return 1
	}
	if e, err := job.World(1); e != nil || err == nil {
		fmt.Fprintln(os.Stderr, "a world after Close:", e, err)
		return 1
	}
	return 0
}

// world is the own engine in a world of n processes, and ends it with the test. It skips where there is no job or none so big, and gives nil
// to processes outside the world.
func world(t testing.TB, n int) dist.Engine {
	t.Helper()
	if job == nil {
		t.Skip("SKIPPED: run under a launcher: dist/mpi/test.sh, or go test -c -tags mpi ./dist/mpi && mpirun --oversubscribe --bind-to none -n 4 ./mpi.test")
	}
	if n > job.Size() {
		t.Skipf("SKIPPED: a world of %d processes in a job of %d", n, job.Size())
	}
	e, err := job.World(n)
	if err != nil {
		t.Fatal(err)
	}
	if e != nil {
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return e
}

// inside is world for tests whose other processes have nothing to do.
func inside(t testing.TB, n int) dist.Engine {
	t.Helper()
	e := world(t, n)
	if e == nil {
		t.Skipf("not one of the first %d processes", n)
	}
	return e
}

const patience = 30 * time.Second
