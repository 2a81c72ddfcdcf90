// Package local is the engine whose ranks are goroutines of one process.
//
// It is synchronous: a send ends when it is received, so a program that relies on buffering hangs here as well, and testing/synctest
// sees it at once. It lends: what Shift sends is handed over without a copy. And it is a witness: the watchdog finds the rank
// that all others wait for.
//
// Run is the usual way in: it starts the ranks, and gives back the first cause if one of them fails.
package local

import (
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
)

// Engine is one rank's side of a world.
type Engine struct {
	world *world
	rank  int
}

var (
	_ dist.Engine   = (*Engine)(nil)
	_ dist.Lender   = (*Engine)(nil)
	_ dist.Witness  = (*Engine)(nil)
	_ dist.Together = (*Engine)(nil)
)

// NewWorld joins n (>= 1) engines in memory, one for each rank.
func NewWorld(n int) []dist.Engine {
	var engines []dist.Engine
	for _, e := range NewPart(n, 0, n, nil).Engines() {
		engines = append(engines, e)
	}
	return engines
}

// Rank is the own number.
func (e *Engine) Rank() int { return e.rank }

// Size is the number of ranks.
func (e *Engine) Size() int { return e.world.size }

// InProcess is true for the ranks that are goroutines here.
func (e *Engine) InProcess(rank int) bool { return e.world.here(rank) }

// Isend starts sending b. It ends when the peer has received it.
func (e *Engine) Isend(b []byte, to, tag int) dist.Handle {
	return e.start(&transfer{route: route{e.rank, to, tag}, sending: true, buf: b, size: len(b)})
}

// Irecv starts receiving into b.
func (e *Engine) Irecv(b []byte, from, tag int) dist.Handle {
	return e.start(&transfer{route: route{from, e.rank, tag}, buf: b, size: len(b)})
}

// Lend starts handing b itself over.
func (e *Engine) Lend(b []byte, to, tag int) dist.Handle {
	return e.start(&transfer{route: route{e.rank, to, tag}, sending: true, buf: b, size: len(b), byLoan: true})
}

// Borrow starts receiving the sender's memory.
func (e *Engine) Borrow(size, from, tag int) dist.Loan {
	return e.start(&transfer{route: route{from, e.rank, tag}, size: size, byLoan: true})
}

// Abort frees everybody here with dist.Aborted(cause).
func (e *Engine) Abort(cause error) { e.world.abort(cause) }

// Close leaves: peers that wait for this rank, now or later, get dist.ErrPeerLost.
func (e *Engine) Close() error {
	e.world.leave(e.rank)
	return nil
}

// Waits lists what the ranks of the world are blocked on.
func (e *Engine) Waits() []dist.Waiting { return e.world.waits() }

func (e *Engine) start(t *transfer) *transfer {
	t.world, t.done = e.world, make(chan struct{})
	if peer := t.peer(); peer < 0 || peer >= e.world.size {
		t.finish(fmt.Errorf("rank %d does not exist in a world of %d", peer, e.world.size))
		return t
	}
	if e.world.here(t.peer()) {
		e.world.post(t)
	} else {
		e.world.postFar(t)
	}
	return t
}
