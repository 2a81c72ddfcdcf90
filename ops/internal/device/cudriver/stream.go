//go:build ringcuda && cgo

package cudriver

import (
	"fmt"
	"time"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/cudadl"
)

// Stream is a queue of work on a GPU. It does not wait for the default stream.
type Stream struct {
	device *Device
	stream cu.Stream
}

var _ device.Stream = (*Stream)(nil)

// NewStream makes a stream.
func (d *Device) NewStream() (device.Stream, error) {
	s := &Stream{device: d}
	err := d.do("new stream", func() (err error) {
		s.stream, err = cu.MakeStream(cu.NonBlocking)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.own(s, s.stream.Destroy)
	return s, nil
}

// transfer is a copy between two places, which are checked before the driver is called. The driver rounds allocations up, and would
// not notice.
type transfer struct {
	what     string
	bytes    int
	dst, src func() error // checks
	call     func() error
}

func (d *Device) holds(p device.Ptr, bytes int) func() error {
	return func() error {
		_, err := d.memory.Find(uint64(p), bytes)
		return err
	}
}

func (d *Device) pins(b []byte) func() error { return func() error { return d.host.Check(b) } }

func (s *Stream) move(t transfer) error {
	if t.bytes == 0 {
		return nil
	}
	what := fmt.Sprintf("%s of %d bytes", t.what, t.bytes)
	for _, check := range []func() error{t.dst, t.src} {
		if err := check(); err != nil {
			return fmt.Errorf("cudriver: %s: %s: %w", s.device.name, what, err)
		}
	}
	return s.device.do(what, t.call)
}

// ToDevice copies from pinned memory.
func (s *Stream) ToDevice(dst device.Ptr, src []byte) error {
	return s.move(transfer{
		what: "copy to the device", bytes: len(src), dst: s.device.holds(dst, len(src)), src: s.device.pins(src),
		call: func() error {
			return cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(unsafe.SliceData(src)), int64(len(src)), s.stream)
		},
	})
}

// ToHost copies into pinned memory.
func (s *Stream) ToHost(dst []byte, src device.Ptr) error {
	return s.move(transfer{
		what: "copy to the host", bytes: len(dst), dst: s.device.pins(dst), src: s.device.holds(src, len(dst)),
		call: func() error {
			return cu.MemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(dst)), cu.DevicePtr(src), int64(len(dst)), s.stream)
		},
	})
}

// Copy copies inside the device.
func (s *Stream) Copy(dst, src device.Ptr, bytes int) error {
	return s.CopyFrom(dst, s.device, src, bytes)
}

// CopyFrom copies out of another GPU's memory: directly if ReachPeer could do it, else the driver goes through the host.
func (s *Stream) CopyFrom(dst device.Ptr, from device.Device, src device.Ptr, bytes int) error {
	peer, ok := from.(*Device)
	if !ok {
		return fmt.Errorf("cudriver: %s: copy from %s: it is no CUDA device", s.device.name, from.Info().Name)
	}
	t := transfer{what: "copy inside the device", bytes: bytes, dst: s.device.holds(dst, bytes), src: peer.holds(src, bytes)}
	if peer == s.device {
		t.call = func() error {
			return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), int64(bytes), s.stream)
		}
		return s.move(t)
	}
	here, err := s.device.primary()
	if err != nil {
		return err
	}
	there, err := peer.primary()
	if err != nil {
		return err
	}
	t.what = "copy from " + peer.name
	t.call = func() error {
		return cu.MemcpyPeerAsync(cu.DevicePtr(dst), here, cu.DevicePtr(src), there, int64(bytes), s.stream)
	}
	return s.move(t)
}

// Fill writes n words.
func (s *Stream) Fill(dst device.Ptr, word uint32, n int) error {
	if dst%4 != 0 {
		return fmt.Errorf("cudriver: %s: fill at %#x: want a multiple of 4", s.device.name, uint64(dst))
	}
	return s.move(transfer{
		what: "fill", bytes: 4 * n, dst: s.device.holds(dst, 4*n), src: func() error { return nil },
		call: func() error { return cu.MemsetD32Async(cu.DevicePtr(dst), uint(word), int64(n), s.stream) },
	})
}

// Launch starts a kernel.
func (s *Stream) Launch(fn device.Function, l device.Launch) error {
	f := fn.(*Function)
	if len(l.Args) != f.bytes {
		return fmt.Errorf("cudriver: %s: launch of %s with %d bytes of arguments: it takes %d", s.device.name, f.name, len(l.Args), f.bytes)
	}
	return s.device.do("launch of "+f.name, func() error {
		return cudadl.LaunchKernel(f.f, s.stream, cudadl.Launch{Grid: l.Grid, Block: l.Block, Shared: l.Shared, Arguments: l.Args})
	})
}

// Record makes the event happen after the stream's work so far.
func (s *Stream) Record(e device.Event) error {
	return s.device.do("record", func() error { return e.(*Event).event.Record(s.stream) })
}

// Wait holds later work until the event's last record has happened.
func (s *Stream) Wait(e device.Event) error {
	return s.device.do("wait", func() error { return s.stream.Wait(e.(*Event).event, 0) })
}

// Synchronize waits for all work.
func (s *Stream) Synchronize() error { return s.device.do("synchronize", s.stream.Synchronize) }

// Destroy forgets the stream; its work is still done.
func (s *Stream) Destroy() error {
	return s.device.do("destroy stream", func() error {
		if !s.device.disown(s) {
			return fmt.Errorf("the stream is destroyed already")
		}
		return s.stream.Destroy()
	})
}

// Event is a point on a stream.
type Event struct {
	device *Device
	event  cu.Event
}

var _ device.Event = (*Event)(nil)

// NewEvent makes an event that keeps time.
func (d *Device) NewEvent() (device.Event, error) {
	e := &Event{device: d}
	err := d.do("new event", func() (err error) {
		e.event, err = cu.MakeEvent(cu.DefaultEvent)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.own(e, func() error { return cu.DestroyEvent(&e.event) })
	return e, nil
}

// Synchronize waits until the last record has happened.
func (e *Event) Synchronize() error { return e.device.do("synchronize event", e.event.Synchronize) }

// Since is the time between two events, which the driver keeps to about half a microsecond.
func (e *Event) Since(earlier device.Event) (took time.Duration, err error) {
	err = e.device.do("time between events", func() error {
		milliseconds, err := earlier.(*Event).event.Elapsed(e.event)
		took = time.Duration(milliseconds * float64(time.Millisecond))
		return err
	})
	return took, err
}

// Destroy forgets the event. Waits for it still hold.
func (e *Event) Destroy() error {
	return e.device.do("destroy event", func() error {
		if !e.device.disown(e) {
			return fmt.Errorf("the event is destroyed already")
		}
		return cu.DestroyEvent(&e.event)
	})
}
