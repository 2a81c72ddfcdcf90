//go:build ringcuda && cgo

package nccl

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/nccl/stub"
)

var libraries *stub.Library

func TestMain(m *testing.M) { os.Exit(withStub(m)) }

// withStub runs the tests with the stub in the place of both libraries.
func withStub(m *testing.M) int {
	folder, err := os.MkdirTemp("", "nccl")
	if err != nil {
		return failedToStart(err)
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	header, err := os.ReadFile("abi.h")
	if err != nil {
		return failedToStart(err)
	}
	libraries, err = stub.Build(folder, header)
	if errors.Is(err, stub.ErrNoCompiler) {
		fmt.Fprintln(os.Stderr, "SKIPPED all tests of dist/nccl:", err)
		return 0
	}
	if err != nil {
		return failedToStart(err)
	}
	for _, name := range []string{"RINGGRAD_CUDA_LIBRARY", "RINGGRAD_NCCL_LIBRARY"} {
		if err := os.Setenv(name, libraries.Path); err != nil {
			return failedToStart(err)
		}
	}
	return m.Run()
}

func failedToStart(err error) int {
	fmt.Fprintln(os.Stderr, "nccl:", err)
	return 1
}

// kept is what has to be given back at the end of a test.
var kept = []string{"contexts", "memory", "pinned", "streams", "events", "communicators", "work"}

// world is n ranks on as many devices. At its end the ranks are closed, and nothing may be left or have been wrong.
func world(t testing.TB, n int, o Options) []dist.Engine {
	t.Helper()
	libraries.Reset(uint64(n))
	engines, errs := open(t, n, func(rank int) Options {
		own := o
		own.Device = rank
		return own
	})
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, e := range engines {
			if err := e.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		tidy(t)
	})
	return engines
}

// tidy wants the libraries as they were before.
func tidy(t testing.TB) {
	t.Helper()
	for _, what := range kept {
		if left := libraries.Live(what); left != 0 {
			t.Errorf("%d %s are left", left, what)
		}
	}
	if wrong := libraries.Reset(0); wrong != "" {
		t.Errorf("the libraries were used wrongly:\n%s", wrong)
	}
}

// open calls Open on n ranks of a new CPU engine.
func open(t testing.TB, n int, options func(rank int) Options) (engines []dist.Engine, errs []error) {
	t.Helper()
	engines, errs = make([]dist.Engine, n), make([]error, n)
	var ranks sync.WaitGroup
	for rank, cpu := range local.NewWorld(n) {
		ranks.Go(func() { engines[rank], errs[rank] = Open(t.Context(), cpu, options(rank)) })
	}
	ranks.Wait()
	return engines, errs
}

// each runs f for all ranks at once, and gives their errors.
func each(engines []dist.Engine, f func(e dist.Engine) error) []error {
	errs := make([]error, len(engines))
	var ranks sync.WaitGroup
	for i, e := range engines {
		ranks.Go(func() { errs[i] = f(e) })
	}
	ranks.Wait()
	return errs
}
