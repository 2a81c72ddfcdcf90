package cuda

import (
	"sync"
	"time"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// Span is the time that a device took for an operation.
type Span struct {
	Name     string
	Copy     bool // on the stream of copies
	Start    time.Time
	Duration time.Duration
}

// spans are the operations of a session, as pairs of events until its end.
type spans struct {
	open []openSpan
	done []Span
}

type openSpan struct {
	Span
	from, to device.Event
}

// epoch ties the clock of a device to the host's: an event, and when it was.
type epoch struct {
	once  sync.Once
	event device.Event
	at    time.Time
	err   error
}

// clocked are events of devices that have one clock, which is not the host's.
type clocked interface{ Moment() time.Duration }

// Trace makes the session take times, which Spans returns after End.
func (s *Session) Trace() {
	s.trace = &spans{}
	s.do(func() error {
		e := &s.epoch
		e.once.Do(func() {
			if e.event, e.err = s.dev.NewEvent(); e.err == nil {
				e.err = firstOf(s.stream.Record(e.event), e.event.Synchronize())
				e.at = time.Now()
			}
		})
		return e.err
	})
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Spans are the operations that have ended, none without Trace.
func (s *Session) Spans() []Span {
	if s.trace == nil {
		return nil
	}
	return s.trace.done
}

// traced enqueues an operation, between two events if somebody wants to know.
func (s *Session) traced(name string, ofCopy bool, f func() error) {
	if s.trace == nil {
		s.do(f)
		return
	}
	stream := func() device.Stream {
		if ofCopy {
			return s.copies
		}
		return s.stream
	}
	x := openSpan{Span: Span{Name: name, Copy: ofCopy}}
	x.from = s.record(stream)
	s.do(f)
	x.to = s.record(stream)
	s.trace.open = append(s.trace.open, x)
}

// read takes the times, once all has happened.
func (t *spans) read(s *Session) {
	if t == nil || s.err != nil {
		return
	}
	for _, x := range t.open {
		start, err := x.from.Since(s.epoch.event)
		if err == nil {
			x.Start = s.epoch.at.Add(start)
			if own, ok := x.from.(clocked); ok {
				x.Start = time.Unix(0, 0).Add(own.Moment())
			}
			x.Duration, err = x.to.Since(x.from)
		}
		if err != nil {
			s.err = err
			return
		}
		t.done = append(t.done, x.Span)
	}
}
