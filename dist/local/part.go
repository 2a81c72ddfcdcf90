package local

import "github.com/ringgrad/ringgrad/dist"

// Carrier moves messages between ranks here and ranks in other processes.
type Carrier interface {
	Isend(b []byte, from, to, tag int) dist.Handle
	Irecv(b []byte, from, to, tag int) dist.Handle
}

// Part is the ranks of a world that are in this process, some or all. Among them messages are handed over; to and from the others a
// Carrier moves them, and somebody must tell the part when those abort (Abort) or leave (Left). Package hosts does.
type Part struct{ world *world }

// NewPart makes the n (>= 1) ranks from first on of a world of size ranks. The carrier may be nil where that is all of them.
func NewPart(size, first, n int, carrier Carrier) *Part {
	w := newWorld(size)
	w.first, w.next, w.carrier = first, first+n, carrier
	return &Part{world: w}
}

// Engines are those of the ranks that are here, in their order.
func (p *Part) Engines() []*Engine {
	var engines []*Engine
	for rank := p.world.first; rank < p.world.next; rank++ {
		engines = append(engines, &Engine{world: p.world, rank: rank})
	}
	return engines
}

// Abort frees all that wait here.
func (p *Part) Abort(cause error) { p.world.abort(cause) }

// OnAbort adds a function that is called once when the part is aborted, by whomever, with an error that wraps the cause.
func (p *Part) OnAbort(f func(error)) {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	p.world.onAbort = append(p.world.onAbort, f)
}

// Cause is what the part was aborted with, nil if it was not.
func (p *Part) Cause() error { return p.world.firstCause() }

// Waits lists what the ranks here are blocked on.
func (p *Part) Waits() []dist.Waiting { return p.world.waits() }

// Totals is how many messages two ranks have exchanged in full: those that the first has sent, and those that it has received.
type Totals struct{ Sent, Received int }

// Exchanged is what a rank here has exchanged with one elsewhere.
func (p *Part) Exchanged(rank, peer int) Totals { return p.world.exchanged(pair{rank, peer}) }

// Left says that a rank elsewhere has left, after it had exchanged so much with a rank here. What of that is still on its way arrives;
// all else between the two ends with dist.ErrPeerLost.
func (p *Part) Left(peer, rank int, of Totals) { p.world.leftFar(pair{rank, peer}, of) }
