package sim

import (
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// Event is a point on a stream. Its last record is under the machine's lock.
type Event struct {
	device    *Device
	name      string
	last      *record // nil before the first Record
	destroyed bool
}

var _ device.Event = (*Event)(nil)

// NewEvent makes an event.
func (d *Device) NewEvent() (event device.Event, err error) {
	err = d.locked(func() error {
		event = &Event{device: d, name: fmt.Sprintf("%s/event %d", d.info.Name, d.events)}
		d.events++
		return nil
	})
	return event, err
}

// usable says why an event cannot be used.
func (e *Event) usable() error {
	if e.destroyed {
		return fmt.Errorf("sim: %s is destroyed", e.name)
	}
	return nil
}

// Record makes the event happen after the stream's work so far. The event must be of the stream's device, as CUDA wants it.
func (s *Stream) Record(e device.Event) error {
	event := e.(*Event)
	return s.locked(func() error {
		if err := event.usable(); err != nil {
			return err
		}
		if event.device != s.device {
			return fmt.Errorf("sim: stream %s cannot record %s, which is another device's", s.name(), event.name)
		}
		event.last = &record{event: event, stream: s}
		s.enqueue(&operation{what: "record of " + event.name, mark: event.last})
		return nil
	})
}

// Wait holds later work of the stream until the event's last record has happened; which record that is, is settled now.
func (s *Stream) Wait(e device.Event) error {
	event := e.(*Event)
	return s.locked(func() error {
		if err := event.usable(); err != nil {
			return err
		}
		if event.device.machine != s.device.machine {
			return fmt.Errorf("sim: stream %s cannot wait for %s, which is another simulator's", s.name(), event.name)
		}
		if event.last != nil {
			s.enqueue(&operation{what: "wait for " + event.name, after: event.last})
		}
		return nil
	})
}

// Synchronize waits until the last record has happened.
func (e *Event) Synchronize() error {
	return e.device.locked(func() error {
		if err := e.usable(); err != nil || e.last == nil {
			return err
		}
		last := e.last
		return e.device.machine.until(last.stream, func() bool { return last.done })
	})
}

// Since is the virtual time between two records that have happened.
func (e *Event) Since(earlier device.Event) (took time.Duration, err error) {
	from := earlier.(*Event)
	err = e.device.locked(func() error {
		for _, event := range []*Event{from, e} {
			if err := event.usable(); err != nil {
				return err
			}
			if event.last == nil || !event.last.done {
				return fmt.Errorf("sim: %s has not happened: synchronize first", event.name)
			}
		}
		took = e.last.at - from.last.at
		return nil
	})
	return took, err
}

// Moment is the virtual time of the last record that has happened, on the one clock of all devices; 0 before.
func (e *Event) Moment() (at time.Duration) {
	_ = e.device.locked(func() error {
		if e.last != nil && e.last.done {
			at = e.last.at
		}
		return nil
	})
	return at
}

// Destroy forgets the event. Waits that were enqueued before still hold.
func (e *Event) Destroy() error {
	return e.device.locked(func() error {
		if err := e.usable(); err != nil {
			return err
		}
		e.destroyed = true
		return nil
	})
}
