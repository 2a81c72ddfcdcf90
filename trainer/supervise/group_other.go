//go:build !unix

package supervise

import (
	"os"
	"os/exec"
)

// ownGroup does nothing: these systems have no process groups, and only the command itself is ended.
func ownGroup(*exec.Cmd) {}

// signalLeader kills: there is no polite signal to another process.
func signalLeader(leader *os.Process, _ string) { _ = leader.Kill() }

// killGroup ends the command. The error says that it has ended.
func killGroup(leader *os.Process) error { return leader.Kill() }

func statusOf(s *os.ProcessState) int { return s.ExitCode() }
