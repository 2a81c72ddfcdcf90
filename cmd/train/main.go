// Command train fine-tunes long-context models with ring attention, checks gradients, evaluates, and generates.
//
//	train --config configs/long.yaml      the main job
//	train gradcheck | bench | eval | generate | estimate | init | tokenize | devices | schema | supervise
//
// Exit status: 0 done and all checks hold; 1 a check failed or training stopped on an error; 2 usage, configuration or input
// files are wrong (nothing was written); 130 interrupted, after a checkpoint was written.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/trainer"
)

// Exit statuses.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes one command line and returns the exit status.
func run(args []string, stdout, stderr io.Writer) int {
	tensor.DontUsePool()
	out := newOutput(stdout, stderr)
	signals, ctx := watchSignals(context.Background(), out)
	defer signals.close()
	err := execute(ctx, newRoot(out, signals), args)
	if out.stdout.err != nil {
		err = out.stdout.err
	}
	if err == nil {
		err = out.job.end(0)
	}
	if err == nil {
		return 0
	}
	if slices.Contains(own(args), "--json") {
		out.json = true // a mistake before it on the command line ends the parsing early
	}
	if ctx.Err() != nil && !errors.Is(err, trainer.ErrInterrupted) {
		err = trainer.ErrInterrupted // whatever it ended, it was the signal's doing
	}
	status := exitStatus(err)
	if status != exitInterrupted || out.job.speaks() {
		out.failure(err)
	}
	if err := out.job.end(status); err != nil {
		out.notef("train: %v", err)
	}
	return status
}

// own leaves out what stands behind --: the command that supervise starts.
func own(args []string) []string {
	if i := slices.Index(args, "--"); i >= 0 {
		return args[:i]
	}
	return args
}

// failed marks an error of a command that was properly set up: exit status 1 instead of 2.
type failed struct{ err error }

func (f failed) Error() string { return f.err.Error() }
func (f failed) Unwrap() error { return f.err }

// computed sorts the errors of what reads first and computes then: bad input keeps its exit status 2, all else is a failure.
func computed(err error) error {
	if err == nil || errors.Is(err, trainer.ErrInput) {
		return err
	}
	return failed{err}
}

// verdict ends a check: exit status 1 unless all hold.
func verdict(bad, all int, what string) error {
	if bad == 0 {
		return nil
	}
	return failed{fmt.Errorf("gradcheck: %d of %d %s failed", bad, all, what)}
}

func exitStatus(err error) int {
	var f failed
	switch {
	case errors.Is(err, trainer.ErrInterrupted):
		return exitInterrupted
	case errors.As(err, &f):
		return exitFailed
	}
	return exitUsage
}

// message is an error as the user reads it: without the name of the package whose command this is, and without the stack of a
// panic unless GOTRACEBACK asks for it.
func message(err error) string {
	text := strings.TrimPrefix(err.Error(), "trainer: ")
	if cause, _, panicked := strings.Cut(text, "\ngoroutine "); panicked && os.Getenv("GOTRACEBACK") == "" {
		return cause + "; this is a mistake of the program: please report it with the stack that GOTRACEBACK=all adds"
	}
	return text
}
