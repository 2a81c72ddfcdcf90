package ring

import (
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// dims names the four axes of an array: batch, rows, heads, width of a head.
type dims struct{ batch, rows, heads, width int }

// toHeads copies token-major src [B,S,H,D] into head-major dst [B,H,S,D], which lets a kernel walk the rows of one head
// without stride.
func toHeads[T kernel.Float](dst, src []T, d dims) {
	d.eachHead(func(token, head int) {
		copy(dst[head:head+d.width], src[token:])
	})
}

// toTokens is the inverse of toHeads: head-major src [B,H,S,D] into token-major dst [B,S,H,D].
func toTokens[T kernel.Float](dst, src []T, d dims) {
	d.eachHead(func(token, head int) {
		copy(dst[token:token+d.width], src[head:])
	})
}

// eachHead calls f for every row of every head with its offsets in the token-major and in the head-major array.
func (d dims) eachHead(f func(token, head int)) {
	if d.rows == 0 {
		return
	}
	cpu.Parallel(d.batch*d.heads, func(bh int) {
		b, h := bh/d.heads, bh%d.heads
		for s := range d.rows {
			f(((b*d.rows+s)*d.heads+h)*d.width, (bh*d.rows+s)*d.width)
		}
	})
}
