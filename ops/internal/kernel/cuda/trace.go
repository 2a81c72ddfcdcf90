package cuda

import (
	"errors"
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
	s.after = append(s.after, s.readTimes)
	s.do(func() error {
		e := &s.epoch
		e.once.Do(func() {
			if e.event, e.err = s.dev.NewEvent(); e.err == nil {
				e.err = errors.Join(s.stream.Record(e.event), e.event.Synchronize())
				e.at = time.Now()
			}
		})
		return e.err
	})
}

// Spans are the operations that have ended, none without Trace.
func (s *Session) Spans() []Span {
	if s.trace == nil {
		return nil
	}
	return s.trace.done
}

// traced enqueues an operation, between two events if somebody wants to know.
func (s *Session) traced(name string, st device.Stream, f func() error) {
	if s.trace == nil {
		s.do(f)
		return
	}
	x := openSpan{Span: Span{Name: name, Copy: st == s.copies}}
	x.from = s.record(st)
	s.do(f)
	x.to = s.record(st)
	s.trace.open = append(s.trace.open, x)
}

// readTimes takes the times, once all has happened.
func (s *Session) readTimes() {
	for _, x := range s.trace.open {
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
		s.trace.done = append(s.trace.done, x.Span)
	}
}
