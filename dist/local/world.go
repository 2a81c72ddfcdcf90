package local

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ringgrad/ringgrad/dist"
)

// world is the meeting place of n ranks. Transfers wait in queues, one a route, until their other half comes.
type world struct {
	size        int
	first, next int // the ranks from first to next-1 are here; the carrier reaches the others
	carrier     Carrier
	dead        chan struct{} // closed by the first abort

	mu      sync.Mutex
	queues  map[route][]*transfer // halves of one direction, oldest first; never empty
	blocked [][]*transfer         // by rank: what goroutines of the rank are inside Wait for, or have given up on
	gone    []bool                // ranks that have left
	far     map[pair]*traffic     // with ranks elsewhere
	cause   error                 // the first one
	onAbort []func(error)         // called once, in this order, after dead is closed
}

func newWorld(n int) *world {
	return &world{
		size:    n,
		next:    n,
		dead:    make(chan struct{}),
		queues:  map[route][]*transfer{},
		far:     map[pair]*traffic{},
		blocked: make([][]*transfer, n),
		gone:    make([]bool, n),
	}
}

// here reports whether a rank is a goroutine of this process.
func (w *world) here(rank int) bool { return rank >= w.first && rank < w.next }

// post pairs t with the oldest half that waits for it, or queues it.
func (w *world) post(t *transfer) {
	w.mu.Lock()
	if err := w.refusalLocked(t); err != nil {
		w.mu.Unlock()
		t.finish(err)
		return
	}
	w.forgiveLocked(t.rank())
	queue := w.queues[t.route]
	if len(queue) == 0 || queue[0].sending == t.sending {
		w.queues[t.route] = append(queue, t)
		w.mu.Unlock()
		return
	}
	other := queue[0]
	w.dequeueLocked(t.route, queue[1:])
	t.met, other.met = true, true
	w.mu.Unlock()
	handOver(t, other) // bytes are copied outside the lock
}

func (w *world) dequeueLocked(r route, rest []*transfer) {
	if len(rest) == 0 {
		delete(w.queues, r)
		return
	}
	w.queues[r] = rest
}

// refusalLocked says why a transfer cannot start.
func (w *world) refusalLocked(t *transfer) error {
	switch {
	case w.cause != nil:
		return dist.Aborted(w.cause)
	case w.gone[t.rank()]:
		return dist.ErrClosed
	case w.gone[t.peer()]:
		return lost(t.peer())
	}
	return nil
}

func lost(rank int) error { return fmt.Errorf("%w: rank %d has left", dist.ErrPeerLost, rank) }

// leave fails what others have started with a rank, and what the rank itself has.
func (w *world) leave(rank int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone[rank] {
		return
	}
	w.gone[rank] = true
	w.leaveFarLocked(rank)
	for r, queue := range w.queues {
		if r.from != rank && r.to != rank {
			continue
		}
		for _, t := range queue {
			t.met = true
			if t.rank() == rank {
				t.finish(dist.ErrClosed)
			} else {
				t.finish(lost(rank))
			}
		}
		delete(w.queues, r)
	}
}

// abort frees all that wait. The first cause counts.
func (w *world) abort(cause error) {
	w.mu.Lock()
	if w.cause != nil {
		w.mu.Unlock()
		return
	}
	if cause == nil {
		cause = dist.ErrAborted
	}
	w.cause = cause
	close(w.dead)
	notify := w.onAbort
	w.mu.Unlock()
	for _, f := range notify {
		f(dist.Aborted(cause))
	}
}

func (w *world) firstCause() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// block and unblock frame a wait.
func (w *world) block(t *transfer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.since = time.Now()
	w.blocked[t.rank()] = append(w.blocked[t.rank()], t)
}

func (w *world) unblock(t *transfer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.blocked[t.rank()] = slices.DeleteFunc(w.blocked[t.rank()], func(o *transfer) bool { return o == t })
}

// giveUp keeps the mark of a wait that its context or an abort ended: ranks whose watchdogs fire in the same moment must still see
// the whole chain. The mark goes when the rank starts something new.
func (w *world) giveUp(t *transfer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.givenUp = true
}

func (w *world) forgiveLocked(rank int) {
	w.blocked[rank] = slices.DeleteFunc(w.blocked[rank], func(t *transfer) bool { return t.givenUp })
}

// waits lists the marks whose other half has not come.
func (w *world) waits() []dist.Waiting {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []dist.Waiting
	for rank, transfers := range w.blocked {
		for _, t := range transfers {
			if !t.met {
				list = append(list, dist.Waiting{Rank: rank, Peer: t.peer(), Tag: t.tag, Sending: t.sending, Since: t.since})
			}
		}
	}
	return list
}
