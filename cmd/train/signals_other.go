//go:build !unix

package main

import (
	"os"
	"syscall"
)

// endSignals ask for the end.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}
