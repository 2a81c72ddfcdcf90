//go:build mpi

package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// job is a command under way on host 1.
type job struct {
	t     *testing.T
	lab   *laboratory
	cmd   *exec.Cmd
	log   string        // the file that it writes to, stdout and stderr
	ended chan struct{} // closed when it has
	over  time.Time     // when
}

// start starts a command on host 1.
func (l *laboratory) start(t *testing.T, command []string) *job {
	t.Helper()
	f, err := os.CreateTemp(l.folder, "log-")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	j := &job{t: t, lab: l, log: f.Name(), ended: make(chan struct{})}
	j.cmd = exec.Command(filepath.Join(l.root, "deploy/netns/on"), host(1), "exec "+quoted(command))
	j.cmd.Stdout, j.cmd.Stderr, j.cmd.Dir = f, f, l.root
	if err := j.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = j.cmd.Wait() // the state tells
		j.over = time.Now()
		close(j.ended)
	}()
	t.Cleanup(func() {
		l.clear(t)
		<-j.ended
		if t.Failed() {
			t.Logf("the output:\n%s", j.said())
		}
	})
	return j
}

// quoted makes words for a shell.
func quoted(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(list, " ")
}

// said is all output so far.
func (j *job) said() string {
	text, err := os.ReadFile(j.log)
	if err != nil {
		j.t.Fatal(err)
	}
	return string(text)
}

// send tells the command itself.
func (j *job) send(signal syscall.Signal) { _ = j.cmd.Process.Signal(signal) }

// ends waits for the end of the command and of all processes on the hosts; both must come within the limit. It returns the exit status,
// as a shell has it, and how long both took.
func (j *job) ends(limit time.Duration) (status int, took time.Duration) {
	j.t.Helper()
	from := time.Now()
	select {
	case <-j.ended:
	case <-time.After(limit):
		j.t.Fatalf("the job has not ended after %v; on the hosts: %v", limit, j.lab.processes(isAny))
	}
	j.lab.gone(j.t, max(limit-time.Since(from), time.Millisecond))
	return j.status(), time.Since(from)
}

func (j *job) status() int {
	state := j.cmd.ProcessState
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return state.ExitCode()
}

// slow is how long anything may take on a busy machine that has no limit of its own.
const slow = 2 * time.Minute

// until polls for something, for as long as the job lives.
func (j *job) until(what string, happened func() bool) {
	j.t.Helper()
	for end := time.Now().Add(slow); !happened(); time.Sleep(2 * time.Millisecond) {
		select {
		case <-j.ended:
			if happened() {
				return
			}
			j.t.Fatalf("the job ended with %d before %s", j.status(), what)
		default:
		}
		if time.Now().After(end) {
			j.t.Fatalf("not within %v: %s", slow, what)
		}
	}
}

// inStep waits until a run is in the middle of the step behind step n.
func (j *job) inStep(r training, n int) {
	j.t.Helper()
	j.until("its steps", func() bool { return r.lastStep(j.t) >= n })
	time.Sleep(20 * time.Millisecond)
}

// lastStep is the newest step that is done; 0 for none.
func (r training) lastStep(t *testing.T) int {
	t.Helper()
	list := r.lines(t)
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Step
}

// must runs a command on host 1, which must end with a status.
func (l *laboratory) must(t *testing.T, want int, command []string) string {
	t.Helper()
	j := l.start(t, command)
	status, _ := j.ends(slow)
	if status != want {
		t.Fatalf("status %d, want %d", status, want)
	}
	return j.said()
}
