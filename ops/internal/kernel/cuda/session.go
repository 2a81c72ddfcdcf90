package cuda

import (
	"errors"
	"slices"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Session is one rank's pass over blocks that stay on devices: what goes to the device first, work on blocks one after the other, copies
// of other ranks' blocks beside it, and what comes back in the end. Work and copies are two streams, ordered by events; nothing waits
// for the device before End.
//
//	copies   ─ pull block 1 ─┐      ─ pull block 2 ─┐     two slots: block 3 goes where block 1 was,
//	compute  ─ own block ────┴ block 1 ─────────────┴ block 2 ─    once the work on that is done
//
// Once something has failed, the rest is left out, and End returns the first error.
type Session struct {
	*work
	copies device.Stream
	blocks []*Block // to be released
	events []device.Event
	shared []*Shared // made here
	trace  *spans    // nil where nobody wants to know
}

// Begin starts a session on the goroutine that will end it. Sizes of queries are those of the own block.
func (e *Engine) Begin(own kernel.Block, f Format) *Session {
	s := &Session{work: e.begin()}
	s.do(func() (err error) {
		s.copies, err = e.lanes.stream()
		return err
	})
	s.block = &Block{Shape: ShapeOf(own, f), Rows: kernel.Len(own.Rows), Keys: kernel.Len(own.Cols)} // sizes, even if all fails
	s.do(func() error {
		b, err := e.Prepare(own, f)
		if err == nil {
			s.block = b
		}
		return err
	})
	return s
}

// End waits for all work, takes results to where they were asked for and gives back what was taken.
func (s *Session) End() error {
	if s.copies != nil {
		s.err = errors.Join(s.err, s.copies.Synchronize())
		s.lanes.giveStream(s.copies)
	}
	err := s.end()
	for _, b := range s.blocks {
		b.Release()
	}
	for _, x := range s.shared {
		x.end(err != nil)
	}
	s.lanes.giveEvents(s.events...)
	return err
}

// Fail makes the session end with an error that is not the device's.
func (s *Session) Fail(err error) { s.do(func() error { return err }) }

// Failed is the first error so far.
func (s *Session) Failed() error { return s.err }

// Own is the own block.
func (s *Session) Own() *Block { return s.block }

// Block prepares a block until the end; nil once something has failed.
func (s *Session) Block(b kernel.Block, f Format) (made *Block) {
	s.do(func() (err error) {
		if made, err = s.Prepare(b, f); err == nil {
			s.blocks = append(s.blocks, made)
		}
		return err
	})
	return made
}

// Do enqueues an operation on the stream of work; its name is for traces.
func (s *Session) Do(name string, f func(e *Engine, st device.Stream) error) {
	s.traced(name, s.stream, func() error { return f(s.Engine, s.stream) })
}

// Room is device memory until the end.
func (s *Session) Room(bytes int) device.Ptr { return s.room(bytes) }

// Zeros is memory full of zeros until the end.
func (s *Session) Zeros(bytes int) device.Ptr {
	p := s.room(bytes)
	s.Clear(p, bytes)
	return p
}

// Clear writes zeros to memory.
func (s *Session) Clear(p device.Ptr, bytes int) {
	s.do(func() error { return s.stream.Fill(p, 0, bytes/4) })
}

// Tokens is a dense array of the host, [Batch, Rows, Heads/Batch, Dim]: Heads counts the batch in, as those of a block do.
type Tokens struct {
	Data                    []float32
	Batch, Heads, Rows, Dim int
}

func (t Tokens) matrix() matrix { return matrix{t.Data, t.Heads, t.Rows, t.Dim, t.Batch} }

// Operand sends an array to where an operand of the session's format is wanted.
func (s *Session) Operand(to device.Ptr, t Tokens) {
	from := t.matrix().dense(s.send(rawBytes(t.Data)))
	s.do(func() error { return s.Pack(s.stream, s.block.Shape, to, from) })
}

// OperandAndRows sends an array once and makes both of it.
func (s *Session) OperandAndRows(to device.Ptr, t Tokens) (rows device.Ptr) {
	from := t.matrix().dense(s.send(rawBytes(t.Data)))
	s.do(func() error { return s.Pack(s.stream, s.block.Shape, to, from) })
	return s.asRows(from)
}

// Rows sends an array as rows of float32.
func (s *Session) Rows(t Tokens) device.Ptr {
	return s.asRows(t.matrix().dense(s.send(rawBytes(t.Data))))
}

func (s *Session) asRows(from Dense) device.Ptr {
	shape := s.block.Shape
	shape.Format = Float32
	to := s.room(shape.OperandBytes(from.Batch*from.Heads, from.Rows))
	s.do(func() error { return s.PackRows(s.stream, shape, to, from) })
	return to
}

// Words sends 64-bit words.
func (s *Session) Words(w []uint64) device.Ptr { return s.send(rawBytes(w)) }

// Floats sends numbers.
func (s *Session) Floats(x []float32) device.Ptr { return s.send(rawBytes(x)) }

// Line sends a number for each of the queries, in the order of heads, to a line; rows of padding get filling.
func (s *Session) Line(to device.Ptr, filling float32, f func(i int) float32) {
	s.sendTo(to, rawBytes(s.lineOf(filling, f)))
}

// FetchRows has rows in t.Data at the end.
func (s *Session) FetchRows(t Tokens, from device.Ptr) { s.fetchRows(t.matrix(), from) }

// FetchLine gives f the numbers of a line at the end.
func (s *Session) FetchLine(from device.Ptr, f func(i int, x float32)) { s.fetchLine(from, f) }

// event is one of the session's until the end.
func (s *Session) event() (e device.Event) {
	s.do(func() (err error) {
		if e, err = s.lanes.event(); err == nil {
			s.events = append(s.events, e)
		}
		return err
	})
	return e
}

// record is an event on a stream, now.
func (s *Session) record(st device.Stream) device.Event {
	e := s.event()
	s.do(func() error { return st.Record(e) })
	return e
}

// Slot is memory for blocks of other ranks, one after the other.
type Slot struct {
	Ptr  device.Ptr
	free device.Event // when the work on the last block is done
}

// Slots are two, so that a block can arrive while the one before is worked on.
func (s *Session) Slots(bytes int) [2]*Slot {
	return [2]*Slot{{Ptr: s.room(bytes)}, {Ptr: s.room(bytes)}}
}

// Pull copies a block into a slot, beside the work so far; later work waits for it.
func (s *Session) Pull(to *Slot, from *Shared) {
	s.do(func() error { return from.read(func() (device.Event, error) { return s.pull(to, from) }) })
}

func (s *Session) pull(to *Slot, from *Shared) (arrived device.Event, err error) {
	if to.free == nil { // whoever had the memory before worked on this stream, or has ended
		s.Used(to)
	}
	s.do(func() error { return s.copies.Wait(to.free) })
	s.do(func() error { return s.copies.Wait(from.ready) })
	if from.bytes > 0 {
		s.traced("pull", s.copies, func() error { return s.copies.CopyFrom(to.Ptr, from.engine.dev, from.Ptr, from.bytes) })
	}
	arrived = s.record(s.copies)
	s.do(func() error { return s.stream.Wait(arrived) })
	return arrived, s.err
}

// Used says that the work on a slot's block so far is all there is.
func (s *Session) Used(slot *Slot) {
	slot.free = s.record(s.stream)
}

// Share is memory that other ranks may copy, once it is Ready, as often as it has readers.
func (s *Session) Share(bytes, readers int) *Shared {
	x := &Shared{engine: s.Engine, bytes: bytes, readers: readers}
	s.do(func() (err error) {
		if x.Ptr, err = s.memory.take(bytes, s.stream.Wait); err == nil {
			s.shared = append(s.shared, x)
		}
		return err
	})
	x.ready = s.event()
	return x
}

// Ready says that the work so far is what x is made of.
func (s *Session) Ready(x *Shared) { s.do(func() error { return s.stream.Record(x.ready) }) }

// LetGo says that x is ready and that this rank has no further use of it: its memory may be used again as soon as it has been copied.
func (s *Session) LetGo(x *Shared) {
	s.Ready(x)
	if s.err == nil {
		x.release()
	}
}

// giveEvents and event keep events as streams are kept.
func (l *lanes) giveEvents(events ...device.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, events...)
}

func (l *lanes) event() (device.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.events); n > 0 {
		e := l.events[n-1]
		l.events = slices.Delete(l.events, n-1, n)
		return e, nil
	}
	return l.dev.NewEvent()
}
