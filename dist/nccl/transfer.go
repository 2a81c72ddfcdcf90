//go:build ringcuda && cgo

package nccl

import (
	"context"
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/dist"
)

// transfer is one side of a big message.
type transfer struct {
	e       *engine
	p       *peer
	b       []byte
	tag     int
	sending bool
	id      uint64 // given by the sender

	answer answer // to a send
	held   bool   // by the porter, which reads b; guarded by p.mu
	fate   error  // what a send has to end with when the porter lets go; guarded by p.mu

	once sync.Once
	done chan struct{} // closed when err is final
	err  error
}

// Wait ends with the message, or with ctx.
func (t *transfer) Wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	default:
	}
	select {
	case <-t.done:
		return t.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// finish ends a transfer, once.
func (t *transfer) finish(err error) {
	t.once.Do(func() {
		t.err = err
		close(t.done)
	})
}

// String is for errors.
func (t *transfer) String() string {
	what := "receive of %d bytes from rank %d, tag %d"
	if t.sending {
		what = "send of %d bytes to rank %d, tag %d"
	}
	return fmt.Sprintf("rank %d: "+what, t.e.Rank(), len(t.b), t.p.rank, t.tag)
}

// begin makes a transfer, which has failed already if the engine is closed.
func (e *engine) begin(t *transfer, with int) (ok bool) {
	t.e, t.done = e, make(chan struct{})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		t.finish(dist.ErrClosed)
		return false
	}
	t.p = e.peerLocked(with)
	if t.sending {
		e.ids++
		t.id = e.ids
	}
	return true
}

func (e *engine) sendBig(b []byte, to, tag int) dist.Handle {
	t := &transfer{b: b, tag: tag, sending: true}
	if e.begin(t, to) {
		t.p.ask(t)
	}
	return t
}

func (e *engine) receiveBig(b []byte, from, tag int) dist.Handle {
	t := &transfer{b: b, tag: tag}
	if !e.begin(t, from) {
		return t
	}
	head := make([]byte, headerBytes)
	e.after(e.cpu.Irecv(head, from, tag), func(err error) {
		switch size, id := readHeader(head); {
		case err != nil:
			t.finish(sized(err, len(b)))
		case head[0] != header:
			t.finish(fmt.Errorf("%w: %d bytes sent, %d wanted", dist.ErrSize, headerBytes-1, len(b)))
		case size != len(b):
			e.refuse(from, id, len(b))
			t.finish(fmt.Errorf("%w: %d bytes sent, %d wanted", dist.ErrSize, size, len(b)))
		default:
			t.id = id
			e.in.carry(t)
		}
	})
	return t
}

// refuse tells the sender of a big message that it is not of the size that is wanted.
func (e *engine) refuse(to int, id uint64, wanted int) {
	e.after(e.cpu.Isend(answer{id: id, wanted: wanted}.write(), to, e.ownTag(answerTag)), func(error) {})
}
