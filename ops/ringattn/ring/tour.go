package ring

import (
	"context"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
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
type tour[T kernel.Float] struct {
	run[T]
	pass          pass
	before, after func()                                  // the own block, in two parts
	work          func(block []T, source int) (share []T) // a foreign block
	merge         func(share, sum []T, source int)
	home          func(sum []T)
	sent          []seam.Pending[T]
}

// walk makes the tour with this rank's own block. What is sent must not be written to any more; a sum that arrives is the receiver's.
func (t *tour[T]) walk(ctx context.Context, own []T) error {
	visits := t.pass.visits[t.rank]
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
	return nil
}

// sendOn sends a block to the stops that get it from this one.
func (t *tour[T]) sendOn(block []T, v visit) {
	for _, s := range t.pass.stops[v.source] {
		if s.parent == v.index {
			t.send(t.pass.block, s.step, s.rank, block)
		}
	}
}

// receive starts to receive the block of a visit, if there is such a visit.
func (t *tour[T]) receive(visits []visit, i int) seam.Pending[T] {
	if i >= len(visits) {
		return nil
	}
	v := visits[i]
	s := t.pass.at(v)
	from := v.source
	if s.parent >= 0 {
		from = t.pass.stops[v.source][s.parent].rank
	}
	return t.exchange(t.pass.block, s.step, dist.None, from, nil, t.pass.block.length(v.source))
}

// receiveSum starts to receive what the stops before a visit have gathered, if there are any; the last visit is that at home.
func (t *tour[T]) receiveSum(v visit) seam.Pending[T] {
	if t.pass.sum.kind == "" || v.index == 0 {
		return nil
	}
	before := t.pass.stops[v.source][v.index-1]
	return t.exchange(t.pass.sum, before.step, dist.None, before.rank, nil, t.pass.sum.length(v.source))
}

// passOn adds what the stops before have gathered to the share of this one, and sends it to the next or home.
func (t *tour[T]) passOn(ctx context.Context, v visit, share []T, sum seam.Pending[T]) error {
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
	t.send(t.pass.sum, stops[v.index].step, to, share)
	return nil
}

func (t *tour[T]) send(c cargo, hop, to int, message []T) {
	t.sent = append(t.sent, t.exchange(c, hop, to, dist.None, message, 0))
}

// exchange starts a transfer between this rank and another of the ring.
func (t *tour[T]) exchange(c cargo, hop, to, from int, message []T, n int) seam.Pending[T] {
	x := dist.Exchange{Kind: t.pass.kind(c.kind, t.rank, max(to, from)), Tensors: c.tensors, Hop: hop, To: dist.None, From: dist.None}
	if to != dist.None {
		x.To = t.member(to)
	}
	if from != dist.None {
		x.From = t.member(from)
	}
	return t.transfer(t.comm, x, message, n)
}
