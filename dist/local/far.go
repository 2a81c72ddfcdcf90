package local

import (
	"context"
	"slices"

	"github.com/ringgrad/ringgrad/dist"
)

// pair is a rank here and one elsewhere.
type pair struct{ rank, peer int }

// traffic is what a pair exchanges.
type traffic struct {
	pending []*transfer // neither complete nor given up
	done    Totals      // complete, as the rank here sees it
	left    bool        // the peer has left,
	final   Totals      // having exchanged so much, as it saw it
}

// over reports whether nothing more of a transfer's direction will come from, or be taken by, a peer that has left. Messages of which
// the peer knew when it left count as on their way.
func (f *traffic) over(sending bool) bool {
	if sending {
		return f.left && f.done.Sent >= f.final.Received
	}
	return f.left && f.done.Received >= f.final.Sent
}

// postFar starts a transfer with a rank elsewhere. A goroutine waits for the carrier, so that to whoever waits for the transfer it is like
// one between neighbours.
func (w *world) postFar(t *transfer) {
	w.mu.Lock()
	if err := w.refusalLocked(t); err != nil {
		w.mu.Unlock()
		t.finish(err)
		return
	}
	f := w.trafficLocked(pair{t.rank(), t.peer()})
	if f.over(t.sending) {
		w.mu.Unlock()
		t.finish(lost(t.peer()))
		return
	}
	w.forgiveLocked(t.rank())
	f.pending = append(f.pending, t)
	if !t.sending && t.byLoan {
		t.buf = aligned(t.size)
	}
	h := w.carry(t) // under the lock, so that messages of a pair start in order
	w.mu.Unlock()
	go func() { w.arrived(t, h.Wait(context.Background())) }()
}

// carry gives a transfer to the carrier, which never blocks.
func (w *world) carry(t *transfer) dist.Handle {
	if t.sending {
		return w.carrier.Isend(t.buf, t.from, t.to, t.tag)
	}
	return w.carrier.Irecv(t.buf, t.from, t.to, t.tag)
}

func (w *world) trafficLocked(p pair) *traffic {
	f := w.far[p]
	if f == nil {
		f = &traffic{}
		w.far[p] = f
	}
	return f
}

// arrived ends a transfer that the carrier has ended, unless it was given up before.
func (w *world) arrived(t *transfer, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.trafficLocked(pair{t.rank(), t.peer()})
	i := slices.Index(f.pending, t)
	if i < 0 {
		return
	}
	f.pending = slices.Delete(f.pending, i, i+1)
	switch {
	case err != nil:
	case t.sending:
		f.done.Sent++
	default:
		f.done.Received++
	}
	t.met = true
	t.finish(err)
	f.settle(t.peer())
}

// settle ends what a peer that has left will not answer any more.
func (f *traffic) settle(peer int) {
	f.pending = slices.DeleteFunc(f.pending, func(t *transfer) bool {
		if !f.over(t.sending) {
			return false
		}
		t.met = true
		t.finish(lost(peer))
		return true
	})
}

func (w *world) exchanged(p pair) Totals {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.trafficLocked(p).done
}

func (w *world) leftFar(p pair, of Totals) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.trafficLocked(p)
	f.left, f.final = true, of
	f.settle(p.peer)
}

// leaveFarLocked ends what a rank here that leaves has started with ranks elsewhere.
func (w *world) leaveFarLocked(rank int) {
	for p, f := range w.far {
		if p.rank != rank {
			continue
		}
		for _, t := range f.pending {
			t.met = true
			t.finish(dist.ErrClosed)
		}
		f.pending = nil
	}
}
