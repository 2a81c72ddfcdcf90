package dist

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// What can go wrong with a message; every error of this package wraps one of these or the error of a context.
var (
	ErrAborted  = errors.New("the job was aborted")                                // another rank failed first; the error wraps its cause as well
	ErrPeerLost = errors.New("peer lost")                                          // the other side has left
	ErrTimeout  = errors.New("timed out")                                          // the watchdog of Options.Timeout
	ErrSize     = errors.New("message is not of the size that the receiver wants") // both sides get it
	ErrCorrupt  = errors.New("message was changed on its way")                     // engines that check sums
	ErrClosed   = errors.New("engine is closed")                                   // an operation after the own Close
)

// Error says which rank saw what, in which operation, with which peer. Ranks are those of the engine (of the whole job), in
// sub-groups too.
type Error struct {
	Op   string // "send" or "receive"
	Call string // the collective the message belongs to, as "allreduce"; empty for Shift and SendRecv
	Kind Kind   // what travelled
	Hop  int    // the hop round the ring; no meaning in collectives
	Rank int    // who saw it
	Peer int    // the other side
	Tag  int    // the tag given to the engine
	Err  error
}

// Error reads as `dist: rank 2: forward_kv hop 1: receive from rank 1: peer lost`.
func (e *Error) Error() string {
	return fmt.Sprintf("dist: rank %d: %s: %s: %v", e.Rank, e.what(), direction(e.Op == "send", e.Peer), e.Err)
}

// Unwrap gives the reason.
func (e *Error) Unwrap() error { return e.Err }

func (e *Error) what() string {
	switch {
	case e.Call != "" && e.Kind != Collective:
		return fmt.Sprintf("%s %s", e.Kind, e.Call)
	case e.Call != "":
		return e.Call
	}
	return fmt.Sprintf("%s hop %d", e.Kind, e.Hop)
}

func direction(sending bool, peer int) string {
	if sending {
		return fmt.Sprintf("send to rank %d", peer)
	}
	return fmt.Sprintf("receive from rank %d", peer)
}

// Late is the reason of an Error when the watchdog fires; errors.Is(err, ErrTimeout) holds for it.
type Late struct {
	Rank   int           // the rank all others wait for, as far as the engine can tell; else the peer
	After  time.Duration // Options.Timeout
	Chain  []Waiting     // who waits for whom, from the rank that timed out on; empty where the engine is no Witness
	Cycle  bool          // the ranks of the chain wait for each other: a lost message, or calls in different order
	sender bool          // the operation that timed out is a send
}

// Is makes errors.Is(err, ErrTimeout) true.
func (l *Late) Is(target error) bool { return target == ErrTimeout }

// Error names the late rank and why it is thought to be the one.
func (l *Late) Error() string {
	missed := "no message"
	if l.sender {
		missed = "not received"
	}
	return fmt.Sprintf("%s within %v; rank %d is late%s", missed, l.After, l.Rank, l.why())
}

func (l *Late) why() string {
	switch {
	case l.Cycle:
		return fmt.Sprintf(": %s, so they wait for each other: a message was lost or the ranks call in different order", l.story())
	case len(l.Chain) == 0:
		return ", or waits for a rank that is"
	case len(l.Chain) == 1:
		return " (it waits for nobody: computing or stuck)"
	}
	return fmt.Sprintf(" (it waits for nobody: computing or stuck; %s)", l.story())
}

// story tells the chain in words.
func (l *Late) story() string {
	parts := make([]string, len(l.Chain))
	for i, w := range l.Chain {
		parts[i] = w.String()
	}
	return strings.Join(parts, ", ")
}

// Aborted gives the error that engines return once the job was aborted because of cause: it is ErrAborted and cause at once.
func Aborted(cause error) error {
	switch {
	case cause == nil:
		return ErrAborted
	case errors.Is(cause, ErrAborted):
		return cause
	}
	return fmt.Errorf("%w: %w", ErrAborted, cause)
}
