//go:build ringcuda && cgo

package nccl

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// porter moves the big messages of one direction, one after the other, in a thread and a stream of its own. All that the device and NCCL
// are asked for is asked there.
type porter struct {
	e       *engine
	jobs    chan *transfer
	started chan error
	ended   chan error

	stream stream
	slots  [depth]slot
	lanes  map[*peer]communicator
}

// newPorter returns when the porter has what it needs, or with the reason why not; stop it in either case.
func (e *engine) newPorter() (*porter, error) {
	p := &porter{
		e: e, jobs: make(chan *transfer), started: make(chan error), ended: make(chan error, 1),
		stream: stream{d: e.device}, lanes: map[*peer]communicator{},
	}
	go p.run()
	return p, <-p.started
}

// carry waits until the porter takes a transfer that both sides have agreed on.
func (p *porter) carry(t *transfer) {
	select {
	case p.jobs <- t:
		return
	case <-t.p.gone:
	case <-p.e.life.Done():
	}
	p.handBack(t, p.interruption(t.p))
}

// stop waits for the end of the thread, which the end of the engine's life brings.
func (p *porter) stop() error {
	if p == nil {
		return nil
	}
	return <-p.ended
}

func (p *porter) run() {
	runtime.LockOSThread() // for good: the thread, whose device is set, ends with the goroutine
	err := p.setUp()
	p.started <- err
	for {
		select {
		case t := <-p.jobs:
			p.job(t)
		case <-p.e.life.Done():
			p.ended <- p.tearDown()
			return
		}
	}
}

func (p *porter) setUp() (err error) {
	d := p.e.device
	if err := d.bind(); err != nil {
		return err
	}
	if p.stream, err = d.newStream(); err != nil {
		return err
	}
	for i := range p.slots {
		if p.slots[i], err = d.newSlot(chunk); err != nil {
			return err
		}
	}
	return nil
}

func (p *porter) tearDown() error {
	errs := []error{p.e.device.bind()}
	for with := range p.lanes {
		errs = append(errs, p.drop(with))
	}
	if p.stream.s != nil && !p.drained() {
		return errors.Join(append(errs, fmt.Errorf("nccl: rank %d: the device is still busy with a message: its memory is not given back", p.e.Rank()))...)
	}
	for _, s := range p.slots {
		errs = append(errs, p.e.device.free(s))
	}
	return errors.Join(append(errs, p.stream.destroy())...)
}

// job moves one message. A failure that the peer or the job's end explains ends the transfer, any other the job.
func (p *porter) job(t *transfer) {
	err := p.move(t)
	if err == nil {
		p.handBack(t, nil)
		return
	}
	reason := p.explanation(t.p)
	dropped := p.drop(t.p)
	if reason != nil {
		p.handBack(t, reason)
		return
	}
	err = fmt.Errorf("nccl: %v: %w", t, errors.Join(err, dropped))
	t.p.lose(err) // its lane is gone, and the abort has yet to come round
	t.finish(err)
	p.e.cpu.Abort(err)
	p.handBack(t, err)
}

// handBack ends a receive, and tells the sender that it has ended well. A send ends by that word.
func (p *porter) handBack(t *transfer, err error) {
	if t.sending {
		t.p.handBack(t)
		return
	}
	if err == nil {
		id := binary.LittleEndian.AppendUint64(nil, t.id)
		p.tell(t.p, doneTag, id)
	}
	t.finish(err)
}

// tell sends a word of our own to a peer.
func (p *porter) tell(to *peer, tag int, b []byte) {
	p.e.after(p.e.cpu.Isend(b, to.rank, p.e.ownTag(tag)), func(err error) {
		if err != nil {
			to.lose(err)
		}
	})
}

// move carries a message over the lane between the two ranks, which is made if it is the first.
func (p *porter) move(t *transfer) error {
	if err := p.interruption(t.p); err != nil {
		return err
	}
	if err := p.e.device.bind(); err != nil {
		return err
	}
	if t.sending && t.answer.fresh {
		if err := p.join(t.p, t.answer.unique, senderRank); err != nil {
			return err
		}
	}
	if !t.sending {
		if err := p.grant(t); err != nil {
			return err
		}
	}
	return p.copy(t, p.lanes[t.p])
}

// grant tells the sender that its turn has come.
func (p *porter) grant(t *transfer) (err error) {
	a := answer{id: t.id, granted: true, wanted: len(t.b)}
	if _, joined := p.lanes[t.p]; !joined {
		if a.unique, err = p.e.library.uniqueID(); err != nil {
			return err
		}
		a.fresh = true
	}
	p.tell(t.p, answerTag, a.write())
	if a.fresh {
		return p.join(t.p, a.unique, receiverRank)
	}
	return nil
}

// join makes the lane to a peer, together with it.
func (p *porter) join(with *peer, id uniqueID, rank int) error {
	c, err := p.e.library.begin(id, rank)
	if c.c != nil {
		p.lanes[with] = c
	}
	if err != nil {
		return err
	}
	return p.settle(c, with)
}

// drop aborts the lane to a peer, and with it what is under way there.
func (p *porter) drop(with *peer) error {
	c, ok := p.lanes[with]
	if !ok {
		return nil
	}
	delete(p.lanes, with)
	err := c.abort()
	p.drained()
	return err
}

// drained waits for the end of the work on the device, which an abort brings, and tells whether it came.
func (p *porter) drained() bool {
	const patience = 10 * time.Second
	var w wait
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); w.pause() {
		if idle, err := p.stream.idle(); idle || err != nil { // a device that has failed does no work
			return true
		}
	}
	return false
}

// interruption is why a transfer with a peer is to be given up, if it is.
func (p *porter) interruption(with *peer) error {
	select {
	case <-with.gone:
		return with.reason()
	case <-p.e.life.Done():
		return context.Cause(p.e.life)
	default:
		return nil
	}
}

// explanation waits a moment for an interruption: an error of NCCL is often the echo of a peer that left or failed, and that is told
// by the CPU engine.
func (p *porter) explanation(with *peer) error {
	const moment = 300 * time.Millisecond
	select {
	case <-with.gone:
	case <-p.e.life.Done():
	case <-time.After(moment):
	}
	return p.interruption(with)
}

// wait is the pause between two looks at something that ends soon.
type wait struct{ looks int }

func (w *wait) pause() {
	const busy, longest = 32, 200 * time.Microsecond
	w.looks++
	if w.looks <= busy {
		runtime.Gosched()
		return
	}
	time.Sleep(min(time.Duration(w.looks-busy)*time.Microsecond, longest))
}
