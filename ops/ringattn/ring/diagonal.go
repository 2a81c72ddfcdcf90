package ring

import "github.com/ringgrad/ringgrad/ops/internal/kernel"

// part is a rectangle of the own block that a kernel can take without a copy: a range of query heads with the KV heads
// that they read, and a range of rows, which is a part only where there is one head.
type part struct{ head, heads, kv, kvs, row, rows int }

// whole is the own block undivided.
func (b *backward[T]) whole() part {
	c := b.call
	return part{heads: c.Batch * c.Heads, kvs: c.Batch * c.KVHeads, rows: b.rows}
}

// halves cuts the own block in two of about equal work: between KV heads, or where all queries share one KV head between
// query heads, or with one head in all between rows, of which a causal mask leaves the early ones less to do: rows up to
// S/√2 have half of the triangle.
func (b *backward[T]) halves() (first, second part) {
	first, second = b.whole(), b.whole()
	group := b.call.Heads / b.call.KVHeads
	switch {
	case first.kvs > 1 && !b.divides(first.kvs/2):
		second.heads = 0
	case first.kvs > 1:
		first.kvs /= 2
		first.heads = first.kvs * group
		second.kv, second.kvs = first.kvs, second.kvs-first.kvs
		second.head, second.heads = first.heads, second.heads-first.heads
	case first.heads > 1:
		first.heads /= 2
		second.head, second.heads = first.heads, second.heads-first.heads
	case b.call.Causal:
		first.rows = b.rows * 7 / 10
		second.row, second.rows = first.rows, b.rows-first.rows
	default:
		first.rows /= 2
		second.row, second.rows = first.rows, b.rows-first.rows
	}
	return first, second
}

// divides reports whether packed keys and values can be cut behind so many heads.
func (b *backward[T]) divides(heads int) bool {
	c := b.call
	for _, n := range []int{heads * b.rows * c.Dim, heads * b.rows * c.ValueDim} {
		if b.packedLen(n)+b.packedLen(n) != b.packedLen(2*n) {
			return false
		}
	}
	return true
}

// diagonal works on one part of the own block.
func (b *backward[T]) diagonal(p part) {
	if p.heads == 0 || p.rows == 0 {
		return
	}
	c, s := b.call, b.rows
	k, v := b.splitKV(b.kv, b.rank)
	dk, dv := b.split(b.dkv, b.rank)
	q := func(x []T, width int) []T { // the part's rows of an array with one line a query row
		return x[(p.head*s+p.row)*width:][:p.heads*p.rows*width]
	}
	kv := func(x []T, width int) []T { return x[p.kv*s*width:][:p.kvs*s*width] }
	packed := func(x []T, width int) []T { return x[b.packedLen(p.kv*s*width):][:b.packedLen(p.kvs*s*width)] }

	dq := q(b.dq, c.Dim)
	clear(dq)
	block := c.block(b.rank, b.rank)
	block.Heads, block.KVHeads = p.heads, p.kvs
	block.Rows = cut(block.Rows, p.row, p.rows)
	b.kernel.Backward(
		kernel.Gradients[T]{DQ: dq, DK: kv(dk, c.Dim), DV: kv(dv, c.ValueDim)},
		kernel.Inputs[T]{
			Q: q(b.in.Q, c.Dim), K: packed(k, c.Dim), V: packed(v, c.ValueDim),
			DOut: q(b.in.DOut, c.ValueDim), LSE: q(b.in.LSE, 1), LSELow: q(b.in.LSELow, 1), Delta: q(b.in.Delta, 1),
		}, block)
	if b.sum != nil {
		accumulate(b.sum[(p.head*s+p.row)*c.Dim:][:len(dq)], dq)
	}
}

// cut returns the segments of n rows from row lo on.
func cut(segs []kernel.Segment, lo, n int) []kernel.Segment {
	var out []kernel.Segment
	for _, g := range segs {
		skip := min(lo, g.Count)
		take := min(n, g.Count-skip)
		if take > 0 {
			out = append(out, kernel.Segment{Start: g.Start + skip*g.Stride, Stride: g.Stride, Count: take})
		}
		lo, n = lo-skip, n-take
	}
	return out
}
