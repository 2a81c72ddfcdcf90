package gradcheck

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// naive is a kernel by definition, pair by pair, that can be made wrong in one place. Its nil functions are right.
type naive struct {
	// score is that of a pair from its scaled product, and the derivative; i and j are global positions.
	score func(b kernel.Block, h, i, j int, product float64) (s, slope float64)
	// kept is what dropout multiplies a pair's weight by.
	kept func(b kernel.Block, h, i, j int) float64
	// count is how often a pair counts.
	count func(b kernel.Block, i, j int) int
	// inSum is what the pair's exponential is multiplied by in the softmax's sum.
	inSum func(kept float64) float64
	// dScore is the derivative by the score, but for slope and scale.
	dScore func(p, kept, dP, delta float64) float64
	// everyHop lets each block add the sink, and lse and row leave it out of the one and of what backward gets.
	everyHop, lseWithout, rowWithout bool
}

func (n naive) ensureDefaults() naive {
	if n.score == nil {
		n.score = score
	}
	if n.kept == nil {
		n.kept = kept
	}
	if n.count == nil {
		n.count = count
	}
	if n.inSum == nil {
		n.inSum = func(float64) float64 { return 1 }
	}
	if n.dScore == nil {
		n.dScore = func(p, kept, dP, delta float64) float64 { return p * (kept*dP - delta) }
	}
	return n
}

func (n naive) hooks() hooks {
	return hooks{Kernel: func(attention) attention { return n.ensureDefaults() }}
}

func score(b kernel.Block, h, i, j int, s float64) (float64, float64) {
	s, slope := capped(b, s)
	return s - alibi(b, h, math.Abs(float64(i-j))), slope
}

func capped(b kernel.Block, s float64) (float64, float64) {
	if b.Softcap == 0 {
		return s, 1
	}
	t := math.Tanh(s / b.Softcap)
	return b.Softcap * t, 1 - t*t
}

func alibi(b kernel.Block, h int, distance float64) float64 {
	if b.Slopes == nil {
		return 0
	}
	return b.Slopes[h] * distance
}

func kept(b kernel.Block, h, i, j int) float64 {
	if b.Dropout.Threshold == 0 {
		return 1
	}
	if key := b.Dropout.Keys[h]; !kernel.Kept(kernel.QueryWord(key, i), kernel.KeyWord(key, j), b.Dropout.Threshold) {
		return 0
	}
	return b.Dropout.Scale()
}

func count(b kernel.Block, i, j int) int {
	if b.Mask.Meet(mask.Positions{Start: i, Stride: 1, Count: 1}, mask.Positions{Start: j, Stride: 1, Count: 1}) {
		return 1
	}
	return 0
}

func positions(segments []kernel.Segment) (all []int) {
	for _, s := range segments {
		for i := range s.Count {
			all = append(all, s.Start+i*s.Stride)
		}
	}
	return all
}

// pair is a visible query and key, as rows of the arrays.
type pair struct {
	h, row, key    int // row of q and out, key of k and v
	kept, s, slope float64
	times          float64
}

// each calls f for the visible pairs of a block.
func (n naive) each(q, k []float64, b kernel.Block, f func(p pair)) {
	rows, cols := positions(b.Rows), positions(b.Cols)
	for h := range b.Heads {
		kv := h / (b.Heads / b.KVHeads)
		for r, i := range rows {
			for c, j := range cols {
				times := n.count(b, i, j)
				if times == 0 {
					continue
				}
				p := pair{h: h, row: h*len(rows) + r, key: kv*len(cols) + c, times: float64(times), kept: n.kept(b, h, i, j)}
				p.s, p.slope = n.score(b, h, i, j, b.Scale*dot(q[p.row*b.Dim:][:b.Dim], k[p.key*b.Dim:][:b.Dim]))
				f(p)
			}
		}
	}
}

func (n naive) Forward(c kernel.Carry[float64], q, k, v []float64, b kernel.Block) {
	seen := map[int]int{}
	n.each(q, k, b, func(p pair) {
		seen[p.row] = p.h
		n.fold(c, p.row, p.s, p.times*n.inSum(p.kept), p.times*p.kept, v[p.key*b.ValueDim:][:b.ValueDim])
	})
	if n.everyHop && b.Sinks != nil {
		for row, h := range seen {
			n.fold(c, row, b.Sinks[h], 1, 0, v[:b.ValueDim])
		}
	}
}

// fold adds a value with a weight to the carry of a row, and to its sum.
func (n naive) fold(c kernel.Carry[float64], row int, s, inSum, weight float64, v []float64) {
	o := c.O[row*len(v):][:len(v)]
	if c.L[row] == 0 {
		clear(o)
	}
	m := max(c.M[row], s)
	old, e := math.Exp(c.M[row]-m), math.Exp(s-m)
	c.M[row], c.L[row] = m, old*c.L[row]+inSum*e
	for d := range o {
		o[d] = old*o[d] + weight*e*v[d]
	}
}

func (n naive) Merge(c, other kernel.Carry[float64], b kernel.Block) {
	for row, l := range other.L {
		if l != 0 {
			v := other.O[row*b.ValueDim:][:b.ValueDim]
			n.fold(c, row, other.M[row], l, 1, v)
		}
	}
}

func (n naive) Finish(c kernel.Carry[float64], out, lse []float64, b kernel.Block) {
	rows := len(lse) / b.Heads
	for row, l := range c.L {
		o := out[row*b.ValueDim:][:b.ValueDim]
		lse[row] = math.Inf(-1)
		if l == 0 {
			clear(o)
			continue
		}
		if lse[row] = c.M[row] + math.Log(l); b.Sinks != nil && !n.everyHop {
			without := lse[row]
			top := max(without, b.Sinks[row/rows])
			lse[row] = top + math.Log(math.Exp(without-top)+math.Exp(b.Sinks[row/rows]-top))
			l *= math.Exp(lse[row] - without)
			if n.lseWithout {
				lse[row] = without
			}
		}
		for d := range o {
			o[d] = c.O[row*b.ValueDim+d] / l
		}
	}
}

func (naive) Delta(out, dOut, delta []float64, b kernel.Block) {
	for i := range delta {
		delta[i] = dot(out[i*b.ValueDim:][:b.ValueDim], dOut[i*b.ValueDim:][:b.ValueDim])
	}
}

func (n naive) Backward(g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
	g.Nothing()
	axpy := func(y []float64, row, width int, a float64, x []float64, from int) {
		for d := range width {
			y[row*width+d] += a * x[from*width+d]
		}
	}
	n.each(in.Q, in.K, b, func(p pair) {
		lse := in.LSE[p.row]
		if in.LSELow != nil {
			lse += in.LSELow[p.row]
		}
		if math.IsInf(lse, -1) {
			return
		}
		if n.rowWithout && b.Sinks != nil {
			lse = math.Log(math.Exp(lse) - math.Exp(b.Sinks[p.h]))
		}
		prob := p.times * math.Exp(p.s-lse)
		dP := dot(in.DOut[p.row*b.ValueDim:][:b.ValueDim], in.V[p.key*b.ValueDim:][:b.ValueDim])
		axpy(g.DV, p.key, b.ValueDim, prob*p.kept, in.DOut, p.row)
		ds := b.Scale * p.slope * n.dScore(prob, p.kept, dP, in.Delta[p.row])
		axpy(g.DQ, p.row, b.Dim, ds, in.K, p.key)
		axpy(g.DK, p.key, b.Dim, ds, in.Q, p.row)
	})
}
