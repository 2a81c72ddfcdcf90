package hosts

import (
	"time"

	"github.com/ringgrad/ringgrad/dist"
)

// wait is a dist.Waiting on its way: clocks of hosts differ, so it says how long it has lasted.
type wait struct {
	Rank, Peer, Tag int
	Sending         bool
	For             time.Duration
}

func packWaits(list []dist.Waiting) []wait {
	var all []wait
	for _, w := range list {
		all = append(all, wait{w.Rank, w.Peer, w.Tag, w.Sending, time.Since(w.Since)})
	}
	return all
}

func (w wait) unpack() dist.Waiting {
	return dist.Waiting{Rank: w.Rank, Peer: w.Peer, Tag: w.Tag, Sending: w.Sending, Since: time.Now().Add(-w.For)}
}

// ask is a question to all processes.
type ask struct {
	missing int
	waits   []dist.Waiting
	done    chan struct{} // closed by the last answer
}

// ask collects what the ranks of other processes wait for. Those that do not answer in time wait for nobody, as far as one can tell.
func (w *World) ask() []dist.Waiting {
	a := &ask{missing: len(w.others()), done: make(chan struct{})}
	if a.missing == 0 {
		return nil
	}
	w.mu.Lock()
	w.asked++
	id := w.asked
	w.asks[id] = a
	w.mu.Unlock()
	w.tell(message{Kind: asking, Ask: id})
	w.awaitAll([]<-chan struct{}{a.done}, answers)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.asks, id)
	return a.waits
}

// answered takes one process's answer.
func (w *World) answered(m message) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.asks[m.Ask]
	if a == nil {
		return // too late
	}
	for _, x := range m.Waits {
		a.waits = append(a.waits, x.unpack())
	}
	if a.missing--; a.missing == 0 {
		close(a.done)
	}
}
