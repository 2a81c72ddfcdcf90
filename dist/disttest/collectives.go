package disttest

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
)

var collectives = []testCase{
	onComm("shift brings every block to everybody and home", rotate),
	onComm("sendrecv swaps with the mirror rank", mirror),
	onComm("exchanges of one way bring a block down the line", line),
	onComm("alltoall transposes unequal parts", allToAll),
	onComm("allreduce adds in the order of the ranks", allReduce),
	onComm("allgather of unequal lengths", allGather),
	onComm("broadcast from every root", broadcast),
	onComm("barrier", func(ctx context.Context, c *dist.Comm) error {
		return errors.Join(dist.Barrier(ctx, c), dist.Barrier(ctx, c))
	}),
	onComm("any hears who says yes", anyYes),
	onComm("a step of training", step),
}

// anyYes asks who has each rank's number in turn, then who has one that nobody has.
func anyYes(ctx context.Context, c *dist.Comm) error {
	for number := range c.Size() + 1 {
		yes, err := dist.Any(ctx, c, c.Rank() == number)
		if err != nil {
			return err
		}
		if yes != (number < c.Size()) {
			return fmt.Errorf("rank %d hears %v of %d", c.Rank(), yes, number)
		}
	}
	return nil
}

// rotate goes round the ring both ways; blocks differ in length, and rank 1 has none.
func rotate(ctx context.Context, c *dist.Comm) error {
	return errors.Join(rotateOf[float32](ctx, c), rotateOf[float64](ctx, c), rotateOf[int32](ctx, c), rotateOf[int64](ctx, c), rotateOf[byte](ctx, c))
}

func rotateOf[T dist.Number](ctx context.Context, c *dist.Comm) error {
	length := func(rank int) int { return 3 * ((rank + c.Size() - 1) % c.Size()) }
	ways := []struct {
		kind   dist.Kind
		step   int
		source func(rank, step, size int) int
	}{{dist.ForwardKV, 1, shard.ForwardSource}, {dist.BackwardKV, -1, shard.BackwardSource}}
	for _, way := range ways {
		block := values[T](1, c.Rank(), length(c.Rank()))
		for hop := range c.Size() {
			source := way.source(c.Rank(), hop+1, c.Size())
			move := dist.Move{Kind: way.kind, Tensors: 1, Hop: hop, Step: way.step}
			var err error
			if block, err = dist.Shift(c, move, block, length(source)).Wait(ctx); err != nil {
				return err
			}
			if err := same(fmt.Sprintf("%s hop %d: block of rank %d", way.kind, hop, source), block, values[T](1, source, length(source))); err != nil {
				return err
			}
		}
	}
	return nil
}

func mirror(ctx context.Context, c *dist.Comm) error {
	peer := c.Size() - 1 - c.Rank()
	x := dist.Exchange{Kind: "swap", Tensors: 1, To: peer, From: peer}
	got, err := dist.SendRecv(c, x, values[float64](2, c.Rank(), 10+c.Rank()), 10+peer).Wait(ctx)
	if err != nil {
		return err
	}
	return same("block of the mirror rank", got, values[float64](2, peer, 10+peer))
}

// line sends from rank to rank without closing the ring: the first receives nothing, the last sends nothing.
func line(ctx context.Context, c *dist.Comm) error {
	x := dist.Exchange{Kind: dist.ForwardQ, Tensors: 1, To: c.Rank() + 1, From: c.Rank() - 1} // before rank 0 is None
	want := values[float32](5, c.Rank()-1, 4*c.Rank())
	if x.To == c.Size() {
		x.To = dist.None
	}
	if x.From == dist.None {
		want = nil
	}
	sent := values[float32](5, c.Rank(), 4*(c.Rank()+1))
	got, err := dist.SendRecv(c, x, sent, 4*c.Rank()).Wait(ctx)
	if err != nil {
		return err
	}
	hops := 1
	if x.To == dist.None {
		hops = 0
	}
	if e := c.Ledger().Snapshot()[dist.ForwardQ]; e.Hops != hops || e.Tensors != hops || e.Bytes != int64(16*(c.Rank()+1)*hops) {
		return fmt.Errorf("the ledger has %+v, want %d hops", e, hops)
	}
	return same("block of the rank before", got, want)
}

// allToAll goes twice, with another collective between; among the parts are empty ones.
func allToAll(ctx context.Context, c *dist.Comm) error {
	return errors.Join(allToAllOf[float32](ctx, c, 0), dist.Barrier(ctx, c), allToAllOf[int64](ctx, c, 1), allToAllOf[byte](ctx, c, 2))
}

func allToAllOf[T dist.Number](ctx context.Context, c *dist.Comm, seed int) error {
	part := func(from, to int) []T { return values[T](uint64(20+seed), 100*from+to, (3*from+to+seed)%5) }
	parts, lens := make([][]T, c.Size()), make([]int, c.Size())
	for m := range parts {
		parts[m], lens[m] = part(c.Rank(), m), len(part(m, c.Rank()))
	}
	all, err := dist.AllToAll(ctx, c, dist.Ulysses, parts, lens)
	if err != nil {
		return err
	}
	if len(all) != c.Size() {
		return fmt.Errorf("%d parts, want %d", len(all), c.Size())
	}
	for m, got := range all {
		if err := same(fmt.Sprintf("part of rank %d", m), got, part(m, c.Rank())); err != nil {
			return err
		}
	}
	return nil
}

func allReduce(ctx context.Context, c *dist.Comm) error {
	for i, n := range []int{0, 1, 2, c.Size() - 1, c.Size(), c.Size() + 1, 97, 1000} {
		seed := uint64(10 + i)
		err := errors.Join(reduceOf[float32](ctx, c, seed, n), reduceOf[float64](ctx, c, seed, n),
			reduceOf[int32](ctx, c, seed, n), reduceOf[int64](ctx, c, seed, n), reduceOf[byte](ctx, c, seed, n))
		if err != nil {
			return fmt.Errorf("%d elements: %w", n, err)
		}
	}
	return nil
}

func reduceOf[T dist.Number](ctx context.Context, c *dist.Comm, seed uint64, n int) error {
	b := values[T](seed, c.Rank(), n)
	if err := dist.AllReduce(ctx, c, b); err != nil {
		return err
	}
	return same(fmt.Sprintf("sum of %T", b), b, sum[T](seed, c.Size(), n))
}

func allGather(ctx context.Context, c *dist.Comm) error {
	length := func(rank int) int { return rank * rank % 7 }
	b := values[float32](3, c.Rank(), length(c.Rank()))
	all, err := dist.AllGather(ctx, c, b)
	if err != nil {
		return err
	}
	if len(all) != c.Size() {
		return fmt.Errorf("%d slices, want %d", len(all), c.Size())
	}
	clear(b) // the results are copies
	for rank, got := range all {
		if err := same(fmt.Sprintf("slice of rank %d", rank), got, values[float32](3, rank, length(rank))); err != nil {
			return err
		}
	}
	return nil
}

func broadcast(ctx context.Context, c *dist.Comm) error {
	for root := range c.Size() {
		for _, n := range []int{0, 1, 33} {
			b := values[int64](4, c.Rank(), n)
			if err := dist.Broadcast(ctx, c, b, root); err != nil {
				return err
			}
			if err := same(fmt.Sprintf("value of root %d", root), b, values[int64](4, root, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// step mixes all calls as training does, several times over, so that nothing of one round is taken for another's.
func step(ctx context.Context, c *dist.Comm) error {
	for round := range 5 {
		seed := uint64(100 + round)
		block := values[float32](seed, c.Rank(), 50)
		for hop := range c.Size() - 1 {
			var err error
			if block, err = dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Tensors: 2, Hop: hop, Step: 1}, block, 50).Wait(ctx); err != nil {
				return err
			}
		}
		last := shard.ForwardSource(c.Rank(), c.Size()-1, c.Size())
		if err := same("last block", block, values[float32](seed, last, 50)); err != nil {
			return err
		}
		if err := errors.Join(reduceOf[float32](ctx, c, seed, 31), broadcast(ctx, c), dist.Barrier(ctx, c)); err != nil {
			return err
		}
	}
	return nil
}
