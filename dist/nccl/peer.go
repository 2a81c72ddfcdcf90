//go:build ringcuda && cgo

package nccl

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/dist"
)

// peer is what a rank knows of another one with which it exchanges big messages.
//
// A send is asked until the peer has answered, and under way from then until the word that all has arrived. For each of the two there is
// a receive on the CPU engine. Which send such a receive is for is only known when it ends; so when receives fail, because the
// peer has left, the sends that are left fail with the last of them: what arrived before counts.
type peer struct {
	e    *engine
	rank int
	gone chan struct{} // closed when nothing more will come of the peer; err says why

	mu       sync.Mutex
	err      error
	asked    sends
	underWay sends
}

// sends are those in one state, and the receives that are to take them out of it.
type sends struct {
	byID     map[uint64]*transfer
	receives int
}

// peerLocked makes the record of a peer at the first big message, and watches it from then on.
func (e *engine) peerLocked(rank int) *peer {
	if p := e.peers[rank]; p != nil {
		return p
	}
	p := &peer{e: e, rank: rank, gone: make(chan struct{})}
	p.asked.byID, p.underWay.byID = map[uint64]*transfer{}, map[uint64]*transfer{}
	e.peers[rank] = p
	farewell := e.cpu.Irecv(make([]byte, 1), rank, e.ownTag(farewellTag))
	e.background.Go(func() {
		err := farewell.Wait(e.life)
		if err == nil {
			err = errors.New("nccl: a message under a tag that is not used")
		}
		p.lose(e.why(err))
	})
	return p
}

// lose ends what the porters do with the peer.
func (p *peer) lose(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.gone)
	}
}

// reason is why the peer is gone.
func (p *peer) reason() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// ask sends the header of a message and waits for the answer.
func (p *peer) ask(t *transfer) {
	e, reply := p.e, make([]byte, answerBytes)
	p.enter(&p.asked, t)
	answered := e.cpu.Irecv(reply, p.rank, e.ownTag(answerTag))
	e.after(e.cpu.Isend(writeHeader(len(t.b), t.id), p.rank, t.tag), func(err error) {
		if err != nil && p.take(&p.asked, t.id) != nil {
			t.finish(sized(err, len(t.b)))
		}
	})
	e.after(answered, func(err error) {
		if err != nil {
			p.failed(&p.asked, err)
			return
		}
		p.answered(readAnswer(reply))
	})
}

// answered goes on with the send that an answer is for.
func (p *peer) answered(a answer) {
	t := p.taken(&p.asked, a.id)
	switch {
	case t == nil: // has failed meanwhile, and the peer hears of it as this rank did
	case !a.granted:
		t.finish(fmt.Errorf("%w: %d bytes sent, %d wanted", dist.ErrSize, len(t.b), a.wanted))
	default:
		t.answer, t.held = a, true
		p.awaitArrival(t)
		p.e.out.carry(t)
	}
}

// awaitArrival waits for the word that one of the sends has arrived.
func (p *peer) awaitArrival(t *transfer) {
	id := make([]byte, 8)
	p.enter(&p.underWay, t)
	p.e.after(p.e.cpu.Irecv(id, p.rank, p.e.ownTag(doneTag)), func(err error) {
		if err != nil {
			p.failed(&p.underWay, err)
		} else if t := p.taken(&p.underWay, binary.LittleEndian.Uint64(id)); t != nil {
			t.finish(nil)
		}
	})
}

func (p *peer) enter(s *sends, t *transfer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.byID[t.id] = t
	s.receives++
}

// take takes a send out of a state; nil if it is no longer there.
func (p *peer) take(s *sends, id uint64) *transfer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return s.takeLocked(id)
}

// taken does so by a receive that named it.
func (p *peer) taken(s *sends, id uint64) *transfer {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.receives--
	return s.takeLocked(id)
}

func (s *sends) takeLocked(id uint64) *transfer {
	t := s.byID[id]
	delete(s.byID, id)
	return t
}

// failed counts a receive that has failed. With the last one fail the sends that are left.
func (p *peer) failed(s *sends, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.receives--; s.receives > 0 {
		return
	}
	for id, t := range s.byID {
		delete(s.byID, id)
		if t.held {
			t.fate = err
			continue
		}
		t.finish(err)
	}
}

// handBack ends the hold of the porter on a send.
func (p *peer) handBack(t *transfer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.held = false
	if t.fate != nil {
		t.finish(t.fate)
	}
}
