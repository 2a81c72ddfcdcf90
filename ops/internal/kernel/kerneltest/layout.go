package kerneltest

import (
	"fmt"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// layout spreads the positions 0..tokens-1 over blocks. Kernels know nothing of
// ranks; these are the shapes of segments that they meet in a ring.
type layout struct {
	name string
	cut  func(tokens, blocks int) [][]kernel.Segment
}

var layouts = []layout{
	{"contiguous", contiguous},
	{"zigzag", zigzag},
	{"striped", striped},
	{"shuffled", shuffled},
}

// whole keeps all positions in one block.
var whole = layout{"whole", func(tokens, _ int) [][]kernel.Segment { return contiguous(tokens, 1) }}

func contiguous(tokens, blocks int) [][]kernel.Segment {
	cuts := make([][]kernel.Segment, blocks)
	for b := range cuts {
		from, to := tokens*b/blocks, tokens*(b+1)/blocks
		cuts[b] = []kernel.Segment{{Start: from, Stride: 1, Count: to - from}}
	}
	return cuts
}

// zigzag gives block b the chunks b and 2·blocks-1-b of 2·blocks, so that all have the same work under a causal mask.
func zigzag(tokens, blocks int) [][]kernel.Segment {
	chunks := contiguous(tokens, 2*blocks)
	cuts := make([][]kernel.Segment, blocks)
	for b := range cuts {
		cuts[b] = append(chunks[b], chunks[len(chunks)-1-b]...)
	}
	return cuts
}

func striped(tokens, blocks int) [][]kernel.Segment {
	cuts := make([][]kernel.Segment, blocks)
	for b := range cuts {
		cuts[b] = []kernel.Segment{{Start: b, Stride: blocks, Count: max(0, (tokens-b+blocks-1)/blocks)}}
	}
	return cuts
}

// shuffled mixes what the others have apart: segments in falling order, odd and even positions, empty segments, and blocks
// without any.
func shuffled(tokens, blocks int) [][]kernel.Segment {
	cuts := make([][]kernel.Segment, blocks)
	for c, piece := range contiguous(tokens, 3*blocks) {
		s := piece[0]
		odd := kernel.Segment{Start: s.Start + 1, Stride: 2, Count: s.Count / 2}
		even := kernel.Segment{Start: s.Start, Stride: 2, Count: s.Count - s.Count/2}
		b := c * c % blocks
		cuts[b] = append([]kernel.Segment{odd, {Start: tokens, Stride: 1}, even}, cuts[b]...)
	}
	return cuts
}

// positions lists what segments stand for.
func positions(segments []kernel.Segment) []int {
	var p []int
	for _, s := range segments {
		for i := range s.Count {
			p = append(p, s.Start+i*s.Stride)
		}
	}
	return p
}

// take copies the rows of x [heads, tokens, width] at the given positions.
func take[T any](x []T, tokens, width int, at []int) []T {
	if tokens == 0 || width == 0 {
		return nil
	}
	var out []T
	for head := range len(x) / (tokens * width) {
		for _, p := range at {
			out = append(out, line(x, head*tokens+p, width)...)
		}
	}
	return out
}

// put writes rows back where take found them.
func put[T any](x []T, tokens, width int, at []int, rows []T) {
	if len(at) == 0 {
		return
	}
	for i := range len(rows) / width {
		copy(line(x, i/len(at)*tokens+at[i%len(at)], width), line(rows, i, width))
	}
}

// cut is one way to feed a problem to a kernel.
type cut struct {
	layout
	blocks int
	order  int // of the key blocks: block b comes to row block r in turn (r + order·b) mod blocks
}

func (c cut) String() string { return fmt.Sprintf("%s/%d blocks/order %+d", c.name, c.blocks, c.order) }
