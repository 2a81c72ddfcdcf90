//go:build mpi && cgo

package mpi

// #include "owner.h"
import "C"

import (
	"context"
	"fmt"
	"runtime"

	"github.com/ringgrad/ringgrad/dist"
)

// transfer is one side of a message.
type transfer struct {
	engine          *engine
	sending         bool
	peer, tag, size int
	pin             runtime.Pinner // holds the buffer until result

	done chan struct{} // closed when err is final
	err  error
}

var _ dist.Handle = (*transfer)(nil)

// Wait blocks until the message was moved, the world was aborted or closed, or ctx has ended.
func (t *transfer) Wait(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	default:
	}
	select {
	case <-t.done:
	case <-t.engine.dead:
	case <-ctx.Done():
	}
	return t.outcome(ctx)
}

// outcome prefers a message that was moved to an abort, and an abort to the end of a context, whatever woke the wait.
func (t *transfer) outcome(ctx context.Context) error {
	select {
	case <-t.done:
		return t.err
	default:
	}
	select {
	case <-t.engine.dead:
		return t.engine.end()
	default:
	}
	return context.Cause(ctx)
}

func (t *transfer) finish(err error) {
	t.pin.Unpin()
	t.err = err
	close(t.done)
}

// result is called by the reaper.
func (t *transfer) result(o *C.rg_order) { t.finish(t.failure(o)) }

func (t *transfer) failure(o *C.rg_order) error {
	switch o.outcome {
	case C.RG_OK:
		return nil
	case C.RG_CANCELLED:
		return t.engine.end()
	case C.RG_SIZE:
		return fmt.Errorf("%w: %d bytes sent, %d wanted", dist.ErrSize, o.got, t.size)
	}
	op := opReceive
	if t.sending {
		op = opSend
	}
	return &Error{Op: op, Rank: t.engine.rank, Peer: t.peer, Tag: t.tag, Class: int(o.class), Text: C.GoString(o.text), lost: o.outcome == C.RG_LOST}
}
