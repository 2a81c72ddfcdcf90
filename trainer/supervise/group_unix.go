//go:build unix

package supervise

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes a command the leader of a process group, which a terminal's Ctrl-C does not reach.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// terminate asks the leader alone: srun takes a first SIGINT for a question, and ranks that got a signal twice would end at once.
func terminate(leader *os.Process) { _ = leader.Signal(syscall.SIGTERM) }

// killGroup ends all of a group. The error says that there is none.
func killGroup(leader *os.Process) error { return syscall.Kill(-leader.Pid, syscall.SIGKILL) }

// statusOf is the exit status as shells have it.
func statusOf(s *os.ProcessState) int {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return s.ExitCode()
}
