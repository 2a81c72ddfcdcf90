package cuda

import (
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// scattered is an Attention that has to do with wide heads: the columns of arrays are scattered over width, with zeros between them,
// which changes nothing in attention. So the suite, whose problems are small, meets every column of the wide kernels.
type scattered struct {
	kernel.Attention[float32]
	width  int
	packed bool // keys and values are of 16 bits
}

// scatteredPacked is one for 16-bit formats.
type scatteredPacked struct {
	scattered
	kernel.Packer[float32]
}

// scatter makes k work on heads of a width.
func scatter(k kernel.Attention[float32], width int) kernel.Attention[float32] {
	if p, ok := k.(kernel.Packer[float32]); ok {
		return scatteredPacked{scattered{k, width, true}, p}
	}
	return scattered{k, width, false}
}

// Err is that of the kernel inside.
func (s scattered) Err() error { return s.Attention.(kernel.Fallible).Err() }

// column is where column d goes; 29 has no factor in common with any width.
func (s scattered) column(d int) int { return (29*d + 7) % s.width }

// fits reports whether a block's heads can be scattered.
func (s scattered) fits(b kernel.Block) bool { return max(b.Dim, b.ValueDim) <= s.width }

func (s scattered) block(b kernel.Block) kernel.Block {
	b.Dim, b.ValueDim = s.width, s.width
	return b
}

// widen scatters the columns of rows of so many elements.
func widen[E any](s scattered, x []E, dim int) []E {
	out := make([]E, len(x)/dim*s.width)
	for i := range len(x) / dim {
		for d := range dim {
			out[i*s.width+s.column(d)] = x[i*dim+d]
		}
	}
	return out
}

// narrowInto is its inverse.
func narrowInto[E any](s scattered, x, wide []E, dim int) {
	for i := range len(x) / dim {
		for d := range dim {
			x[i*dim+d] = wide[i*s.width+s.column(d)]
		}
	}
}

// keys widens n keys or values of all heads, which may be packed.
func (s scattered) keys(x []float32, heads, n, dim int) []float32 {
	if !s.packed {
		return widen(s, x, dim)
	}
	h := widen(s, uint16s(x)[:heads*n*dim], dim)
	if len(h) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&h[0])), len(h)/2)
}

func (s scattered) carry(c kernel.Carry[float32], b kernel.Block) (wide kernel.Carry[float32], done func()) {
	wide = c
	wide.O = widen(s, c.O, b.ValueDim)
	return wide, func() { narrowInto(s, c.O, wide.O, b.ValueDim) }
}

func (s scattered) Forward(c kernel.Carry[float32], q, k, v []float32, b kernel.Block) {
	if !s.fits(b) {
		s.Attention.Forward(c, q, k, v, b)
		return
	}
	n := kernel.Len(b.Cols)
	wide, done := s.carry(c, b)
	s.Attention.Forward(wide, widen(s, q, b.Dim), s.keys(k, b.KVHeads, n, b.Dim), s.keys(v, b.KVHeads, n, b.ValueDim), s.block(b))
	done()
}

func (s scattered) Merge(c, other kernel.Carry[float32], b kernel.Block) {
	if !s.fits(b) {
		s.Attention.Merge(c, other, b)
		return
	}
	wide, done := s.carry(c, b)
	from, _ := s.carry(other, b)
	s.Attention.Merge(wide, from, s.block(b))
	done()
}

func (s scattered) Finish(c kernel.Carry[float32], out, lse []float32, b kernel.Block) {
	if !s.fits(b) {
		s.Attention.Finish(c, out, lse, b)
		return
	}
	from, _ := s.carry(c, b)
	wide := make([]float32, len(from.O))
	s.Attention.Finish(from, wide, lse, s.block(b))
	narrowInto(s, out, wide, b.ValueDim)
}

func (s scattered) Delta(out, dOut, delta []float32, b kernel.Block) {
	if !s.fits(b) {
		s.Attention.Delta(out, dOut, delta, b)
		return
	}
	s.Attention.Delta(widen(s, out, b.ValueDim), widen(s, dOut, b.ValueDim), delta, s.block(b))
}

func (s scattered) Backward(g kernel.Gradients[float32], in kernel.Inputs[float32], b kernel.Block) {
	if !s.fits(b) {
		s.Attention.Backward(g, in, b)
		return
	}
	n := kernel.Len(b.Cols)
	wide := g
	wide.DQ, wide.DK, wide.DV = widen(s, g.DQ, b.Dim), widen(s, g.DK, b.Dim), widen(s, g.DV, b.ValueDim)
	from := in
	from.Q, from.DOut = widen(s, in.Q, b.Dim), widen(s, in.DOut, b.ValueDim)
	from.K, from.V = s.keys(in.K, b.KVHeads, n, b.Dim), s.keys(in.V, b.KVHeads, n, b.ValueDim)
	s.Attention.Backward(wide, from, s.block(b))
	narrowInto(s, g.DQ, wide.DQ, b.Dim)
	narrowInto(s, g.DK, wide.DK, b.Dim)
	narrowInto(s, g.DV, wide.DV, b.ValueDim)
}
