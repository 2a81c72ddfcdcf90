package sim

import (
	"fmt"
	"slices"
)

// policy is how the next stream is chosen while somebody waits. Every wait draws one: mistakes of one kind show under one of them
// alone, such as a missing wait for a copy that nobody else asks for.
type policy int

const (
	needed   policy = iota // run only what the wait needs: everything else happens as late as it may
	uniform                // any ready stream
	greedy                 // the ready stream that comes first in an order drawn for this wait
	policies               // how many there are
)

// until runs work until done holds. want is the stream that the caller waits for. The caller holds the lock.
func (m *machine) until(want *Stream, done func() bool) error {
	pick := policy(m.random.IntN(int(policies)))
	if m.config.Eager {
		pick = needed
	}
	if pick == greedy {
		m.shuffle()
	}
	for !done() {
		if want.device.lost != nil {
			return want.device.lost
		}
		if s := m.choose(pick, want); s != nil {
			m.step(s)
			continue
		}
		if !slices.ContainsFunc(m.streams, func(s *Stream) bool { return s.busy }) {
			return m.stuck(want)
		}
		m.changed.Wait()
	}
	if want.device.lost != nil {
		return want.device.lost
	}
	m.host = max(m.host, want.now)
	return nil
}

// shuffle draws the order in which a greedy wait prefers streams.
func (m *machine) shuffle() {
	for _, s := range m.streams {
		s.rank = m.random.Uint64()
	}
}

// choose picks a ready stream, nil if none may run now.
func (m *machine) choose(pick policy, want *Stream) *Stream {
	if pick == needed {
		return want.blocker()
	}
	var ready []*Stream
	for _, s := range m.streams {
		if s.ready() != nil {
			ready = append(ready, s)
		}
	}
	if len(ready) == 0 {
		return nil
	}
	if pick == uniform {
		return ready[m.random.IntN(len(ready))]
	}
	return slices.MinFunc(ready, func(a, b *Stream) int {
		if a.rank < b.rank {
			return -1
		}
		return 1
	})
}

// blocker follows the waits from a stream to the one that can run now, nil if that one is busy or has nothing to run.
func (s *Stream) blocker() *Stream {
	for s.ready() == nil {
		if s.busy || len(s.queue) == 0 {
			return nil
		}
		s = s.queue[0].after.stream
	}
	return s
}

// stuck says which event a stream waits for in vain: one that was to be recorded on a device that is lost or closed.
func (m *machine) stuck(want *Stream) error {
	s := want
	for len(s.queue) > 0 && s.queue[0].after != nil && s.queue[0].after.stream.blocked() {
		s = s.queue[0].after.stream
	}
	if len(s.queue) == 0 || s.queue[0].after == nil {
		return fmt.Errorf("sim: stream %s has nothing left to run, but its work is not done", s.name())
	}
	after := s.queue[0].after
	cause := after.stream.device.lost
	if cause == nil {
		cause = errClosed
	}
	return fmt.Errorf("sim: stream %s can never go on: it waits for event %s, which stream %s was to record: %w",
		s.name(), after.event.name, after.stream.name(), cause)
}

// blocked tells whether a stream's next operation waits for a record.
func (s *Stream) blocked() bool { return len(s.queue) > 0 && s.queue[0].after != nil }

// nudge runs some work at an enqueue, as a device does that is faster than the host.
func (m *machine) nudge(s *Stream) {
	if m.config.Eager {
		m.runReady()
		return
	}
	if m.random.IntN(4) != 0 {
		return
	}
	for range 1 + m.random.IntN(4) {
		if m.random.IntN(2) == 0 {
			s = m.choose(uniform, nil)
		}
		if s == nil || s.ready() == nil {
			return
		}
		m.step(s)
	}
}

// runReady runs all that may run.
func (m *machine) runReady() {
	for {
		i := slices.IndexFunc(m.streams, func(s *Stream) bool { return s.ready() != nil })
		if i < 0 {
			return
		}
		m.step(m.streams[i])
	}
}
