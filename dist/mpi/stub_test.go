//go:build !mpi || !cgo

package mpi_test

import (
	"errors"
	"testing"

	"github.com/ringgrad/ringgrad/dist/mpi"
)

func TestStartSaysHowToBuildWithMPI(t *testing.T) {
	if p, err := mpi.Start(); p != nil || !errors.Is(err, mpi.ErrNotBuilt) {
		t.Fatalf("got %v, %v", p, err)
	}
}
