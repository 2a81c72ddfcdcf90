//go:build mpi

package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is one on a host.
type process struct {
	host, pid int
	exe       string // the program's file
	args      []string
}

// What runs on hosts, as a process tells.
func isRank(p process) bool {
	return strings.HasPrefix(filepath.Base(p.exe), "train") && !slices.Contains(p.args, "supervise")
}
func isDaemon(p process) bool {
	return slices.Contains([]string{"orted", "prted"}, filepath.Base(p.exe))
}
func isMpirun(p process) bool {
	name := filepath.Base(p.exe)
	return strings.HasPrefix(name, "mpirun") || name == "orterun" || name == "prterun"
}
func isAny(process) bool { return true }

// processes are those of a kind on all hosts.
func (l *laboratory) processes(kind func(process) bool) []process {
	hosts := map[string]int{}
	for i := range hostCount {
		var s syscall.Stat_t
		if err := syscall.Stat("/run/netns/"+host(i+1), &s); err == nil {
			hosts[fmt.Sprintf("net:[%d]", s.Ino)] = i + 1
		}
	}
	var list []process
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		space, _ := os.Readlink(path + "/ns/net") // fails for what has ended
		if hosts[space] == 0 {
			continue
		}
		p := process{host: hosts[space]}
		p.pid, _ = strconv.Atoi(filepath.Base(path))
		p.exe, _ = os.Readlink(path + "/exe")
		text, _ := os.ReadFile(path + "/cmdline")
		p.args = strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
		if kind(p) {
			list = append(list, p)
		}
	}
	return list
}

// the returns the process of a kind on a host, of which there must be one.
func (l *laboratory) the(t *testing.T, host int, kind func(process) bool) process {
	t.Helper()
	list := l.processes(func(p process) bool { return p.host == host && kind(p) })
	if len(list) != 1 {
		t.Fatalf("%d such processes on host %d, want 1: %v", len(list), host, l.processes(isAny))
	}
	return list[0]
}

// send sends a signal; who has ended meanwhile does not mind.
func (p process) send(signal syscall.Signal) { _ = syscall.Kill(p.pid, signal) }

// gone waits until no process is left on any host, and fails the test when that takes longer.
func (l *laboratory) gone(t *testing.T, limit time.Duration) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		left := l.processes(isAny)
		if len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("processes are left on the hosts after %v: %v", limit, left)
		}
	}
}

// clear ends what a failed test has left, and plugs every host in.
func (l *laboratory) clear(t *testing.T) {
	for range 100 {
		left := l.processes(isAny)
		if len(left) == 0 {
			break
		}
		for _, p := range left {
			p.send(syscall.SIGKILL)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for i := range hostCount {
		l.do(t, "netns/mend", host(i+1))
	}
}
