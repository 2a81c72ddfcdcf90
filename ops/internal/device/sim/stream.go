package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// Stream is a queue of work. Its fields but device and index are under the machine's lock.
type Stream struct {
	device    *Device
	index     int // on the device
	queue     []*operation
	busy      bool // the first of the queue is running
	done      int  // operations that have ended
	launches  uint64
	now       moment
	rank      uint64 // in the order of a greedy wait
	destroyed bool
}

var _ device.Stream = (*Stream)(nil)

func (s *Stream) name() string { return fmt.Sprintf("%s/%d", s.device.info.Name, s.index) }

// NewStream makes a stream.
func (d *Device) NewStream() (stream device.Stream, err error) {
	err = d.locked(func() error {
		s := &Stream{device: d, index: d.streams, now: d.machine.host}
		d.streams++
		d.machine.streams = append(d.machine.streams, s)
		stream = s
		return nil
	})
	return stream, err
}

// locked runs f under the lock if the stream and its device are usable.
func (s *Stream) locked(f func() error) error {
	return s.device.locked(func() error {
		if s.destroyed {
			return fmt.Errorf("sim: stream %s is destroyed", s.name())
		}
		return f()
	})
}

// enqueue appends an operation, and may run some work. The caller holds the lock.
func (s *Stream) enqueue(op *operation) {
	m := s.device.machine
	op.issued = m.host
	s.queue = append(s.queue, op)
	m.nudge(s)
}

// transfer is a copy. Both places are looked up when it is enqueued, for errors that come at once, and again when it runs.
type transfer struct {
	what     string
	bytes    int
	rate     int    // bytes per nanosecond
	counter  *int64 // of the device, in bytes
	dst, src place
	write    func(dst, src []byte)
}

// place finds the bytes that a transfer reads or writes.
type place func() ([]byte, error)

func (d *Device) place(p device.Ptr, bytes int) place {
	return func() ([]byte, error) { return d.memory.slice(p, bytes) }
}

// move enqueues a transfer, which copies unless it says how it writes.
func (s *Stream) move(t transfer) error {
	if t.bytes == 0 {
		return nil
	}
	if t.write == nil {
		t.write = func(dst, src []byte) { copy(dst, src) }
	}
	t.what = fmt.Sprintf("%s of %d bytes", t.what, t.bytes)
	find := func() (dst, src []byte, err error) {
		if dst, err = t.dst(); err == nil {
			src, err = t.src()
		}
		return dst, src, err
	}
	return s.locked(func() error {
		if _, _, err := find(); err != nil {
			return fmt.Errorf("sim: %s on stream %s: %w", t.what, s.name(), err)
		}
		*t.counter += int64(t.bytes)
		s.enqueue(&operation{what: t.what, run: func() (moment, error) {
			dst, src, err := find()
			if err == nil {
				t.write(dst, src)
			}
			return copyTime(t.bytes, t.rate), err
		}})
		return nil
	})
}

// ToDevice copies from pinned memory, which is read when the copy runs.
func (s *Stream) ToDevice(dst device.Ptr, src []byte) error {
	d := s.device
	return s.move(transfer{
		what: "copy to the device", bytes: len(src), rate: hostBytesPerNanosecond, counter: &d.counters.ToDevice,
		dst: d.place(dst, len(src)), src: d.hostPlace(src),
	})
}

// ToHost copies into pinned memory, which is written when the copy runs.
func (s *Stream) ToHost(dst []byte, src device.Ptr) error {
	d := s.device
	return s.move(transfer{
		what: "copy to the host", bytes: len(dst), rate: hostBytesPerNanosecond, counter: &d.counters.ToHost,
		dst: d.hostPlace(dst), src: d.place(src, len(dst)),
	})
}

// Copy copies inside the device. The ranges must not overlap.
func (s *Stream) Copy(dst, src device.Ptr, bytes int) error {
	if max(dst, src)-min(dst, src) < device.Ptr(bytes) {
		return fmt.Errorf("sim: copy of %d bytes from %#x to %#x on stream %s: the ranges overlap", bytes, uint64(src), uint64(dst), s.name())
	}
	d := s.device
	return s.move(transfer{
		what: "copy inside the device", bytes: bytes, rate: localBytesPerNanosecond, counter: &d.counters.Copied,
		dst: d.place(dst, bytes), src: d.place(src, bytes),
	})
}

// CopyFrom copies out of another device of the simulator.
func (s *Stream) CopyFrom(dst device.Ptr, peer device.Device, src device.Ptr, bytes int) error {
	from, ok := peer.(*Device)
	if !ok || from.machine != s.device.machine {
		return fmt.Errorf("sim: copy on stream %s from %s: it is no device of the same simulator", s.name(), peer.Info().Name)
	}
	return s.move(transfer{
		what: "copy from " + from.info.Name, bytes: bytes, rate: peerBytesPerNanosecond, counter: &s.device.counters.FromPeers,
		dst: s.device.place(dst, bytes), src: from.place(src, bytes),
	})
}

// Fill writes n words.
func (s *Stream) Fill(dst device.Ptr, word uint32, n int) error {
	if dst%4 != 0 {
		return fmt.Errorf("sim: fill at %#x on stream %s: want a multiple of 4", uint64(dst), s.name())
	}
	d := s.device
	return s.move(transfer{
		what: "fill", bytes: 4 * n, rate: localBytesPerNanosecond, counter: &d.counters.Filled,
		dst: d.place(dst, 4*n), src: func() ([]byte, error) { return nil, nil },
		write: func(dst, _ []byte) { fill(dst, binary.LittleEndian.AppendUint32(nil, word)) },
	})
}

// Synchronize waits for the work that was enqueued before.
func (s *Stream) Synchronize() error {
	return s.locked(func() error {
		target := s.done + len(s.queue)
		return s.device.machine.until(s, func() bool { return s.done >= target })
	})
}

// Destroy forgets the stream; work in its queue still runs.
func (s *Stream) Destroy() error {
	return s.locked(func() error {
		s.destroyed = true
		s.device.machine.retire(s)
		return nil
	})
}
