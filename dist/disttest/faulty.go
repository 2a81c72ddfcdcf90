package disttest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ringgrad/ringgrad/dist"
)

// ErrInjected is the cause that Faults.AbortAt gives.
var ErrInjected = errors.New("disttest: injected fault")

// Faults says what goes wrong at one rank. Operations (sends and receives) and sends are counted from 1; 0 is never.
type Faults struct {
	Seed        uint64
	MaxDelay    time.Duration // every operation starts up to this late
	DropSend    int           // this send is lost, though it seems to end well
	CorruptSend int           // this send (or the next that is not empty) arrives with one bit changed
	AbortAt     int           // at this operation the job is aborted with ErrInjected
	DieAt       int           // this operation and all after it hang, and nobody is told
}

// Faulty puts faults round an engine. It lends if the engine does.
func Faulty(e dist.Engine, f Faults) dist.Engine {
	x := &faulty{Engine: e, faults: f, random: rand.New(rand.NewPCG(f.Seed, uint64(e.Rank())))}
	if lender, ok := e.(dist.Lender); ok {
		return &lendingFaulty{faulty: x, lender: lender}
	}
	return x
}

var (
	_ dist.Wrapper = (*faulty)(nil)
	_ dist.Lender  = (*lendingFaulty)(nil)
)

type faulty struct {
	dist.Engine
	faults Faults

	mu                sync.Mutex
	random            *rand.Rand
	operations, sends int
	corrupted         bool
}

// Unwrap gives the engine inside.
func (x *faulty) Unwrap() dist.Engine { return x.Engine }

// Isend starts a send, or what is left of it.
func (x *faulty) Isend(b []byte, to, tag int) dist.Handle {
	return x.send(b, func(b []byte) dist.Handle { return x.Engine.Isend(b, to, tag) })
}

// Irecv starts a receive.
func (x *faulty) Irecv(b []byte, from, tag int) dist.Handle {
	if x.begin() {
		return dead{}
	}
	return x.Engine.Irecv(b, from, tag)
}

// Abort is not heard from the dead.
func (x *faulty) Abort(cause error) {
	if !x.isDead() {
		x.Engine.Abort(cause)
	}
}

type lendingFaulty struct {
	*faulty
	lender dist.Lender
}

// Lend starts a send without a copy, or what is left of it.
func (x *lendingFaulty) Lend(b []byte, to, tag int) dist.Handle {
	return x.send(b, func(b []byte) dist.Handle { return x.lender.Lend(b, to, tag) })
}

// Borrow starts a receive.
func (x *lendingFaulty) Borrow(size, from, tag int) dist.Loan {
	if x.begin() {
		return dead{}
	}
	return x.lender.Borrow(size, from, tag)
}

// begin counts an operation, delays it, and says whether the rank is dead.
func (x *faulty) begin() bool {
	x.mu.Lock()
	x.operations++
	abort := x.operations == x.faults.AbortAt
	gone := x.deadLocked()
	var delay time.Duration
	if x.faults.MaxDelay > 0 {
		delay = time.Duration(x.random.Int64N(int64(x.faults.MaxDelay)))
	}
	x.mu.Unlock()
	if abort {
		x.Engine.Abort(ErrInjected)
	}
	time.Sleep(delay)
	return gone
}

func (x *faulty) deadLocked() bool {
	return x.faults.DieAt > 0 && x.operations >= x.faults.DieAt
}

func (x *faulty) isDead() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.deadLocked()
}

func (x *faulty) send(b []byte, start func([]byte) dist.Handle) dist.Handle {
	if x.begin() {
		return dead{}
	}
	x.mu.Lock()
	x.sends++
	drop := x.sends == x.faults.DropSend
	if at := x.faults.CorruptSend; at > 0 && x.sends >= at && !x.corrupted && len(b) > 0 {
		x.corrupted = true
		b = slices.Clone(b)
		b[x.random.IntN(len(b))] ^= 1 << x.random.IntN(8)
	}
	x.mu.Unlock()
	if drop {
		return ended{}
	}
	return start(b)
}

// dead is a transfer that never ends.
type dead struct{}

func (dead) Wait(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func (dead) Bytes() []byte { return nil }

// ended is a transfer that seems to have gone well.
type ended struct{}

func (ended) Wait(context.Context) error { return nil }
