// Command train fine-tunes long-context models with ring attention, checks gradients, evaluates, and generates.
//
//	train --config configs/long.yaml      the main job
//	train gradcheck | eval | generate | estimate | tokenize | devices | schema
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
	root := newRoot(out)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return 0
	}
	status := exitStatus(err)
	if message := err.Error(); message != "" {
		_, _ = fmt.Fprintf(stderr, "train: %s\n", message)
		out.failure(message)
	}
	return status
}

// failed marks an error of a run that was properly set up: exit status 1 instead of 2.
type failed struct{ err error }

func (f failed) Error() string { return f.err.Error() }
func (f failed) Unwrap() error { return f.err }

// errChecksFailed ends a command whose own report already said what failed.
var errChecksFailed = failed{errors.New("")}

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
