//go:build ringcuda && cgo

package nccl

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/ringgrad/ringgrad/dist"
)

// engine is one rank.
type engine struct {
	cpu      dist.Engine
	library  *library
	device   *device
	smallest int // bytes of a message that takes NCCL
	out, in  *porter

	life context.Context // ends with Close
	end  context.CancelCauseFunc

	mu         sync.Mutex
	closed     bool
	peers      map[int]*peer  // those with whom big messages were exchanged
	ids        uint64         // of big messages that were sent
	background sync.WaitGroup // waits on the CPU engine

	leave    sync.Once
	closeErr error
}

var (
	_ dist.Engine     = (*engine)(nil)
	_ dist.TagLimiter = (*engine)(nil)
	_ dist.Together   = (*engine)(nil)
)

// Rank is the own number.
func (e *engine) Rank() int { return e.cpu.Rank() }

// Size is the number of ranks.
func (e *engine) Size() int { return e.cpu.Size() }

// MaxTag leaves the highest tags of the CPU engine to us.
func (e *engine) MaxTag() int { return highestTag(e.cpu) - ownTags }

func (e *engine) ownTag(tag int) int { return e.MaxTag() + 1 + tag }

func highestTag(e dist.Engine) int {
	if l, ok := find[dist.TagLimiter](e); ok {
		return l.MaxTag()
	}
	return math.MaxInt32
}

// InProcess is what the CPU engine says.
func (e *engine) InProcess(rank int) bool {
	t, ok := find[dist.Together](e.cpu)
	return ok && t.InProcess(rank)
}

// find looks for an ability through wrappers.
func find[A any](e dist.Engine) (A, bool) {
	for {
		if a, ok := e.(A); ok {
			return a, true
		}
		w, ok := e.(dist.Wrapper)
		if !ok {
			var none A
			return none, false
		}
		e = w.Unwrap()
	}
}

// Isend starts sending b. A big message ends when the peer has received it, a small one when the CPU engine says so.
func (e *engine) Isend(b []byte, to, tag int) dist.Handle {
	switch {
	case tag < 0 || tag > e.MaxTag():
		return e.refusal(tag)
	case e.takesCPU(to, b):
		return e.sendSmall(b, to, tag)
	}
	return e.sendBig(b, to, tag)
}

// Irecv starts receiving into b.
func (e *engine) Irecv(b []byte, from, tag int) dist.Handle {
	switch {
	case tag < 0 || tag > e.MaxTag():
		return e.refusal(tag)
	case e.takesCPU(from, b):
		return e.receiveSmall(b, from, tag)
	}
	return e.receiveBig(b, from, tag)
}

// takesCPU is the same on both sides of a message, if they agree on its size. NCCL has no way from a rank to itself.
func (e *engine) takesCPU(peer int, b []byte) bool {
	return len(b) < e.smallest || peer == e.Rank() || peer < 0 || peer >= e.Size()
}

func (e *engine) refusal(tag int) dist.Handle {
	return failed{fmt.Errorf("nccl: tag %d: give 0 to %d", tag, e.MaxTag())}
}

// failed is a transfer that could not start.
type failed struct{ err error }

// Wait returns why.
func (f failed) Wait(context.Context) error { return f.err }

// Abort ends the job; the CPU engine tells all ranks.
func (e *engine) Abort(cause error) { e.cpu.Abort(cause) }

// Close leaves the job on the CPU engine, aborts what is under way, and gives back what the device has lent.
func (e *engine) Close() error {
	e.leave.Do(func() { e.closeErr = errors.Join(e.cpu.Close(), e.stop()) })
	return e.closeErr
}

// stop ends all but the CPU engine.
func (e *engine) stop() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.end(dist.ErrClosed)
	e.background.Wait()
	stopped := errors.Join(e.out.stop(), e.in.stop())
	if e.device == nil {
		return stopped
	}
	return errors.Join(stopped, e.device.close())
}

// after calls then with the outcome of a transfer of the CPU engine, in a goroutine that ends with the engine.
func (e *engine) after(h dist.Handle, then func(error)) {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		then(dist.ErrClosed)
		return
	}
	defer e.mu.Unlock()
	e.background.Go(func() { then(e.why(h.Wait(e.life))) })
}

// why is the reason of an error of the CPU engine: after the own Close that is ErrClosed, whoever noticed first.
func (e *engine) why(err error) error {
	if err != nil && e.life.Err() != nil && !errors.Is(err, dist.ErrAborted) {
		return dist.ErrClosed
	}
	return err
}

// sized takes the CPU engine's numbers out of an error, since they are of what it carried and not of the message.
func sized(err error, own int) error {
	if errors.Is(err, dist.ErrSize) && !errors.Is(err, dist.ErrAborted) {
		return fmt.Errorf("%w: it is of %d bytes here", dist.ErrSize, own)
	}
	return err
}
