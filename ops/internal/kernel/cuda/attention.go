package cuda

import (
	"math"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Attention is a kernel.Attention whose arrays are the host's: each call sends its inputs, and waits for its results. It is for what
// the device ring does not do itself; there, time goes into the copies.
//
// The interface returns no errors, devices do. The first error stays: Err returns it, the results of the failed call are NaN, and so are
// those of all later calls, which do not go to the device any more. So a ring that asks Err after a pass loses none, and nothing wrong
// can be taken for a result.
type Attention struct {
	engine *Engine
	format Format

	mu  sync.Mutex
	err error
}

// Packed is Attention in a 16-bit format, in which keys and values travel.
type Packed struct{ *Attention }

var (
	_ kernel.Attention[float32] = (*Attention)(nil)
	_ kernel.Packer[float32]    = Packed{}
	_ kernel.Fallible           = Packed{}
)

// Attention returns kernels of a format: an *Attention, or for 16-bit formats a Packed. Ranks that share an engine take one each.
func (e *Engine) Attention(f Format) kernel.Attention[float32] {
	a := &Attention{engine: e, format: f}
	if f == Float32 {
		return a
	}
	return Packed{a}
}

// Err returns the first error of the device, if there was one. See Attention.
func (a *Attention) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err
}

// PackedLen is half of n, rounded up: two elements share a float32.
func (p Packed) PackedLen(n int) int { return (n + 1) / 2 }

// Pack rounds src into dst, the first of two elements into the low half.
func (p Packed) Pack(dst, src []float32) {
	halves := uint16s(dst)
	narrow(halves[:len(src)], src, p.format)
	if len(src)%2 == 1 {
		halves[len(src)] = 0
	}
}

// run does one call's work on the device. The results are NaN if it fails, or if an earlier call has.
func (a *Attention) run(b kernel.Block, f func(w *work), results ...[]float32) {
	err := a.Err()
	if err == nil {
		w := a.engine.begin()
		w.do(func() (err error) {
			w.block, err = w.Prepare(b, a.format)
			return err
		})
		if w.err == nil {
			f(w)
		}
		if err = w.end(); err == nil {
			return
		}
		a.mu.Lock()
		if a.err == nil {
			a.err = err
		}
		a.mu.Unlock()
	}
	for _, r := range results {
		for i := range r {
			r[i] = float32(math.NaN())
		}
	}
}

// Arrays of a block of the host's.
func ofQueries(b kernel.Block, x []float32, dim int) matrix {
	return matrix{data: x, heads: b.Heads, rows: kernel.Len(b.Rows), dim: dim}
}

func ofKeys(b kernel.Block, x []float32, dim int) matrix {
	return matrix{data: x, heads: b.KVHeads, rows: kernel.Len(b.Cols), dim: dim}
}

// keys sends keys or values, which are packed in 16-bit formats.
func (a *Attention) keys(w *work, m matrix) device.Ptr { return w.operand(m, a.format != Float32) }

// Forward folds one block of keys into the carry. In units of this package M is to base 2.
func (a *Attention) Forward(c kernel.Carry[float32], q, k, v []float32, b kernel.Block) {
	if len(c.M) == 0 || kernel.Len(b.Cols) == 0 {
		return
	}
	a.run(b, func(w *work) {
		if w.block.Empty() {
			return
		}
		f := Forward{First: untouched(c), Words: w.words(b)}
		f.Q, f.K, f.V = w.operand(ofQueries(b, q, b.Dim), false), a.keys(w, ofKeys(b, k, b.Dim)), a.keys(w, ofKeys(b, v, b.ValueDim))
		f.Carry = w.carry(c, b, f.First)
		w.do(func() error { return w.Forward(w.stream, w.block, f) })
		w.fetchCarry(c, b, f.Carry)
	}, c.O, c.M, c.L)
}

// untouched reports whether a carry has seen nothing.
func untouched(c kernel.Carry[float32]) bool {
	for i, m := range c.M {
		if !math.IsInf(float64(m), -1) || c.L[i] != 0 {
			return false
		}
	}
	return true
}

// carry sends a carry, unless it is first. Its O is of no meaning where L is 0, and may be NaN: zeros go instead.
func (w *work) carry(c kernel.Carry[float32], b kernel.Block, first bool) Carry {
	o := ofQueries(b, c.O, b.ValueDim)
	if first {
		return Carry{O: w.emptyRows(o, false), M: w.emptyLine(), L: w.emptyLine()}
	}
	o.data = make([]float32, len(c.O))
	for i, l := range c.L {
		if l != 0 {
			copy(o.data[i*b.ValueDim:][:b.ValueDim], c.O[i*b.ValueDim:])
		}
	}
	return Carry{
		O: w.rows(o),
		M: w.line(float32(math.Inf(-1)), func(i int) float32 { return c.M[i] }),
		L: w.line(0, func(i int) float32 { return c.L[i] }),
	}
}

func (w *work) fetchCarry(c kernel.Carry[float32], b kernel.Block, from Carry) {
	w.fetchRows(ofQueries(b, c.O, b.ValueDim), from.O)
	w.fetchLine(from.M, func(i int, x float32) { c.M[i] = x })
	w.fetchLine(from.L, func(i int, x float32) { c.L[i] = x })
}

// words makes dropout's.
func (w *work) words(b kernel.Block) (out Words) {
	if b.Dropout.Threshold == 0 {
		return Words{}
	}
	keys := w.send(rawBytes(b.Dropout.Keys))
	out = Words{Queries: w.emptyLine(), Keys: w.room(LineBytes(b.Heads, w.block.Keys))}
	w.do(func() error { return w.QueryWords(w.stream, w.block, out.Queries, keys) })
	w.do(func() error { return w.KeyWords(w.stream, w.block, out.Keys, keys) })
	return out
}

// Merge folds other into c.
func (a *Attention) Merge(c, other kernel.Carry[float32], b kernel.Block) {
	if len(c.M) == 0 || untouched(other) {
		return
	}
	b.Cols = nil
	a.run(b, func(w *work) {
		into, from := w.carry(c, b, false), w.carry(other, b, false)
		w.do(func() error { return w.Merge(w.stream, w.block, into, from) })
		w.fetchCarry(c, b, into)
	}, c.O, c.M, c.L)
}

// Finish writes out and lse.
func (a *Attention) Finish(c kernel.Carry[float32], out, lse []float32, b kernel.Block) {
	if len(c.M) == 0 {
		return
	}
	b.Cols = nil
	a.run(b, func(w *work) {
		f := Finish{Carry: w.carry(c, b, false), High: w.emptyLine(), Low: w.emptyLine()}
		f.Out = f.Carry.O
		if len(b.Sinks) > 0 {
			f.Sinks = w.send(rawBytes(SinkLogits(b.Sinks)))
		}
		w.do(func() error { return w.Finish(w.stream, w.block, f) })
		w.fetchRows(ofQueries(b, out, b.ValueDim), f.Out)
		high := make([]float32, len(lse))
		w.fetchLine(f.High, func(i int, x float32) { high[i] = x })
		w.fetchLine(f.Low, func(i int, x float32) {
			var rest float32
			lse[i], rest = LogSumExp(high[i], x)
			if c.Low != nil {
				c.Low[i] = rest
			}
		})
	}, out, lse, c.Low)
}

// SinkLogits are sinks in units of log2, as Finish wants them.
func SinkLogits(sinks []float64) []float32 {
	out := make([]float32, len(sinks))
	for i, s := range sinks {
		out[i] = float32(s * math.Log2E)
	}
	return out
}

// LogSumExp is the natural logarithm whose base-2 logarithm is high+low, and what rounding took from it.
func LogSumExp(high, low float32) (lse, rest float32) {
	x := (float64(high) + float64(low)) * math.Ln2
	lse = float32(x)
	if math.IsInf(x, 0) {
		return lse, 0
	}
	return lse, float32(x - float64(lse))
}

// Split is the inverse of LogSumExp.
func Split(lse, rest float32) (high, low float32) {
	x := (float64(lse) + float64(rest)) * math.Log2E
	high = float32(x)
	if math.IsInf(x, 0) {
		return high, 0
	}
	return high, float32(x - float64(high))
}

// Delta writes rowsum(dO∘O).
func (a *Attention) Delta(out, dOut, delta []float32, b kernel.Block) {
	if len(delta) == 0 {
		return
	}
	b.Cols = nil
	a.run(b, func(w *work) {
		d := Delta{Out: w.rows(ofQueries(b, out, b.ValueDim)), DOut: w.rows(ofQueries(b, dOut, b.ValueDim)), Delta: w.emptyLine()}
		w.do(func() error { return w.Delta(w.stream, w.block, d) })
		w.fetchLine(d.Delta, func(i int, x float32) { delta[i] = x })
	}, delta)
}

// Backward adds the gradients of one block, or sets them to it.
func (a *Attention) Backward(g kernel.Gradients[float32], in kernel.Inputs[float32], b kernel.Block) {
	if kernel.Len(b.Rows) == 0 || kernel.Len(b.Cols) == 0 {
		g.Nothing()
		return
	}
	a.run(b, func(w *work) {
		if w.block.Empty() {
			g.Nothing()
			return
		}
		d := Backward{Fresh: g.Fresh, Words: w.words(b), Turns: w.room(w.block.TurnsBytes(w.block.Rows))}
		d.Q, d.DOut = w.operand(ofQueries(b, in.Q, b.Dim), false), w.operand(ofQueries(b, in.DOut, b.ValueDim), false)
		d.K, d.V = a.keys(w, ofKeys(b, in.K, b.Dim)), a.keys(w, ofKeys(b, in.V, b.ValueDim))
		d.High, d.Low, d.Delta = w.lse(in)
		dq, dk, dv := ofQueries(b, g.DQ, b.Dim), ofKeys(b, g.DK, b.Dim), ofKeys(b, g.DV, b.ValueDim)
		if g.Fresh {
			d.DQ, d.DK, d.DV = w.emptyRows(dq, true), w.emptyRows(dk, false), w.emptyRows(dv, false)
		} else {
			d.DQ, d.DK, d.DV = w.rows(dq), w.rows(dk), w.rows(dv)
		}
		w.do(func() error { return w.Backward(w.stream, w.block, d) })
		w.fetchRows(dq, d.DQ)
		w.fetchRows(dk, d.DK)
		w.fetchRows(dv, d.DV)
	}, g.DQ, g.DK, g.DV)
}

// lse sends the log-sum-exp in its two parts, and delta.
func (w *work) lse(in kernel.Inputs[float32]) (high, low, delta device.Ptr) {
	split := func(i int) (high, low float32) {
		if in.LSELow == nil {
			return Split(in.LSE[i], 0)
		}
		return Split(in.LSE[i], in.LSELow[i])
	}
	high = w.line(float32(math.Inf(-1)), func(i int) float32 {
		h, _ := split(i)
		return h
	})
	low = w.line(0, func(i int) float32 {
		_, l := split(i)
		return l
	})
	return high, low, w.line(0, func(i int) float32 { return in.Delta[i] })
}
