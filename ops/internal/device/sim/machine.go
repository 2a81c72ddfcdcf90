package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device/extent"
)

// machine is what the devices share: the queues of all streams, one lock, and who decides what runs next.
type machine struct {
	config  Config
	devices []*Device

	mu      sync.Mutex
	changed *sync.Cond // some work has ended
	random  *rand.Rand
	streams []*Stream // with work, or not yet destroyed; in the order of creation
	pinned  extent.Host
	host    moment // when the host last saw work end
}

// operation is one entry of a stream's queue. It is a record, a wait, or work to run.
type operation struct {
	what   string                 // for errors
	run    func() (moment, error) // outside the lock; how long it took
	engine bool                   // it needs the device's processors, as launches do
	mark   *record                // happens when the operation ends
	after  *record                // must have happened before the operation begins
	issued moment
}

// record is one Record of an event.
type record struct {
	event  *Event
	stream *Stream
	done   bool
	at     moment
}

// ready is the operation that may run next on a stream, nil if there is none.
func (s *Stream) ready() *operation {
	if s.busy || len(s.queue) == 0 {
		return nil
	}
	if after := s.queue[0].after; after != nil && !after.done {
		return nil
	}
	return s.queue[0]
}

// step runs the next operation of a ready stream. The caller holds the lock, which is given up while the work runs.
func (m *machine) step(s *Stream) {
	op := s.queue[0]
	s.busy = true
	begin := max(s.now, op.issued)
	if op.after != nil {
		begin = max(begin, op.after.at)
	}
	if op.engine {
		begin = max(begin, s.device.engine)
	}
	end := begin
	if op.run != nil {
		m.mu.Unlock()
		took, err := op.run()
		m.mu.Lock()
		end += took
		if err != nil {
			s.device.lose(fmt.Errorf("%s on stream %s: %w", op.what, s.name(), err))
		}
	}
	m.finish(s, op, end)
}

// finish notes that the first operation of a stream has ended. If the device was lost meanwhile, the queue is empty.
func (m *machine) finish(s *Stream, op *operation, end moment) {
	s.busy = false
	s.now = end
	if op.engine {
		s.device.engine = max(s.device.engine, end)
	}
	if len(s.queue) > 0 && s.queue[0] == op {
		s.queue[0] = nil
		s.queue = s.queue[1:]
		s.done++
		if op.mark != nil {
			op.mark.done, op.mark.at = true, end
		}
	}
	m.retire(s)
	m.changed.Broadcast()
}

// retire forgets a destroyed stream that has no work left.
func (m *machine) retire(s *Stream) {
	if s.destroyed && !s.busy && len(s.queue) == 0 {
		m.streams = slices.DeleteFunc(m.streams, func(other *Stream) bool { return other == s })
	}
}

// drop empties the queues of a device's streams.
func (m *machine) drop(d *Device) {
	for _, s := range slices.Clone(m.streams) {
		if s.device == d {
			s.done += len(s.queue)
			s.queue = nil
			m.retire(s)
		}
	}
	m.changed.Broadcast()
}

// busyOn tells whether work of a device is running.
func (m *machine) busyOn(d *Device) bool {
	return slices.ContainsFunc(m.streams, func(s *Stream) bool { return s.device == d && s.busy })
}
