//go:build mpi && cgo

package mpi

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/disttest"
	"github.com/ringgrad/ringgrad/dist/hosts"
)

// TestConformanceOfRanks is the whole suite, failures too, on ranks that package hosts deals to the processes: one or several in each.
func TestConformanceOfRanks(t *testing.T) {
	defer func(d time.Duration) { closePatience = d }(closePatience)
	closePatience = 50 * time.Millisecond // ranks that abort and leave have sent what nobody takes
	disttest.Suite{Engines: ranks, Sizes: []int{1, 2, 3, 4, 5}}.Run(t)
}

// ranks gives the own ranks of a world of n.
func ranks(t testing.TB, n int) []dist.Engine {
	if job == nil {
		world(t, 1) // skips
	}
	p := min(n, job.Size())
	wire, err := job.World(p)
	if err != nil {
		t.Fatal(err)
	}
	end, err := job.World(p)
	if err != nil {
		t.Fatal(err)
	}
	if wire == nil {
		return nil
	}
	i := wire.Rank()
	w, err := hosts.Join(t.Context(), wire, n*(i+1)/p-n*i/p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// A case has ended when it has on all processes: until then nobody leaves.
		if err := errors.Join(dist.Barrier(context.Background(), dist.New(end, dist.Options{Timeout: patience})), end.Close(), w.Close()); err != nil {
			t.Error(err)
		}
	})
	return w.Engines()
}
