//go:build mpi

package faults

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// port is one that a process listens on.
type port struct {
	number int
	inside bool // for processes of the same host only
}

// ports are those that a process listens on.
func (p process) ports(t *testing.T) []port {
	t.Helper()
	mine := map[string]bool{}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.pid))
	for _, path := range files {
		target, _ := os.Readlink(path)
		if inode, ok := strings.CutPrefix(target, "socket:["); ok {
			mine[strings.TrimSuffix(inode, "]")] = true
		}
	}
	var list []port
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", p.pid, table))
		if err != nil { // a kernel without IPv6
			continue
		}
		for row := range strings.Lines(string(text)) {
			fields := strings.Fields(row) // local address, state 0A for listening, inode
			if len(fields) < 10 || fields[3] != "0A" || !mine[fields[9]] {
				continue
			}
			address, digits, _ := strings.Cut(fields[1], ":")
			number, err := strconv.ParseUint(digits, 16, 16)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, port{int(number), address == "0100007F"}) // 127.0.0.1
		}
	}
	return list
}

func TestAProcessOnItsOwnListensOnNoPort(t *testing.T) {
	r := newTraining(t, "max_steps=2000")
	j := r.lab.start(t, r.command())
	j.inStep(r, 2)
	if ports := r.lab.the(t, 1, isRank).ports(t); len(ports) > 0 {
		t.Errorf("it listens on %v", ports)
	}
	t.Log("a process without a launcher listens on 0 ports")
}

// A C program of a few calls of MPI shows what the library opens by itself.
func TestRanksListenOnThePortsOfTheirMPIAlone(t *testing.T) {
	r := newTraining(t, "max_steps=2000")
	compiler, err := exec.LookPath("mpicc.openmpi")
	if err != nil {
		if compiler, err = exec.LookPath("mpicc"); err != nil {
			t.Skip("SKIPPED: needs Open MPI's mpicc")
		}
	}
	other := filepath.Join(filepath.Dir(r.out), "train-standin") // a name that isRank knows
	if text, err := exec.Command(compiler, "-o", other, filepath.Join(r.lab.root, "deploy/standin/standin.c")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	j := r.lab.start(t, r.mpirun(other, "3000", "0"))
	j.until("the stand-in's start", func() bool { return strings.Count(j.said(), "starts at step") == hostCount })
	theirs := len(r.lab.the(t, 2, isRank).ports(t))
	r.lab.clear(t)
	j = r.lab.start(t, r.mpirun())
	j.inStep(r, 2)
	for i := range hostCount {
		if ours := r.lab.the(t, i+1, isRank).ports(t); len(ours) != theirs {
			t.Errorf("rank %d listens on %v, a C program of the same library on %d", i, ours, theirs)
		}
	}
	t.Logf("a rank listens on %d ports, as a C program of the same MPI does", theirs)
}

// strangers connect from host 4 to all ports of ranks, daemons and mpirun: one talks nonsense, one says nothing, both for as long as they may.
func TestAStrangerWhoConnectsNeverChangesTheResult(t *testing.T) {
	r := newTraining(t, "max_steps=200", "save_steps=100")
	j := r.lab.start(t, r.mpirun())
	j.inStep(r, 5)
	type door struct{ host, port int }
	var doors []door
	for _, p := range r.lab.processes(func(p process) bool { return isRank(p) || isDaemon(p) || isMpirun(p) }) {
		for _, port := range p.ports(t) {
			if !port.inside {
				doors = append(doors, door{p.host, port.number})
			}
		}
	}
	visits := t.TempDir() // a file for each connection
	var calls strings.Builder
	for _, d := range doors {
		for _, then := range []string{"head -c 65536 /dev/urandom >&3; ", ""} {
			fmt.Fprintf(&calls, "( exec 3<>/dev/tcp/%s/%d && mktemp -p %s >/dev/null; %sexec sleep 60 ) & ", host(d.host), d.port, visits, then)
		}
	}
	r.lab.stranger(t, calls.String()+"wait")
	called := 0
	j.until("all strangers are connected", func() bool {
		files, err := os.ReadDir(visits)
		called = len(files)
		return err == nil && called == 2*len(doors) && called > 0
	})
	from, began := r.lastStep(t), time.Now()
	select {
	case <-j.ended:
	case <-time.After(slow):
		t.Fatalf("the run hangs at step %d, after %d connections", r.lastStep(t), called)
	}
	took := time.Since(began)
	if status := j.status(); status != 0 {
		if !strings.Contains(j.said(), "train: ") && !strings.Contains(j.said(), "mpirun") {
			t.Errorf("status %d, and nobody says why", status)
		}
		t.Logf("%d connections of a stranger after step %d: the run ended with %d after %.1f s", called, from, status, took.Seconds())
		return
	}
	if r.outcome(t).weights != r.undisturbed(t).weights {
		t.Error("the weights differ from an undisturbed run's")
	}
	t.Logf("%d connections of a stranger after step %d: the run went on and ended well after %.1f s, with the same bits", called, from, took.Seconds())
}

// stranger runs a shell's command on host 4 until the test ends, or it does.
func (l *laboratory) stranger(t *testing.T, command string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(l.root, "deploy/netns/on"), host(4), command)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // or it was refused
		_ = cmd.Wait()
	})
}
