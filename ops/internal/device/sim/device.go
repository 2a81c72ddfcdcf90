package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// Device is a simulated device.
type Device struct {
	machine *machine
	info    device.Info
	memory  memory
	peers   []*Device // whose memory kernels of this device may read; itself first

	// Under the machine's lock.
	bound    int // goroutines
	streams  int // made so far
	events   int // made so far
	engine   moment
	lost     error // the fault that ended it
	closed   bool
	counters Counters
}

var _ device.Device = (*Device)(nil)

// Counters say what a device has done.
type Counters struct {
	Launches     map[string]int // by the kernel's name
	Instructions int64          // of all threads
	ToDevice     int64          // bytes
	ToHost       int64
	Copied       int64 // inside the device
	FromPeers    int64
	Filled       int64
}

func newDevice(m *machine, index int) *Device {
	d := &Device{
		machine: m,
		info: device.Info{
			Name: fmt.Sprintf("sim%d", index), Index: index, Major: m.config.Major, Minor: m.config.Minor, Memory: m.config.Memory,
			Processors: m.config.Processors, SharedMemory: m.config.SharedMemory, Driver: "simulator",
		},
		counters: Counters{Launches: map[string]int{}},
	}
	d.memory.info, d.memory.next = d.info, device.Ptr(index+1)*span
	d.peers = []*Device{d}
	return d
}

// Info describes the device.
func (d *Device) Info() device.Info { return d.info }

// Counters is what the device has done so far.
func (d *Device) Counters() Counters {
	d.machine.mu.Lock()
	defer d.machine.mu.Unlock()
	c := d.counters
	c.Launches = maps.Clone(c.Launches)
	return c
}

// Bind counts the goroutines, so that a caller that forgets to bind is told.
func (d *Device) Bind() (unbind func(), err error) {
	d.machine.mu.Lock()
	defer d.machine.mu.Unlock()
	if d.closed {
		return nil, fmt.Errorf("sim: %s is closed", d.info.Name)
	}
	d.bound++
	return sync.OnceFunc(func() {
		d.machine.mu.Lock()
		defer d.machine.mu.Unlock()
		d.bound--
	}), nil
}

// usable says why the device takes no call: nobody has bound it, it is closed, or it is lost. The caller holds the lock.
func (d *Device) usable() error {
	switch {
	case d.closed:
		return fmt.Errorf("sim: %s is closed", d.info.Name)
	case d.lost != nil:
		return d.lost
	case d.bound == 0:
		return fmt.Errorf("sim: no goroutine is bound to %s: call Bind first", d.info.Name)
	}
	return nil
}

// locked runs f under the machine's lock if the device is usable.
func (d *Device) locked(f func() error) error {
	d.machine.mu.Lock()
	defer d.machine.mu.Unlock()
	if err := d.usable(); err != nil {
		return err
	}
	return f()
}

// Alloc takes memory and fills it with 0xff.
func (d *Device) Alloc(bytes int) (p device.Ptr, err error) {
	err = d.locked(func() error {
		p, err = d.memory.alloc(bytes)
		return err
	})
	return p, err
}

// Free gives memory back. Work that is still queued and uses it will fail.
func (d *Device) Free(p device.Ptr) error {
	return d.locked(func() error { return d.memory.free(p) })
}

// InUse is what has not been freed.
func (d *Device) InUse() (allocations int, bytes int64) {
	return d.memory.table.Size()
}

// ReachPeer lets kernels of this device use the other's memory.
func (d *Device) ReachPeer(other device.Device) error {
	return d.locked(func() error {
		peer, ok := other.(*Device)
		if !ok || peer.machine != d.machine {
			return fmt.Errorf("sim: %s cannot reach %s: it is no device of the same simulator", d.info.Name, other.Info().Name)
		}
		if !slices.Contains(d.peers, peer) {
			d.peers = append(slices.Clone(d.peers), peer) // running kernels keep the old slice
		}
		return nil
	})
}

// Close drops all work and memory.
func (d *Device) Close() error {
	m := d.machine
	m.mu.Lock()
	defer m.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	m.drop(d)
	for m.busyOn(d) {
		m.changed.Wait()
	}
	d.memory.table.Clear()
	m.changed.Broadcast()
	return nil
}

// lose ends the device: its work is dropped, and every later call gives the error. The caller holds the lock.
func (d *Device) lose(cause error) {
	if d.lost != nil {
		return
	}
	d.lost = fmt.Errorf("sim: %s: %w: %w", d.info.Name, device.ErrLost, cause)
	d.machine.drop(d)
}

// errClosed is what work finds when its device closes under it.
var errClosed = errors.New("the device is closed")
