package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// interrupt SIGNAL PART COMMAND...: starts the command, sends the signal as soon as PART stands on stdout or stderr, and wants exit
// status 130. What was printed is in the files stdout.txt and stderr.txt then.
func interrupt(ts *testscript.TestScript, _ bool, args []string) {
	signal := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM}[args[0]]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	seen := make(chan struct{})
	spot := sync.OnceFunc(func() { close(seen) })
	stdout, stderr := &watched{part: args[1], spot: spot}, &watched{part: args[1], spot: spot}
	path, err := exec.LookPath(args[2])
	ts.Check(err)
	cmd := exec.CommandContext(ctx, path, args[3:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), stdout, stderr
	ts.Check(cmd.Start())
	select {
	case <-seen:
	case <-ctx.Done():
		ts.Fatalf("%q was never printed", args[1])
	}
	ts.Check(cmd.Process.Signal(signal))
	got := status(ts, cmd.Wait())
	ts.Check(os.WriteFile(ts.MkAbs("stdout.txt"), stdout.text.Bytes(), 0o644))
	ts.Check(os.WriteFile(ts.MkAbs("stderr.txt"), stderr.text.Bytes(), 0o644))
	if got != exitInterrupted {
		ts.Fatalf("exit status %d, want %d\n%s", got, exitInterrupted, &stderr.text)
	}
}

// watched tells when a text has been written.
type watched struct {
	text bytes.Buffer
	part string
	spot func()
}

func (w *watched) Write(p []byte) (int, error) {
	w.text.Write(p)
	if bytes.Contains(w.text.Bytes(), []byte(w.part)) {
		w.spot()
	}
	return len(p), nil
}

// TestTheSecondSignalEndsAtOnce uses a command that takes no notice of the first.
func TestTheSecondSignalEndsAtOnce(t *testing.T) {
	var stdout bytes.Buffer
	out := newOutput(&stdout, io.Discard)
	out.json = true
	s, ctx := watchSignals(t.Context(), out)
	defer s.close()
	ended, asked := make(chan int, 1), make(chan struct{})
	s.exit = func(status int) { ended <- status }
	s.handle(func() { close(asked) })
	s.inbox <- os.Interrupt
	<-asked
	select {
	case status := <-ended:
		t.Fatalf("the first signal ended the process with status %d", status)
	case <-ctx.Done():
		t.Fatal("the first signal ended a context that training would have saved in")
	default:
	}
	s.inbox <- syscall.SIGTERM
	if status := <-ended; status != exitInterrupted {
		t.Errorf("the second signal ended the process with status %d, want %d", status, exitInterrupted)
	}
	var document map[string]any
	if err := json.Unmarshal(stdout.Bytes(), &document); err != nil || document["ok"] != false {
		t.Errorf("stdout %q is no document that says so: %v", &stdout, err)
	}
}
