package ring

import (
	"context"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/ringattn/internal/seam"
)

// tour is one pass round the ring: every rank's block goes to the ranks that need it, and what it gathers there comes home. All four
// passes are tours:
//
//	            travels              is gathered      stays
//	forward     K, V                                  O, m, l of the local queries
//	backward    K, V                 dK, dV           dQ
//	forward     Q                    O, m, l          K, V          where queries travel
//	backward    Q, dO, lse, delta    dQ               dK, dV
//
// A rank sends a block on before it works on it, receives the next one meanwhile, and adds its share to the sum that the ranks before
// have gathered: every transfer but the first and the last is hidden behind work on a block, and those behind before and after.
//
// A message is a block's elements or, where blocks lie in the memory of devices, the number of a block.
type tour[M dist.Number] struct {
	traveller
	transfer      transfer[M]
	pass          pass
	numbered      bool                                    // messages are numbers of blocks
	before, after func()                                  // the own block, in two parts
	work          func(block []M, source int) (share []M) // a foreign block
	merge         func(share, sum []M, source int)
	home          func(sum []M)
	failed        func() error // what a device has to say; nil where nothing can fail
	sent          []seam.Pending[M]
}

// traveller is a rank of a ring inside a communicator.
type traveller struct {
	comm  *dist.Comm
	rank  int   // in the ring
	place place // of the ring among the members of comm
}

// place says which members of a communicator make a ring: first, first+stride, ...
type place struct{ first, stride int }

// member is the ring's rank r in the communicator.
func (t traveller) member(rank int) int { return t.place.first + rank*t.place.stride }

// transfer starts an exchange; sendRecv but in tests.
type transfer[M dist.Number] func(c *dist.Comm, x dist.Exchange, b []M, recvLen int) seam.Pending[M]

func sendRecv[M dist.Number](c *dist.Comm, x dist.Exchange, b []M, recvLen int) seam.Pending[M] {
	return dist.SendRecv(c, x, b, recvLen)
}

// walk makes the tour with this rank's own block. What is sent must not be written to any more; a sum that arrives is the receiver's.
func (t *tour[M]) walk(ctx context.Context, own []M) error {
	visits := t.pass.visits[t.rank]
	if err := t.check(); err != nil {
		return err
	}
	t.sendOn(own, visit{t.rank, -1})
	next := t.receive(visits, 0)
	t.before()
	for i, v := range visits {
		block, err := next.Wait(ctx)
		if err != nil {
			return err
		}
		t.sendOn(block, v)
		next = t.receive(visits, i+1)
		sum := t.receiveSum(v)
		share := t.work(block, v.source)
		if err := t.check(); err != nil {
			return err
		}
		if err := t.passOn(ctx, v, share, sum); err != nil {
			return err
		}
	}
	gathered := t.receiveSum(visit{t.rank, len(t.pass.stops[t.rank])})
	t.after()
	if gathered != nil {
		sum, err := gathered.Wait(ctx)
		if err != nil {
			return err
		}
		t.home(sum)
	}
	for _, p := range t.sent {
		if _, err := p.Wait(ctx); err != nil {
			return err
		}
	}
	return t.check()
}

// check returns the error of the device, so that nothing goes on that is made of less than was asked for.
func (t *tour[M]) check() error {
	if t.failed == nil {
		return nil
	}
	return t.failed()
}

// sendOn sends a block to the stops that get it from this one.
func (t *tour[M]) sendOn(block []M, v visit) {
	for _, s := range t.pass.stops[v.source] {
		if s.parent == v.index {
			t.send(t.pass.block, v.source, dist.Exchange{Hop: s.step, To: s.rank, From: dist.None}, block)
		}
	}
}

// receive starts to receive the block of a visit, if there is such a visit.
func (t *tour[M]) receive(visits []visit, i int) seam.Pending[M] {
	if i >= len(visits) {
		return nil
	}
	v := visits[i]
	s := t.pass.at(v)
	from := v.source
	if s.parent >= 0 {
		from = t.pass.stops[v.source][s.parent].rank
	}
	return t.exchange(t.pass.block, v.source, dist.Exchange{Hop: s.step, To: dist.None, From: from}, nil)
}

// receiveSum starts to receive what the stops before a visit have gathered, if there are any; the last visit is that at home.
func (t *tour[M]) receiveSum(v visit) seam.Pending[M] {
	if t.pass.sum.kind == "" || v.index == 0 {
		return nil
	}
	before := t.pass.stops[v.source][v.index-1]
	return t.exchange(t.pass.sum, v.source, dist.Exchange{Hop: before.step, To: dist.None, From: before.rank}, nil)
}

// passOn adds what the stops before have gathered to the share of this one, and sends it to the next or home.
func (t *tour[M]) passOn(ctx context.Context, v visit, share []M, sum seam.Pending[M]) error {
	if t.pass.sum.kind == "" {
		return nil
	}
	if sum != nil {
		gathered, err := sum.Wait(ctx)
		if err != nil {
			return err
		}
		t.merge(share, gathered, v.source)
	}
	to, stops := v.source, t.pass.stops[v.source]
	if v.index+1 < len(stops) {
		to = stops[v.index+1].rank
	}
	t.send(t.pass.sum, v.source, dist.Exchange{Hop: stops[v.index].step, To: to, From: dist.None}, share)
	return nil
}

func (t *tour[M]) send(c cargo, source int, x dist.Exchange, message []M) {
	t.sent = append(t.sent, t.exchange(c, source, x, message))
}

// exchange starts a transfer of a source's cargo between this rank and another of the ring; x has the hop and their ranks.
func (t *tour[M]) exchange(c cargo, source int, x dist.Exchange, message []M) seam.Pending[M] {
	n := c.length(source)
	if t.numbered {
		x.Bytes, n = int64(n)*deviceElement, 1
	}
	x.Kind, x.Tensors = t.pass.kind(c.kind, t.rank, max(x.To, x.From)), c.tensors
	for _, rank := range []*int{&x.To, &x.From} {
		if *rank != dist.None {
			*rank = t.member(*rank)
		}
	}
	return t.transfer(t.comm, x, message, n)
}

// deviceElement is the size of an element of the plan in the memory of devices, in bytes.
const deviceElement = 4
