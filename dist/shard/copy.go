package shard

import "fmt"

// Scatter copies a rank's rows out of the whole sequence: global is [T, width], the result [Len(rank), width] in the order of the rows.
func Scatter[T any](s Sharding, rank int, global []T, width int) []T {
	check("whole sequence", len(global), s.tokens*width)
	local := make([]T, 0, s.Len(rank)*width)
	s.eachRun(rank, func(position, rows int) {
		local = append(local, global[position*width:(position+rows)*width]...)
	})
	return local
}

// Gather writes a rank's rows, local [Len(rank), width], to their places in the whole sequence, global [T, width]. Calling it
// for all ranks fills global.
func Gather[T any](s Sharding, rank int, local, global []T, width int) {
	check("whole sequence", len(global), s.tokens*width)
	check("shard", len(local), s.Len(rank)*width)
	s.eachRun(rank, func(position, rows int) {
		n := copy(global[position*width:(position+rows)*width], local)
		local = local[n:]
	})
}

// eachRun calls f for every run of neighbouring positions that a rank holds, in the order of its rows.
func (s Sharding) eachRun(rank int, f func(position, rows int)) {
	var room [2]Segment
	for _, p := range s.segments(rank, &room) {
		if p.Stride == 1 {
			f(p.Start, p.Count)
			continue
		}
		for i := range p.Count {
			f(p.At(i), 1)
		}
	}
}

func check(what string, got, want int) {
	if got != want {
		panic(fmt.Sprintf("shard: the %s has %d elements, want %d", what, got, want))
	}
}
