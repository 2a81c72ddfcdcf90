package ops

import "github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"

// blockElements is the work of one parallel block of an elementwise loop: large against the cost of handing it out, small
// against the cache. Blocks depend on shapes only, never on the number of threads, so that bits do not either.
const blockElements = 1 << 14

// eachBlock calls f in parallel for blocks [from, to) that cover n rows of the given width.
func eachBlock(n, width int, f func(from, to int)) {
	block := max(1, blockElements/max(1, width))
	blocks := (n + block - 1) / block
	if blocks == 1 {
		f(0, n)
		return
	}
	cpu.Parallel(blocks, func(b int) { f(b*block, min(n, (b+1)*block)) })
}

// sumBlocks bounds the partial sums that sumRows keeps, sumBlockRows is the least rows worth a partial sum.
const (
	sumBlocks    = 64
	sumBlockRows = 128
)

// sumRows sets sum[j] to beta times itself and the total over n rows of what add(row, acc) adds to acc[j]. Rows are added in order in float64 within
// blocks that depend on n only, and the blocks in order: float32 gradients of 100,000 rows stay exact to the last bit or two,
// and the result does not depend on the number of threads. add may run for several rows at once, each with an acc of its block.
func sumRows[T Float](sum []T, beta T, n int, add func(row int, acc []float64)) {
	block := max(sumBlockRows, (n+sumBlocks-1)/sumBlocks)
	blocks := (n + block - 1) / block
	width := len(sum)
	partial := make([]float64, blocks*width)
	cpu.Parallel(blocks, func(b int) {
		acc := partial[b*width : (b+1)*width]
		for row := b * block; row < min(n, (b+1)*block); row++ {
			add(row, acc)
		}
	})
	for j := range sum {
		total := 0.0
		if beta != 0 {
			total = float64(beta) * float64(sum[j])
		}
		for b := range blocks {
			total += partial[b*width+j]
		}
		sum[j] = T(total)
	}
}
