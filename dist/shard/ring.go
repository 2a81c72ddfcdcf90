package shard

// ForwardSource is the rank whose block a rank holds at a step (0 to size-1) of the forward pass: blocks travel to the next
// rank, so each step brings the block of the one before.
func ForwardSource(rank, step, size int) int { return mod(rank-step, size) }

// BackwardSource is the same for the backward pass, where blocks travel to the previous rank: the first foreign block is
// the one that arrived last in the forward pass.
func BackwardSource(rank, step, size int) int { return mod(rank+step, size) }

func mod(a, n int) int { return ((a % n) + n) % n }
