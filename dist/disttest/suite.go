package disttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringgrad/ringgrad/dist"
)

// Suite is the conformance suite with its knobs.
type Suite struct {
	// Engines makes a world of n ranks and gives those of this process, or nil where there is no such world here. It registers the end
	// of the world with t.Cleanup if there is something to end.
	Engines func(t testing.TB, n int) []dist.Engine
	// Sizes of the worlds; nil is 1 to 8.
	Sizes []int
	// Bubble runs every case inside testing/synctest: a deadlock fails at once and time-outs cost nothing. For engines without
	// processes, files and cgo.
	Bubble bool
	// NoFailures leaves out the cases in which ranks abort, leave, or send the wrong size: for engines that end the process then.
	NoFailures bool
}

// Run is the suite as most engines need it.
func Run(t *testing.T, engines func(t testing.TB, n int) []dist.Engine) {
	t.Helper()
	Suite{Engines: engines}.Run(t)
}

// Run runs all cases for all sizes.
func (s Suite) Run(t *testing.T) {
	t.Helper()
	sizes := s.Sizes
	if sizes == nil {
		sizes = []int{1, 2, 3, 4, 5, 6, 7, 8}
	}
	parts := []struct { // in one order, so that the processes of one world agree
		name  string
		cases []testCase
	}{{"transfers", transfers}, {"collectives", collectives}, {"groups", groups}, {"failures", failures}}
	if s.NoFailures {
		parts = parts[:3]
	}
	for _, part := range parts {
		for _, n := range sizes {
			for _, c := range part.cases {
				if n < c.least {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d", part.name, c.name, n), func(t *testing.T) { s.run(t, n, c) })
			}
		}
	}
}

// testCase is what one rank does, and what it must see.
type testCase struct {
	name  string
	least int // smallest world that can run it
	rank  func(ctx context.Context, e dist.Engine) error
}

// onComm is a case on the group of all ranks.
func onComm(name string, rank func(ctx context.Context, c *dist.Comm) error) testCase {
	return testCase{name: name, least: 1, rank: func(ctx context.Context, e dist.Engine) error {
		return rank(ctx, dist.New(e, dist.Options{}))
	}}
}

// patience is how long a case may take.
const patience = time.Minute

func (s Suite) run(t *testing.T, n int, c testCase) {
	body := func(t *testing.T) {
		engines := s.Engines(t, n)
		if len(engines) == 0 {
			t.Skipf("SKIPPED: no world of %d ranks here", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		for _, err := range each(ctx, engines, c.rank) {
			if err != nil {
				t.Error(err)
			}
		}
	}
	if s.Bubble {
		synctest.Test(t, body)
		return
	}
	body(t)
}

// each runs f for every engine, aborts the others when one fails, and gives the errors of all.
func each(ctx context.Context, engines []dist.Engine, f func(context.Context, dist.Engine) error) []error {
	errs := make([]error, len(engines))
	var ranks sync.WaitGroup
	for i, e := range engines {
		ranks.Go(func() {
			if err := f(ctx, e); err != nil {
				errs[i] = fmt.Errorf("rank %d of %d: %w", e.Rank(), e.Size(), err)
				e.Abort(errs[i])
			}
		})
	}
	ranks.Wait()
	return errs
}

// waitAll waits for all handles.
func waitAll(ctx context.Context, hs ...dist.Handle) error {
	for i, h := range hs {
		if err := h.Wait(ctx); err != nil {
			return fmt.Errorf("transfer %d: %w", i, err)
		}
	}
	return nil
}

// wantError is nil if err is one of the target's kind.
func wantError(what string, err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return fmt.Errorf("%s: got error %w, want %w", what, orNone(err), target)
}

func orNone(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}
