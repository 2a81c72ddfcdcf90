package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Attention works on tiles of panelRows queries by tileKeys keys. A tile of scores is stored transposed, [keys, queries], so that
// a query is a lane: the softmax's sums over keys are sums of rows, and K, V and dO serve as they lie in memory.
const (
	panelRows = 64
	tileKeys  = 96
)

// attention implements kernel.Attention over the primitives of the active instruction set.
type attention[T kernel.Float] struct{}

// New returns the CPU kernel; it holds no state and may be shared.
func New[T kernel.Float]() kernel.Attention[T] { return attention[T]{} }

var (
	_ kernel.Attention[float32] = attention[float32]{}
	_ kernel.Attention[float64] = attention[float64]{}
)

// rowChunk is the rows of one task where work goes row by row.
const rowChunk = 64

// eachChunk calls f for chunks of the rows 0..n-1, in parallel if rows times width is worth it.
func eachChunk(n, width int, f func(row, rows int)) {
	spread(n*width*copyWork, ceilDiv(n, rowChunk), func(chunk int) {
		row := chunk * rowChunk
		f(row, min(rowChunk, n-row))
	})
}

// eachRow calls f for the rows 0..n-1, in chunks.
func eachRow(n, width int, f func(row int)) {
	eachChunk(n, width, func(row, rows int) {
		for i := row; i < row+rows; i++ {
			f(i)
		}
	})
}

// Merge takes the larger reference of the two for each row and adds what is relative to it.
func (attention[T]) Merge(c, other kernel.Carry[T], b kernel.Block) {
	dv := b.ValueDim
	exponent := unitOf(b) * math.Log2E
	eachRow(len(c.L), dv, func(i int) {
		o, from := c.O[i*dv:][:dv], other.O[i*dv:][:dv]
		switch {
		case other.L[i] == 0:
			return
		case c.L[i] == 0:
			copy(o, from)
			c.M[i], c.L[i] = other.M[i], other.L[i]
			return
		}
		m := max(c.M[i], other.M[i])
		mine, others := T(1), T(1)
		if c.M[i] != m {
			mine = T(math.Exp2((float64(c.M[i]) - float64(m)) * exponent))
		}
		if other.M[i] != m {
			others = T(math.Exp2((float64(other.M[i]) - float64(m)) * exponent))
		}
		c.M[i], c.L[i] = m, mine*c.L[i]+others*other.L[i]
		Scale(o, mine)
		Scale(from, others)
		Add(o, o, from)
	})
}

// Finish writes out = O/L and lse = unit·M + ln(L): M is a score as Forward has it, see unitOf. A sink joins the sum here, once.
func (attention[T]) Finish(c kernel.Carry[T], out, lse []T, b kernel.Block) {
	dv, unit, kept := b.ValueDim, unitOf(b), b.Dropout.Scale()
	eachChunk(len(c.L), dv, func(row, rows int) {
		memory := borrow[T](2 * rows)
		defer memory.giveBack()
		inverse, low := memory.data[:rows], memory.data[rows:]
		for j, l := range c.L[row:][:rows] {
			value, rest := T(math.Inf(-1)), T(0)
			if l != 0 {
				sum := unit*float64(c.M[row+j]) + math.Log(float64(l))
				share := 1.0 // of the keys in the denominator
				if b.Sinks != nil {
					sum, share = withSink(sum, b.Sinks[(row+j)*b.Heads/len(c.L)])
				}
				inverse[j], low[j] = split[T](kept * share / float64(l))
				value, rest = split[T](sum)
			}
			lse[row+j] = value
			if c.Low != nil {
				c.Low[row+j] = rest
			}
		}
		scaleRows(out[row*dv:], c.O[row*dv:], tilePart{dv, rows, dv}, inverse, low)
		for j, l := range c.L[row:][:rows] {
			if l == 0 {
				clear(out[(row+j)*dv:][:dv])
			}
		}
	})
}

// withSink adds a logit to a log-sum-exp; share is what that leaves of the sum.
func withSink(lse, sink float64) (sum, share float64) {
	if math.IsInf(sink, -1) {
		return lse, 1
	}
	share = 1 / (1 + math.Exp(sink-lse))
	if sink > lse {
		return sink + math.Log1p(math.Exp(lse-sink)), share
	}
	return lse + math.Log1p(math.Exp(sink-lse)), share
}

// split rounds x to T and returns what that leaves out.
func split[T kernel.Float](x float64) (value, low T) {
	value = T(x)
	return value, T(x - float64(value))
}

// Delta writes rowsum(dO∘O), summed in float64.
func (attention[T]) Delta(out, dOut, delta []T, b kernel.Block) {
	dv := b.ValueDim
	eachRow(len(delta), dv, func(i int) {
		delta[i] = T(Dot(out[i*dv:][:dv], dOut[i*dv:][:dv]))
	})
}
