package cpu

import "github.com/ringgrad/ringgrad/ops/internal/kernel"

// What attention may do to a tile of scores between the product and the exponential, and on the way back: masks as bits, linear biases,
// soft caps, dropout. Of a tile x[r,j], rows are keys and lanes queries.

// sift sets x[r,j] to value wherever bit first+j of bits[r] is 0; first+p.width is at most 64. What is not set keeps its bits.
func sift[T kernel.Float](x []T, p tilePart, bits []uint64, first int, value T) {
	if p.check(len(x), p.width) {
		return
	}
	if first < 0 || first+p.width > 64 {
		panic("cpu: more lanes than a word has bits")
	}
	_ = bits[p.rows-1]
	primitivesOf[T]().sift(x, p.ld, p.rows, p.width, bits, first, value)
}

// bias sets x[r,j] to factor·x[r,j] - slope·|queries[j]-keys[r]|, the linear bias of ALiBi (arXiv 2108.12409): queries and keys are
// positions.
func bias[T kernel.Float](x []T, p tilePart, factor T, queries, keys []T, slope T) {
	if !p.check(len(x), len(queries)) {
		_ = keys[p.rows-1]
		primitivesOf[T]().bias(x, p.ld, p.rows, p.width, factor, queries, keys, slope)
	}
}

// softcap sets x[r,j] to limit·t with t = tanh(factor·x[r,j]), and tanh[r,j] to t unless tanh is empty. Of the rounded product, tanh is
// good to 4 ulp however small it is; it is odd, ±1 for large arguments and NaN for NaN.
func softcap[T kernel.Float](x, tanh []T, p tilePart, factor, limit T) {
	if len(tanh) == 0 {
		tanh = x // written before x is
	}
	if !p.check(min(len(x), len(tanh)), p.width) {
		primitivesOf[T]().softcap(x, tanh, p.ld, p.rows, p.width, factor, limit)
	}
}

// flatten is softcap's backward pass on the way to dS: where P∘(dP-delta) would be the gradient of the capped scores, it sets dp[r,j]
// to delta[j] + (dp[r,j]-delta[j])·(1-t²), t = tanh[r,j], so that subMul gives that of the scores before.
func flatten[T kernel.Float](dp, tanh []T, p tilePart, delta []T) {
	if !p.check(min(len(dp), len(tanh)), len(delta)) {
		primitivesOf[T]().flatten(dp, tanh, p.ld, p.rows, p.width, delta)
	}
}

// draw sets bit j of bits[r] to whether dropout keeps the pair of queries[j] and keys[r], words of kernel.QueryWord and kernel.KeyWord,
// and the bits behind the last query, of at most 64, to 0.
func draw(bits []uint64, queries, keys []uint32, threshold uint32) {
	if len(keys) == 0 {
		return
	}
	if len(queries) > 64 {
		panic("cpu: more queries than a word has bits")
	}
	clear(bits[:len(keys)])
	active.draw(bits, queries, keys, threshold)
}
