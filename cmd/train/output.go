package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// output is where a command prints: results on stdout (tables, or one JSON document), everything else on stderr.
type output struct {
	stdout *sink
	stderr io.Writer
	last   io.Writer // what stderr would be if this process were the one that people hear
	json   bool      // --json
	job    *job      // nil for a process on its own

	mu      sync.Mutex
	written bool // the JSON document is out
}

func newOutput(stdout, stderr io.Writer) *output {
	o := &output{stdout: &sink{Writer: stdout}, stderr: stderr, last: stderr, job: findJob()}
	if !o.job.speaks() {
		o.stdout.Writer, o.stderr = io.Discard, io.Discard
	}
	return o
}

// sink remembers the first error of writing a result, which tables and help do not tell.
type sink struct {
	io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.Writer.Write(p)
	if err != nil && s.err == nil {
		s.err = failed{fmt.Errorf("the result could not be written: %w", err)}
	}
	return n, err
}

// notef prints one line of progress.
func (o *output) notef(format string, args ...any) {
	_, _ = fmt.Fprintf(o.stderr, format+"\n", args...)
}

// printf prints a part of a result.
func (o *output) printf(format string, args ...any) error {
	_, err := fmt.Fprintf(o.stdout, format, args...)
	return err
}

// document prints v as the command's one JSON document.
func (o *output) document(v any) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return failed{fmt.Errorf("the result has no JSON form: %w", err)}
	}
	return o.raw(text.Bytes())
}

// raw prints what is a JSON document already.
func (o *output) raw(document []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.written {
		return nil
	}
	o.written = true
	_, err := o.stdout.Write(document)
	return err
}

// failure ends a command with an error on stderr, and keeps the promise of one JSON document when it has not printed its own. Of the
// processes of a job the first one that can does so.
func (o *output) failure(err error) {
	if !o.job.tells(err) {
		return
	}
	_, _ = fmt.Fprintf(o.last, "train: %s\n", message(err))
	if o.json {
		_ = o.document(map[string]any{"ok": false, "error": message(err)})
	}
}

// terminal reports whether stderr is a terminal, where a progress bar may draw.
func (o *output) terminal() bool {
	f, ok := o.stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour reports whether escape codes are welcome on stderr (https://no-color.org).
func (o *output) colour() bool { return o.terminal() && os.Getenv("NO_COLOR") == "" }
