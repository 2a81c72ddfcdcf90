package supervise

import (
	"bytes"
	"io"
	"strings"
	"sync"
)

// longestLine is what is kept of a line.
const longestLine = 1 << 12

// words passes stderr on, and remembers the last line, or the last that tells the error of a training: launchers like to add a page.
type words struct {
	to io.Writer

	mu          sync.Mutex
	line        []byte // not ended yet
	some, cause string
}

// Write never fails: a job does not end since nobody listens.
func (w *words) Write(p []byte) (int, error) {
	if w.to != nil {
		_, _ = w.to.Write(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for part := range bytes.Lines(p) {
		if room := longestLine - len(w.line); room > 0 {
			w.line = append(w.line, part[:min(room, len(part))]...)
		}
		if bytes.HasSuffix(part, []byte("\n")) {
			w.end()
		}
	}
	return len(p), nil
}

// end takes a line.
func (w *words) end() {
	text := strings.TrimSpace(string(w.line))
	w.line = w.line[:0]
	if strings.Trim(text, "-*=") == "" { // a rule
		return
	}
	w.some = text
	if i := strings.Index(text, "train: "); i >= 0 { // behind what a launcher puts before it
		w.cause = text[i:]
	}
}

func (w *words) last() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end()
	if w.cause != "" {
		return w.cause
	}
	return w.some
}
