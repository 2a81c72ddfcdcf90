//go:build mpi && cgo

package mpi

// #include "owner.h"
import "C"

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/ringgrad/ringgrad/dist"
)

// maxMessage is how many bytes go in one MPI message, the same in all processes: MPI counts with an int. What is as long or longer travels in
// pieces under the same tag; the first that is shorter ends the message.
var maxMessage = 1 << 30

// engine is one process' side of a world.
type engine struct {
	process    *process
	world      C.int
	rank, size int
	dead       chan struct{} // closed by the first Abort or Close

	mu     sync.Mutex // held while an order of this world is given, so that none comes after the one to leave it
	cause  error      // of the first Abort
	closed bool
}

var (
	_ dist.Engine     = (*engine)(nil)
	_ dist.TagLimiter = (*engine)(nil)
)

func (e *engine) Rank() int   { return e.rank }
func (e *engine) Size() int   { return e.size }
func (e *engine) MaxTag() int { return e.process.maxTag }

// Isend ends when the peer has begun to receive, as package dist/hosts asks of its wire: no message is on its way that nobody knows of.
func (e *engine) Isend(b []byte, to, tag int) dist.Handle {
	return e.start(C.RG_SEND, b, to, tag)
}

// Irecv pins b until MPI is done with it, also where Wait was given up.
func (e *engine) Irecv(b []byte, from, tag int) dist.Handle {
	return e.start(C.RG_RECEIVE, b, from, tag)
}

func (e *engine) start(kind C.int, b []byte, peer, tag int) *transfer {
	t := &transfer{engine: e, sending: kind == C.RG_SEND, peer: peer, tag: tag, size: len(b), done: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.refusalLocked(peer, tag)
	if err == nil {
		order := C.rg_order{kind: kind, world: e.world, peer: C.int(peer), tag: C.int(tag), length: C.size_t(len(b)), limit: C.size_t(maxMessage)}
		if len(b) > 0 {
			order.buffer = unsafe.Pointer(unsafe.SliceData(b))
			t.pin.Pin(order.buffer) // does nothing to memory of C
		}
		err = e.process.give(order, t.result)
	}
	if err != nil {
		t.finish(err)
	}
	return t
}

// refusalLocked says why a transfer cannot start.
func (e *engine) refusalLocked(peer, tag int) error {
	switch {
	case e.cause != nil:
		return dist.Aborted(e.cause)
	case e.closed:
		return dist.ErrClosed
	case peer < 0 || peer >= e.size:
		return fmt.Errorf("mpi: rank %d does not exist in a world of %d", peer, e.size)
	case tag < 0 || tag > e.process.maxTag:
		return fmt.Errorf("mpi: tag %d is not one of 0 to %d, which %s has", tag, e.process.maxTag, e.process.library)
	}
	return nil
}

// Abort frees what waits in this process, now and later, with dist.Aborted(cause).
func (e *engine) Abort(cause error) {
	if cause == nil {
		cause = dist.ErrAborted
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause != nil || e.closed {
		return
	}
	e.cause = cause
	close(e.dead)
}

// Close leaves the world: pending and later operations return dist.ErrClosed. Receives are cancelled; sends get closePatience to end.
func (e *engine) Close() error {
	left := make(chan struct{})
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	if e.cause == nil {
		close(e.dead)
	}
	err := e.process.give(C.rg_order{kind: C.RG_LEAVE, world: e.world, patience: C.double(closePatience.Seconds())}, func(*C.rg_order) { close(left) })
	e.mu.Unlock()
	if err == nil {
		<-left
	}
	return nil
}

// end is what transfers that have not ended return once dead is closed.
func (e *engine) end() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause != nil {
		return dist.Aborted(e.cause)
	}
	return dist.ErrClosed
}
