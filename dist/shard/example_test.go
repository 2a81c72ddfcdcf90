package shard_test

import (
	"fmt"

	"github.com/ringgrad/ringgrad/dist/shard"
)

// Thirteen tokens on two ranks: nothing is padded.
func ExampleNew() {
	for _, layout := range shard.Layouts() {
		s, err := shard.New(layout, 13, 2)
		if err != nil {
			fmt.Println(err)
			return
		}
		for rank := range s.Ranks() {
			fmt.Println(layout, rank, s.Segments(rank))
		}
	}
	// Output:
	// contiguous 0 [{0 1 6}]
	// contiguous 1 [{6 1 7}]
	// zigzag 0 [{0 1 3} {9 1 4}]
	// zigzag 1 [{3 1 6}]
	// striped 0 [{0 2 7}]
	// striped 1 [{1 2 6}]
	// balanced 0 [{0 1 6}]
	// balanced 1 [{6 1 7}]
}

// Two documents of 12 and of 4 tokens: both ranks hold half of the rows, and half of the pairs.
func ExampleNewBalanced() {
	area := func(from, to int) (pairs int64) {
		for query := from; query < to; query++ {
			if query < 12 {
				pairs += int64(query + 1)
			} else {
				pairs += int64(query - 12 + 1)
			}
		}
		return pairs
	}
	s, err := shard.NewBalanced(16, 2, area)
	if err != nil {
		fmt.Println(err)
		return
	}
	for rank := range s.Ranks() {
		pairs := int64(0)
		for _, g := range s.Segments(rank) {
			pairs += area(g.Start, g.Start+g.Count)
		}
		fmt.Println(rank, s.Segments(rank), pairs)
	}
	// Output:
	// 0 [{0 1 1} {9 1 7}] 44
	// 1 [{1 1 8}] 44
}

// The heads of two neighbours are exchanged for rows: the two ranks of a group hold their rows together.
func ExampleSharding_Grouped() {
	s, err := shard.New(shard.Zigzag, 16, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	groups, err := s.Grouped(2)
	if err != nil {
		fmt.Println(err)
		return
	}
	for group := range groups.Ranks() {
		fmt.Println(group, groups.Segments(group))
	}
	// Output:
	// 0 [{0 1 2} {14 1 2} {2 1 2} {12 1 2}]
	// 1 [{4 1 2} {10 1 2} {6 1 4}]
}

// Each rank takes its rows of [T, width]; gathered from all ranks they are the whole again.
func ExampleScatter() {
	s, err := shard.New(shard.Zigzag, 8, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	global := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	back := make([]string, len(global))
	for rank := range s.Ranks() {
		local := shard.Scatter(s, rank, global, 1)
		fmt.Println(rank, local)
		shard.Gather(s, rank, local, back, 1)
	}
	fmt.Println(back)
	// Output:
	// 0 [a b g h]
	// 1 [c d e f]
	// [a b c d e f g h]
}

// The blocks that rank 1 of 4 meets: forward they come from behind, backward from ahead.
func ExampleForwardSource() {
	for step := range 4 {
		fmt.Println(step, shard.ForwardSource(1, step, 4), shard.BackwardSource(1, step, 4))
	}
	// Output:
	// 0 1 1
	// 1 0 2
	// 2 3 3
	// 3 2 0
}
