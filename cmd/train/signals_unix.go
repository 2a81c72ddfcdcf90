//go:build unix

package main

import (
	"os"
	"syscall"
)

// endSignals ask for the end. SIGUSR1 is what launchers pass on to ranks: Open MPI's mpirun kills them soon after the other two.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGUSR1}
