//go:build !linux

package supervise

import (
	"os"
	"os/exec"
)

// endWithUs does nothing: a command outlives a supervisor that is killed.
func endWithUs(*exec.Cmd) {}

// killRest ends what is left of a leader's group, and tells whether there was anything.
func killRest(leader *os.Process, _ string) (found bool) { return killGroup(leader) == nil }
