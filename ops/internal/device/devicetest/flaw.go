package devicetest

import (
	"sync"
	"time"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// Flaw is what is wrong with devices. The functions are called one at a time; nil is nothing.
type Flaw struct {
	Waits    func(w Wait) bool      // which are left out
	Launches func(number int) error // which fail, counted from 1 over all devices

	mu       sync.Mutex
	copies   map[*flawedStream]bool // streams that have copied from other devices
	launched int
}

// Wait is one for an event that was recorded on another stream.
type Wait struct {
	Same     bool // both streams are of one device
	OfCopies bool // the event was recorded on a stream of copies between devices
}

type flawedDevice struct {
	device.Device
	flaw *Flaw
}

type flawedStream struct {
	device.Stream
	device flawedDevice
}

type flawedEvent struct {
	device.Event
	recorded *flawedStream
	ofCopies bool
}

func (d flawedDevice) NewStream() (device.Stream, error) {
	s, err := d.Device.NewStream()
	return &flawedStream{s, d}, err
}

func (d flawedDevice) NewEvent() (device.Event, error) {
	e, err := d.Device.NewEvent()
	return &flawedEvent{Event: e}, err
}

func (s *flawedStream) Record(e device.Event) error {
	f, x := s.device.flaw, e.(*flawedEvent)
	f.mu.Lock()
	x.recorded, x.ofCopies = s, f.copies[s]
	f.mu.Unlock()
	return s.Stream.Record(x.Event)
}

func (s *flawedStream) Wait(e device.Event) error {
	f, x := s.device.flaw, e.(*flawedEvent)
	f.mu.Lock()
	drop := false
	if f.Waits != nil && x.recorded != nil && x.recorded != s {
		drop = f.Waits(Wait{x.recorded.device.Device == s.device.Device, x.ofCopies})
	}
	f.mu.Unlock()
	if drop {
		return nil
	}
	return s.Stream.Wait(x.Event)
}

func (s *flawedStream) CopyFrom(dst device.Ptr, peer device.Device, src device.Ptr, bytes int) error {
	f := s.device.flaw
	f.mu.Lock()
	f.copies[s] = true
	f.mu.Unlock()
	return s.Stream.CopyFrom(dst, peer.(flawedDevice).Device, src, bytes)
}

func (s *flawedStream) Launch(fn device.Function, l device.Launch) error {
	f := s.device.flaw
	f.mu.Lock()
	f.launched++
	var err error
	if f.Launches != nil {
		err = f.Launches(f.launched)
	}
	f.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Stream.Launch(fn, l)
}

func (e *flawedEvent) Since(earlier device.Event) (time.Duration, error) {
	return e.Event.Since(earlier.(*flawedEvent).Event)
}

// On puts the flaw on a device. Devices of one machine have one flaw.
func (f *Flaw) On(d device.Device) device.Device {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.copies == nil {
		f.copies = map[*flawedStream]bool{}
	}
	return flawedDevice{d, f}
}

// Launched is how many launches there were.
func (f *Flaw) Launched() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.launched
}
