package ring

import (
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// part is a rectangle of the own block that a kernel can take without a copy: a range of query heads with the KV heads
// that they read, and a range of rows, which is a part only where there is one head.
type part struct{ head, heads, kv, kvs, row, rows int }

// whole is the own block undivided.
func (r *Rank[T]) whole() part {
	c := r.call
	return part{heads: c.Batch * c.Heads, kvs: c.Batch * c.KVHeads, rows: r.rows}
}

// halves cuts the own block in two of about equal work: between KV heads, or where all queries share one KV head between
// query heads, or with one head in all between rows, of which a causal mask leaves the early ones less to do: rows up to
// S/√2 have half of the triangle. A ring of one has nothing to hide behind them and is not cut.
func (r *Rank[T]) halves() (first, second part) {
	first, second = r.whole(), r.whole()
	group := r.call.Heads / r.call.KVHeads
	switch {
	case r.size == 1 || first.kvs > 1 && !r.divides(first.kvs/2):
		second.heads = 0
	case first.kvs > 1:
		first.kvs /= 2
		first.heads = first.kvs * group
		second.kv, second.kvs = first.kvs, second.kvs-first.kvs
		second.head, second.heads = first.heads, second.heads-first.heads
	case first.heads > 1:
		first.heads /= 2
		second.head, second.heads = first.heads, second.heads-first.heads
	case r.call.Mask == mask.CausalOrder():
		first.rows = r.rows * 7 / 10
		second.row, second.rows = first.rows, r.rows-first.rows
	default:
		first.rows /= 2
		second.row, second.rows = first.rows, r.rows-first.rows
	}
	return first, second
}

// divides reports whether packed keys and values can be cut behind so many heads.
func (r *Rank[T]) divides(heads int) bool {
	c := r.call
	for _, n := range []int{heads * r.keys * c.Dim, heads * r.keys * c.ValueDim} {
		if r.packedLen(n)+r.packedLen(n) != r.packedLen(2*n) {
			return false
		}
	}
	return true
}

// partBlock describes the own block's part.
func (p *run[T]) partBlock(q part) kernel.Block {
	b := p.block(p.rank, p.rank).HeadRange(q.head, q.heads, q.kvs)
	b.Rows = cut(b.Rows, q.row, q.rows)
	return b
}

// rowsOf is the part's rows of an array with a line of so many elements for each of s query rows.
func rowsOf[T kernel.Float](x []T, p part, s, width int) []T {
	return x[(p.head*s+p.row)*width:][:p.heads*p.rows*width]
}

// keysOf is the part's share of packed keys or values.
func (r *Rank[T]) keysOf(x []T, p part, width int) []T {
	return x[r.packedLen(p.kv*r.keys*width):][:r.packedLen(p.kvs*r.keys*width)]
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
