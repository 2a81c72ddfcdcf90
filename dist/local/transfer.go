package local

import (
	"context"
	"fmt"
	"time"
	"unsafe"

	"github.com/ringgrad/ringgrad/dist"
)

// route is what has to be equal for two halves to meet.
type route struct{ from, to, tag int }

// transfer is one half of a message: a send or a receive.
type transfer struct {
	route
	world   *world
	sending bool
	byLoan  bool   // Lend or Borrow
	buf     []byte // a Borrow has none until it is met
	size    int

	met     bool      // the other half is there; guarded by world.mu, like the next two
	givenUp bool      // its Wait ended with the context
	since   time.Time // when Wait began to block

	done chan struct{} // closed when err and buf are final
	err  error
}

var _ dist.Loan = (*transfer)(nil)

func (t *transfer) rank() int {
	if t.sending {
		return t.from
	}
	return t.to
}

func (t *transfer) peer() int {
	if t.sending {
		return t.to
	}
	return t.from
}

func (t *transfer) finish(err error) {
	t.err = err
	close(t.done)
}

// handOver moves the message of two halves that have met, and ends both.
func handOver(a, b *transfer) {
	sent, received := a, b
	if b.sending {
		sent, received = b, a
	}
	var err error
	switch {
	case sent.size != received.size:
		err = fmt.Errorf("%w: %d bytes sent, %d wanted", dist.ErrSize, sent.size, received.size)
	case sent.byLoan && received.byLoan:
		received.buf = sent.buf
	case received.byLoan:
		received.buf = aligned(sent.size)
		copy(received.buf, sent.buf)
	default:
		copy(received.buf, sent.buf)
	}
	sent.finish(err)
	received.finish(err)
}

// aligned makes n bytes that may be viewed as any number.
func aligned(n int) []byte {
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), n)
}

// Bytes is the message that a Borrow received.
func (t *transfer) Bytes() []byte { return t.buf }

// Wait blocks until the message was handed over, the job is aborted or ctx ends.
func (t *transfer) Wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	default:
	}
	t.world.block(t)
	select {
	case <-t.done:
	case <-t.world.dead:
	case <-ctx.Done():
	}
	return t.outcome(ctx)
}

// outcome prefers a message that arrived to an abort, and an abort to the end of a context, whatever woke the wait.
func (t *transfer) outcome(ctx context.Context) error {
	select {
	case <-t.done:
		t.world.unblock(t)
		return t.err
	default:
	}
	select {
	case <-t.world.dead:
		t.world.giveUp(t)
		return dist.Aborted(t.world.firstCause())
	default:
	}
	t.world.giveUp(t)
	return context.Cause(ctx)
}
