//go:build !mpi || !cgo

package mpi

// Start returns ErrNotBuilt: this is the package without the tag mpi.
func Start() (Process, error) { return nil, ErrNotBuilt }
