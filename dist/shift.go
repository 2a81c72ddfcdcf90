package dist

import (
	"context"
	"fmt"
)

// Move is one step round the ring.
type Move struct {
	Kind    Kind // what travels, for ledger and errors
	Tensors int  // how many tensors are in the block, for the ledger
	Hop     int  // number of the hop, from 0; part of the tag, so it must be the same on both sides
	Step    int  // +1 sends to the next rank and receives from the previous one, -1 the other way round
}

// None in place of a member: nothing is sent, or nothing received.
const None = -1

// Exchange is a SendRecv: a message to one member of the group, and one from another (or the same). Either may be None.
type Exchange struct {
	Kind     Kind
	Tensors  int
	Hop      int
	To, From int
	Bytes    int64 // for the ledger, where the message only says where what it stands for lies; 0 is those of the message
}

// Pending is a started exchange.
type Pending[T Number] struct {
	c              *Comm
	sent, received transfer // without a handle where there is none
	block          []T
	loan           Loan // the engine provides the block
	done           bool
	err            error
}

// Shift starts sending b to rank+Step and receiving recvLen elements from rank-Step (lengths may differ; empty blocks travel too).
//
// From Shift on b must never be written again by the sender: on engines that lend, it is the receiver's memory. The sender may go
// on reading b if the receivers do not write what they get (blocks of K and V); if they do (dK and dV on their way), it lets go.
// A ring of one returns b itself and counts nothing.
func Shift[T Number](c *Comm, m Move, b []T, recvLen int) *Pending[T] {
	n := c.Size()
	to, from := wrap(c.me+m.Step, n), wrap(c.me-m.Step, n)
	return SendRecv(c, Exchange{Kind: m.Kind, Tensors: m.Tensors, Hop: m.Hop, To: to, From: from}, b, recvLen)
}

// SendRecv starts sending b to one member and receiving recvLen elements from another, under the rules of Shift. Where To is None b
// is ignored, where From is None recvLen is, and Wait gives no block, once the send has ended. Only a send counts as a hop.
func SendRecv[T Number](c *Comm, x Exchange, b []T, recvLen int) *Pending[T] {
	p := &Pending[T]{c: c}
	for _, m := range []int{x.To, x.From} {
		if m == None {
			continue
		}
		if err := c.checkMembers(m); err != nil {
			p.done, p.err = true, err
			return p
		}
	}
	label := Error{Kind: x.Kind, Hop: x.Hop, Tag: c.tag(x.Kind.slot(), x.Hop)}
	if x.To == c.me && x.From == c.me {
		return p.toSelf(c.label(label, c.me), b, recvLen)
	}
	return p.start(x, label, b, recvLen)
}

// start begins the two halves, or the one that is not None. The receive comes first, so that no engine has to buffer.
func (p *Pending[T]) start(x Exchange, label Error, b []T, recvLen int) *Pending[T] {
	if x.From != None {
		p.receive(p.c.label(label, x.From), recvLen)
	}
	if x.To != None {
		n := x.Bytes
		if n == 0 {
			n = int64(len(bytesOf(b)))
		}
		p.c.ledger.add(x.Kind, Entry{Hops: 1, Tensors: x.Tensors, Bytes: n})
		p.sent = p.c.lend(bytesOf(b), p.c.label(label, x.To))
	}
	return p
}

// receive starts the received half.
func (p *Pending[T]) receive(label Error, n int) {
	if lender, ok := p.c.engine.(Lender); ok {
		label.Op = "receive"
		p.loan = lender.Borrow(n*sizeOf[T](), label.Peer, label.Tag)
		p.received = transfer{p.loan, label}
		return
	}
	p.block = make([]T, n)
	p.received = p.c.irecv(bytesOf(p.block), label)
}

// toSelf ends at once.
func (p *Pending[T]) toSelf(label Error, b []T, recvLen int) *Pending[T] {
	p.block, p.done = b, true
	if len(b) != recvLen {
		label.Op = "receive"
		label.Err = fmt.Errorf("%w: %d elements sent, %d wanted", ErrSize, len(b), recvLen)
		p.err = &label
	}
	return p
}

// Wait gives the block that arrived, once both directions have ended. It may be called again and gives the same.
func (p *Pending[T]) Wait(ctx context.Context) ([]T, error) {
	if !p.done {
		p.done = true
		p.err = p.c.wait(ctx, p.halves()...)
		if p.loan != nil && p.err == nil {
			p.block = numbersOf[T](p.loan.Bytes())
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.block, nil
}

// halves are those that were started.
func (p *Pending[T]) halves() []transfer {
	var ts []transfer
	for _, t := range []transfer{p.received, p.sent} {
		if t.handle != nil {
			ts = append(ts, t)
		}
	}
	return ts
}

// checkMembers refuses ranks that the group does not have.
func (c *Comm) checkMembers(members ...int) error {
	for _, m := range members {
		if m < 0 || m >= c.Size() {
			return fmt.Errorf("dist: rank %d is not in a group of %d: use 0 to %d", m, c.Size(), c.Size()-1)
		}
	}
	return nil
}

func wrap(rank, size int) int { return ((rank % size) + size) % size }
