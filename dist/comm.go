package dist

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Options of a Comm; the zero value is usable.
type Options struct {
	// Timeout is the watchdog: a rank blocked for longer in one operation names the late rank and aborts the job. 0 is none. Ten
	// times the slowest healthy step is a good choice.
	Timeout time.Duration
	// Wrap, if set, is put round the engine by New: faults, checksums, traces.
	Wrap func(Engine) Engine
}

// Comm is a group of ranks with a tag space of its own. All members make the same calls in the same order; one goroutine of a
// rank uses a Comm at a time, other groups may be used at the same time by others.
type Comm struct {
	engine  Engine
	timeout time.Duration
	ranks   []int // engine rank of every member
	me      int   // own place in ranks
	context int   // number of the group, see tag
	next    *int  // first context number that no group of this rank has used
	calls   int   // collective calls so far, part of their tags
	ledger  *Ledger
}

// New gives the group of all ranks of an engine. One per engine: a second one would have the same tags; use Split.
func New(e Engine, opts Options) *Comm {
	if opts.Wrap != nil {
		e = opts.Wrap(e)
	}
	ranks := make([]int, e.Size())
	for i := range ranks {
		ranks[i] = i
	}
	next := 1
	return &Comm{engine: e, timeout: opts.Timeout, ranks: ranks, me: e.Rank(), next: &next, ledger: &Ledger{}}
}

// Rank is the own number in the group, 0 to Size-1.
func (c *Comm) Rank() int { return c.me }

// Size is the number of members W.
func (c *Comm) Size() int { return len(c.ranks) }

// Ledger counts what this rank sends through this group.
func (c *Comm) Ledger() *Ledger { return c.ledger }

// InProcess reports whether all ranks of the group are in this process.
func (c *Comm) InProcess() bool {
	t, ok := teller[Together](c.engine)
	return ok && !slices.ContainsFunc(c.ranks, func(rank int) bool { return !t.InProcess(rank) })
}

// Abort ends the job of all ranks of the engine, members or not: what waits returns an error that wraps cause.
func (c *Comm) Abort(cause error) { c.engine.Abort(cause) }

// transfer is a started message and what an error of it will say.
type transfer struct {
	handle Handle
	label  Error
}

// label describes a message; peer is a member of the group.
func (c *Comm) label(l Error, peer int) Error {
	l.Rank, l.Peer = c.ranks[c.me], c.ranks[peer]
	return l
}

func (c *Comm) isend(b []byte, l Error) transfer {
	l.Op = "send"
	return transfer{c.engine.Isend(b, l.Peer, l.Tag), l}
}

func (c *Comm) irecv(b []byte, l Error) transfer {
	l.Op = "receive"
	return transfer{c.engine.Irecv(b, l.Peer, l.Tag), l}
}

// lend sends without a copy where the engine can.
func (c *Comm) lend(b []byte, l Error) transfer {
	lender, ok := c.engine.(Lender)
	if !ok {
		return c.isend(b, l)
	}
	l.Op = "send"
	return transfer{lender.Lend(b, l.Peer, l.Tag), l}
}

// wait ends when all transfers have, or with the first error. The time is booked as blocked.
func (c *Comm) wait(ctx context.Context, ts ...transfer) error {
	if len(ts) == 0 {
		return nil
	}
	start := time.Now()
	defer func() { c.ledger.add(ts[0].label.Kind, Entry{Wait: time.Since(start)}) }()
	if c.timeout > 0 {
		limited, stop := context.WithTimeoutCause(ctx, c.timeout, ErrTimeout)
		defer stop()
		ctx = limited
	}
	for _, t := range ts {
		if err := t.handle.Wait(ctx); err != nil {
			return c.explain(t.label, err)
		}
	}
	return nil
}

// explain makes the error of a transfer. A watchdog that fires ends the job: its buffers are lost.
func (c *Comm) explain(label Error, err error) error {
	label.Err = err
	if errors.Is(err, ErrTimeout) && !errors.Is(err, ErrAborted) {
		label.Err = c.blame(label)
		c.engine.Abort(&label)
	}
	return &label
}
