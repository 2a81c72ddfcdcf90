package ring_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// flaw is what is wrong with devices; its methods are called under a lock.
type flaw struct {
	mu       sync.Mutex
	waits    func(w wait) bool      // which are left out
	launches func(number int) error // which fail
	copies   map[*flawedStream]bool // streams that have copied from other devices
	launched int
}

// wait is one for an event that was recorded on another stream, or never.
type wait struct {
	recorded, waits *flawedStream
	ofCopies        bool // recorded on a stream of copies
}

// The roles of waits in a ring whose ranks have a device each.
const (
	arrived = "work waits for the copy of its block"
	ready   = "a copy waits until its block is made"
	free    = "a copy waits until its slot is free"
	reuse   = "memory waits for the copies out of it"
)

func (w wait) role() string {
	same := w.recorded != nil && w.recorded.device.Device == w.waits.device.Device
	switch {
	case w.ofCopies && same:
		return arrived
	case w.ofCopies:
		return reuse
	case same:
		return free
	}
	return ready
}

type flawedDevice struct {
	device.Device
	flaw *flaw
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
	w := wait{x.recorded, s, x.ofCopies}
	drop := f.waits != nil && x.recorded != s && f.waits(w)
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
	n := f.launched
	f.mu.Unlock()
	if f.launches != nil {
		if err := f.launches(n); err != nil {
			return err
		}
	}
	return s.Stream.Launch(fn, l)
}

func (e *flawedEvent) Since(earlier device.Event) (time.Duration, error) {
	return e.Event.Since(earlier.(*flawedEvent).Event)
}

// with returns a wrapper for devices.
func (f *flaw) with() func(device.Device) device.Device {
	f.copies = map[*flawedStream]bool{}
	return func(d device.Device) device.Device { return flawedDevice{d, f} }
}

func TestADeviceThatIsLostEndsAllRanksByName(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, at := range []int{1, 9, 30, 60} {
		f := &flaw{launches: func(n int) error {
			if n == at {
				return fmt.Errorf("uncorrectable ECC error (214): %w", device.ErrLost)
			}
			return nil
		}}
		engines(t, sim.Config{Devices: 2}, f.with())
		c := onDevices(t, 40)
		c.Sharding, _ = shard.New(shard.Zigzag, 40, 4)
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		_, err := wholeOf[float32](ctx, c)
		stop()
		if !errors.Is(err, device.ErrLost) || !strings.Contains(err.Error(), "ECC") {
			t.Errorf("launch %d fails: error %v, want the device's", at, err)
		}
	}
}

// TestAMissingWaitIsCaught leaves out one kind of wait at a time, in every direction of travel, and looks whether any of some orders of
// the streams shows it.
func TestAMissingWaitIsCaught(t *testing.T) {
	const size, tokens, seeds = 4, 24, 16
	c := newCall(t, shard.Contiguous, tokens, 1)
	c.Heads, c.Mask, c.Device = 1, nil, ring.Sim // full: every block goes everywhere
	onCPU := c
	onCPU.Device = ring.CPU
	want := whole(t, onCPU)
	c.Sharding, _ = shard.New(shard.Striped, tokens, size)
	broken := func(travel ring.Travel, drop func(wait) bool) bool {
		for seed := range uint64(seeds) {
			f := &flaw{waits: drop}
			engines(t, sim.Config{Devices: size, Seed: seed}, f.with())
			c := c
			c.Travel = travel
			got, err := wholeOf[float32](t.Context(), c)
			if err != nil || differ(got, want, float32Limit) != nil {
				return true
			}
		}
		return false
	}
	for _, travel := range []ring.Travel{ring.KV, ring.Q} {
		if broken(travel, nil) {
			t.Fatalf("%s travel: broken without a fault", travel)
		}
		for _, role := range []string{arrived, ready, free, reuse} {
			if !broken(travel, func(w wait) bool { return w.role() == role }) {
				t.Errorf("%s travel: nobody sees that %q is left out", travel, role)
			}
		}
	}
}
