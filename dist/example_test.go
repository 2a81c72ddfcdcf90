package dist_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
)

// Blocks go round a ring of three; rank 0 tells what it meets.
func ExampleShift() {
	err := local.Run(context.Background(), 3, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		block := []float32{float32(10 * c.Rank())}
		for hop := range c.Size() - 1 {
			next := dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Tensors: 1, Hop: hop, Step: 1}, block, 1)
			// here the rank computes with block, and reads it only
			var err error
			if block, err = next.Wait(ctx); err != nil {
				return err
			}
			if c.Rank() == 0 {
				fmt.Println("hop", hop, "brings", block, "of rank", shard.ForwardSource(0, hop+1, c.Size()))
			}
		}
		if c.Rank() == 0 {
			sent := c.Ledger().Snapshot()[dist.ForwardKV]
			fmt.Println(sent.Hops, "hops,", sent.Bytes, "bytes sent")
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// hop 0 brings [20] of rank 2
	// hop 1 brings [10] of rank 1
	// 2 hops, 8 bytes sent
}

// A matrix of blocks is transposed: rank r gets the r-th part of everybody.
func ExampleAllToAll() {
	err := local.Run(context.Background(), 3, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		parts, lens := make([][]int32, 3), make([]int, 3)
		for m := range parts {
			parts[m], lens[m] = []int32{int32(10*c.Rank() + m)}, 1
		}
		all, err := dist.AllToAll(ctx, c, dist.Ulysses, parts, lens)
		if c.Rank() == 1 {
			fmt.Println(all)
		}
		return err
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: [[1] [11] [21]]
}

// The sum of what four ranks hold, on each of them.
func ExampleAllReduce() {
	var mu sync.Mutex
	sums := map[int][]float64{}
	err := local.Run(context.Background(), 4, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		b := []float64{1, float64(c.Rank())}
		if err := dist.AllReduce(ctx, c, b); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		sums[c.Rank()] = b
		return nil
	})
	fmt.Println(sums, err)
	// Output: map[0:[4 6] 1:[4 6] 2:[4 6] 3:[4 6]] <nil>
}

// A mesh of two data groups, each a ring of two.
func ExampleSplit() {
	err := local.Run(context.Background(), 4, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		ring, err := dist.Split(ctx, c, c.Rank()/2, c.Rank())
		if err != nil {
			return err
		}
		data, err := dist.Split(ctx, c, c.Rank()%2, c.Rank())
		if err != nil {
			return err
		}
		members, err := dist.AllGather(ctx, data, []int32{int32(c.Rank())})
		if c.Rank() == 3 {
			fmt.Println("rank 3 is rank", ring.Rank(), "of its ring; its data group is", members)
		}
		return err
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: rank 3 is rank 1 of its ring; its data group is [[1] [3]]
}
