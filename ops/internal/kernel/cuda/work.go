package cuda

import (
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// work is one call of the host's: what goes to the device, operations on a stream of its own, and what comes back. Once something has
// failed, the rest is left out.
type work struct {
	*Engine
	stream device.Stream
	block  *Block
	unbind func()
	taken  []device.Ptr
	pinned [][]byte
	after  []func() // once all is done: takes results out of pinned memory
	err    error
}

func (e *Engine) begin() *work {
	w := &work{Engine: e}
	if w.unbind, w.err = e.dev.Bind(); w.err != nil {
		w.unbind = func() {}
		return w
	}
	w.stream, w.err = e.lanes.stream()
	return w
}

// end waits for the work and gives all back that it took.
func (w *work) end() error {
	if w.stream != nil {
		w.err = errors.Join(w.err, w.stream.Synchronize())
		w.lanes.giveStream(w.stream)
	}
	if w.err == nil {
		for _, f := range w.after {
			f()
		}
	}
	w.lanes.giveMemory(w.pinned...)
	w.Give(w.taken...)
	w.block.Release()
	w.unbind()
	if w.err != nil {
		return fmt.Errorf("cuda: attention on %s: %w", w.dev.Info().Name, w.err)
	}
	return nil
}

// do runs f unless something has failed.
func (w *work) do(f func() error) {
	if w.err == nil {
		w.err = f()
	}
}

// room is device memory until the end; 0 once something has failed.
func (w *work) room(bytes int) (p device.Ptr) {
	w.do(func() (err error) {
		if p, err = w.memory.take(bytes, w.stream.Wait); err == nil {
			w.taken = append(w.taken, p)
		}
		return err
	})
	return p
}

// staging is pinned memory until the end; nil once something has failed.
func (w *work) staging(bytes int) (b []byte) {
	w.do(func() (err error) {
		if b, err = w.lanes.memory(bytes); err == nil {
			w.pinned = append(w.pinned, b)
		}
		return err
	})
	return b
}

// send copies data to new device memory.
func (w *work) send(data []byte) device.Ptr {
	to := w.room(len(data))
	w.sendTo(to, data)
	return to
}

func (w *work) sendTo(to device.Ptr, data []byte) {
	b := w.staging(len(data))
	w.do(func() error {
		copy(b, data)
		return w.stream.ToDevice(to, b)
	})
}

// fetch lets take have so many bytes of the device at the end.
func (w *work) fetch(from device.Ptr, bytes int, take func(b []byte)) {
	b := w.staging(bytes)
	w.do(func() error {
		w.after = append(w.after, func() { take(b) })
		return w.stream.ToHost(b, from)
	})
}

// matrix is an array [heads, rows, dim] of the host.
type matrix struct {
	data             []float32
	heads, rows, dim int
	batch            int // 0; or the array is [batch, rows, heads/batch, dim]
}

func (m matrix) dense(p device.Ptr) Dense {
	if m.batch > 0 {
		heads := m.heads / m.batch
		return Dense{Ptr: p, Strides: TokenMajor(m.rows, heads, m.dim), Batch: m.batch, Heads: heads, Rows: m.rows, Dim: m.dim}
	}
	return Dense{Ptr: p, Strides: HeadMajor(m.rows, m.heads, m.dim), Batch: 1, Heads: m.heads, Rows: m.rows, Dim: m.dim}
}

// operand sends an array and packs it; halves says that data holds pairs of 16-bit elements.
func (w *work) operand(m matrix, halves bool) device.Ptr {
	dense := m.dense(w.send(rawBytes(m.data)))
	dense.Halves = halves
	to := w.room(w.block.OperandBytes(m.heads, m.rows))
	w.do(func() error { return w.Pack(w.stream, w.block.Shape, to, dense) })
	return to
}

// rows sends an array as rows of float32.
func (w *work) rows(m matrix) device.Ptr {
	s := w.block.Shape
	s.Format = Float32
	to := w.room(s.OperandBytes(m.heads, m.rows))
	from := m.dense(w.send(rawBytes(m.data)))
	w.do(func() error { return w.PackRows(w.stream, s, to, from) })
	return to
}

// emptyRows is rows without contents, or of zeros.
func (w *work) emptyRows(m matrix, zeroed bool) device.Ptr {
	bytes := w.block.RowsBytes(m.heads, m.rows)
	p := w.room(bytes)
	if zeroed {
		w.do(func() error { return w.stream.Fill(p, 0, bytes/4) })
	}
	return p
}

// fetchRows copies rows into an array at the end.
func (w *work) fetchRows(m matrix, from device.Ptr) {
	bytes := 4 * len(m.data)
	to := w.room(bytes)
	w.do(func() error { return w.Unpack(w.stream, w.block.Shape, m.dense(to), from, 1) })
	w.fetch(to, bytes, func(b []byte) { copy(rawBytes(m.data), b) })
}

// line sends one number for each of S rows of H heads, in float32, as f has them, with filling between S and SP.
func (w *work) line(filling float32, f func(i int) float32) device.Ptr {
	return w.send(rawBytes(w.lineOf(filling, f)))
}

func (w *work) lineOf(filling float32, f func(i int) float32) []float32 {
	sp := PaddedRows(w.block.Rows)
	x := make([]float32, w.block.Heads*sp)
	for h := range w.block.Heads {
		for i := range sp {
			x[h*sp+i] = filling
			if i < w.block.Rows {
				x[h*sp+i] = f(h*w.block.Rows + i)
			}
		}
	}
	return x
}

// emptyLine is a line without contents.
func (w *work) emptyLine() device.Ptr { return w.room(LineBytes(w.block.Heads, w.block.Rows)) }

// fetchLine gives f the line's numbers at the end.
func (w *work) fetchLine(from device.Ptr, f func(i int, x float32)) {
	sp := PaddedRows(w.block.Rows)
	w.fetch(from, LineBytes(w.block.Heads, w.block.Rows), func(b []byte) {
		x := floats(b)
		for h := range w.block.Heads {
			for i := range w.block.Rows {
				f(h*w.block.Rows+i, x[h*sp+i])
			}
		}
	})
}
