package dist

import (
	"context"
	"fmt"
	"time"
)

// Handle is one started transfer. Until Wait has returned nil the buffer belongs to the engine.
type Handle interface {
	// Wait returns when the transfer has ended. Where ctx ends first it returns an error that wraps context.Cause(ctx); the
	// transfer is then still under way and its buffer lost: the job must be aborted. After Abort it returns Aborted(cause).
	Wait(ctx context.Context) error
}

// Engine moves bytes between ranks: what a transport has to give. Messages between two ranks match in the order in which
// they were started, per tag; messages of different tags may overtake each other. Empty messages travel like all others, and
// a rank may send to itself. Starting a transfer never blocks on a peer. Methods may be called by several goroutines.
type Engine interface {
	// Rank is the own number, 0 to Size-1.
	Rank() int
	// Size is the number of ranks.
	Size() int
	// Isend starts sending b. The end of the transfer says only that b may be used again, unless the engine says more.
	Isend(b []byte, to, tag int) Handle
	// Irecv starts receiving a message of exactly len(b) bytes; another length gives ErrSize, to the sender too where the engine can.
	Irecv(b []byte, from, tag int) Handle
	// Abort ends the job on all ranks; what waits returns Aborted(cause). Only the first cause counts.
	Abort(cause error)
	// Close leaves the job. Peers that wait for this rank get ErrPeerLost where the engine can tell.
	Close() error
}

// Lender is an extra ability of engines whose ranks share memory: messages are handed over without a copy.
type Lender interface {
	// Lend sends b itself. From now on the memory is the receiver's: the sender may read it but not write it, until it knows
	// by a later message that the receiver is done.
	Lend(b []byte, to, tag int) Handle
	// Borrow receives a message of size bytes that the engine provides: the sender's memory if it was lent, a copy aligned to
	// 8 bytes if it was sent by Isend.
	Borrow(size, from, tag int) Loan
}

// Loan is a started Borrow.
type Loan interface {
	Handle
	// Bytes is the message, once Wait has returned nil.
	Bytes() []byte
}

// Witness is an extra ability of engines that can see what all ranks wait for. With it the watchdog finds the rank at the end of
// the chain, whichever rank times out first.
type Witness interface {
	// Waits lists the transfers that somebody is blocked on (inside Handle.Wait, or lately given up) and that no peer has met.
	Waits() []Waiting
}

// Waiting says that Rank cannot go on until Peer sends (or, if Sending, receives) a message.
type Waiting struct {
	Rank, Peer, Tag int
	Sending         bool
	Since           time.Time
}

// String reads as `rank 2 waits to receive forward_kv hop 1 from rank 1`.
func (w Waiting) String() string {
	if w.Sending {
		return fmt.Sprintf("rank %d waits to send %s to rank %d", w.Rank, TagName(w.Tag), w.Peer)
	}
	return fmt.Sprintf("rank %d waits to receive %s from rank %d", w.Rank, TagName(w.Tag), w.Peer)
}

// TagLimiter is an extra ability of engines whose tags end early (MPI promises 32,767). Without it tags may be of 31 bits.
type TagLimiter interface {
	MaxTag() int
}

// Together is an extra ability of engines some of whose ranks are goroutines of one process, where a message may stand for something
// that all of them can reach, such as a block in the memory of a device.
type Together interface {
	InProcess(rank int) bool // whether a rank is in this process
}

// Wrapper is an engine put round another one, by Options.Wrap for example. Abilities that only tell (Witness, TagLimiter, Together) are looked for
// through it; Lender is not, since a wrapper that does not lend wants to see the messages.
type Wrapper interface {
	Unwrap() Engine
}

// teller finds an ability that only tells.
func teller[A any](e Engine) (A, bool) {
	for {
		if a, ok := e.(A); ok {
			return a, true
		}
		w, ok := e.(Wrapper)
		if !ok {
			var none A
			return none, false
		}
		e = w.Unwrap()
	}
}
