package supervise

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// endWithUs has the command asked to end when this process is killed; the kernel may do so more than once.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM }

// killRest ends what is left of a leader's group and of all processes that were started with a mark in their environment, and tells
// whether there were any of these. Launchers give ranks groups of their own, and daemons leave the group too; the environment stays.
func killRest(leader *os.Process, mark string) (found bool) {
	_ = killGroup(leader) // may hold dead ones for ever, where the first process of a container reaps none
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range paths {
		environment, err := os.ReadFile(path) // empty for what has ended; fails for what is not ours
		if err != nil || !slices.ContainsFunc(bytes.Split(environment, []byte{0}), func(v []byte) bool { return string(v) == mark }) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			found = true
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return found
}
