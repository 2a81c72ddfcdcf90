package supervise

import (
	"errors"
	"fmt"
	"time"
)

// Errors of Run that end it for another reason than too many restarts.
var (
	ErrInterrupted = errors.New("supervise: interrupted")
	ErrRefused     = errors.New("usage, config or input files are wrong") // exit status 2 of the command, or it is no program at all
)

// Start is one start of the command.
type Start struct {
	Hosts    []string `json:"hosts"`
	Seconds  float64  `json:"seconds"`
	Status   int      `json:"status"`    // exit status, or 128 + signal
	FromStep int      `json:"from_step"` // of the newest checkpoint before and after
	ToStep   int      `json:"to_step"`
	Stalled  bool     `json:"stalled,omitempty"` // it was ended since nothing was added to metrics.jsonl
}

// Report is what a Supervisor did.
type Report struct {
	OK       bool    `json:"ok"`
	Starts   []Start `json:"starts"`
	Restarts int     `json:"restarts"`
	Reason   string  `json:"reason"` // why there was no further start
}

// ending is how a command ended.
type ending struct {
	status int
	text   string // "exit status 1", "signal: killed"
	last   string // the last line of its stderr, or the last that tells an error
}

// because puts the last words behind the status.
func (e ending) because() string {
	if e.last == "" {
		return e.text
	}
	return e.text + ": " + e.last
}

// seconds writes a time with tenths where they matter.
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
