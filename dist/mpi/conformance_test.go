//go:build mpi && cgo

package mpi

import (
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/disttest"
)

// engines gives the suite the own rank of a world of n.
func engines(t testing.TB, n int) []dist.Engine {
	if e := world(t, n); e != nil {
		return []dist.Engine{e}
	}
	return nil
}

func sizes() []int {
	if job == nil {
		return []int{1}
	}
	var all []int
	for n := 1; n <= job.Size(); n++ {
		all = append(all, n)
	}
	return all
}

// Aborts and leaving do not travel between processes by MPI: package dist/hosts brings that.
func TestConformance(t *testing.T) {
	disttest.Suite{Engines: engines, Sizes: sizes(), NoFailures: true}.Run(t)
}

// With messages in pieces everything is as before.
func TestConformanceInPieces(t *testing.T) {
	defer func(n int) { maxMessage = n }(maxMessage)
	maxMessage = 1000
	disttest.Suite{Engines: engines, Sizes: sizes(), NoFailures: true}.Run(t)
}
