//go:build ringcuda && cgo

package cudriver

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/cudadl"
	"github.com/ringgrad/ringgrad/ops/internal/device/extent"
)

// Device is a GPU.
type Device struct {
	id     cu.Device
	info   device.Info
	name   string // in errors: its number and its model
	memory extent.Table[struct{}]
	host   *extent.Host // pinned memory of all devices, which all may use
	lost   atomic.Pointer[error]

	mu      sync.Mutex
	context *cu.CUContext        // nil before the first Bind and after Close
	owned   map[any]func() error // what was made and not given back, and how to give it back
}

var _ device.Device = (*Device)(nil)

func newDevice(info device.Info, host *extent.Host) *Device {
	return &Device{
		id: cu.Device(info.Index), info: info, name: fmt.Sprintf("cuda%d (%s)", info.Index, info.Name), host: host,
		owned: map[any]func() error{},
	}
}

// Info describes the device.
func (d *Device) Info() device.Info { return d.info }

// Bind locks the goroutine to its thread and makes the device's primary context current there.
func (d *Device) Bind() (unbind func(), err error) {
	if err := d.retain(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	unbind = sync.OnceFunc(func() {
		_ = cu.SetCurrentContext(cu.CUContext{}) // nothing depends on it: every call sets its own
		runtime.UnlockOSThread()
	})
	if err := d.enter(); err != nil {
		unbind()
		return nil, err
	}
	return unbind, nil
}

// retain makes the primary context, once.
func (d *Device) retain() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.context != nil {
		return nil
	}
	context, err := d.id.RetainPrimaryCtx()
	if err != nil {
		return d.check("primary context", err)
	}
	d.context = &context
	return nil
}

// primary is the device's context.
func (d *Device) primary() (cu.CUContext, error) {
	if lost := d.lost.Load(); lost != nil {
		return cu.CUContext{}, *lost
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.context == nil {
		return cu.CUContext{}, fmt.Errorf("cudriver: %s has no context: call Bind first", d.name)
	}
	return *d.context, nil
}

// enter makes the device's context current on this thread, unless the device is lost. A goroutine may be bound to several devices.
func (d *Device) enter() error {
	context, err := d.primary()
	if err != nil {
		return err
	}
	return d.check("current context", cu.SetCurrentContext(context))
}

// do runs a call of the driver in the device's context.
func (d *Device) do(what string, call func() error) error {
	if err := d.enter(); err != nil {
		return err
	}
	return d.check(what, call())
}

// own notes what Close must give back; disown forgets it.
func (d *Device) own(thing any, destroy func() error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owned[thing] = destroy
}

func (d *Device) disown(thing any) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, known := d.owned[thing]
	delete(d.owned, thing)
	return known
}

// Alloc takes device memory.
func (d *Device) Alloc(bytes int) (device.Ptr, error) {
	if bytes < 1 {
		return 0, fmt.Errorf("cudriver: an allocation of %d bytes on %s: want at least 1", bytes, d.name)
	}
	var p cu.DevicePtr
	err := d.allocating(bytes, func() (err error) {
		p, err = cu.MemAlloc(int64(bytes))
		return err
	})
	if err != nil {
		return 0, err
	}
	d.memory.Add(uint64(p), bytes, struct{}{})
	return device.Ptr(p), nil
}

// allocating runs a call of the driver that may find no memory.
func (d *Device) allocating(bytes int, call func() error) error {
	if err := d.enter(); err != nil {
		return err
	}
	err := call()
	if !outOfMemory(err) {
		return d.check(fmt.Sprintf("allocation of %d bytes", bytes), err)
	}
	free, total, infoErr := cu.MemInfo()
	if infoErr != nil {
		return d.check("free memory", infoErr)
	}
	return &device.OutOfMemory{Device: d.name, Bytes: int64(bytes), Free: free, Total: total}
}

// Free gives device memory back, once the work that may use it is done.
func (d *Device) Free(p device.Ptr) error {
	if err := d.enter(); err != nil {
		return err
	}
	if _, err := d.memory.Remove(uint64(p)); err != nil {
		return fmt.Errorf("cudriver: Free on %s: %w", d.name, err)
	}
	return d.check("free", cu.MemFree(cu.DevicePtr(p)))
}

// InUse is what has not been freed.
func (d *Device) InUse() (allocations int, bytes int64) { return d.memory.Size() }

// Pinned takes page-locked host memory.
func (d *Device) Pinned(bytes int) (b []byte, err error) {
	if bytes < 1 {
		return nil, fmt.Errorf("cudriver: %d bytes of pinned memory: want at least 1", bytes)
	}
	err = d.do(fmt.Sprintf("%d bytes of pinned memory", bytes), func() (err error) {
		b, err = cudadl.HostAlloc(bytes)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.host.Add(b)
	d.own(&b[0], func() error { return d.unpin(b) })
	return b, nil
}

// FreePinned gives back what Pinned returned.
func (d *Device) FreePinned(b []byte) error {
	return d.do("free pinned memory", func() error {
		if err := d.unpin(b); err != nil {
			return err
		}
		d.disown(&b[0])
		return nil
	})
}

func (d *Device) unpin(b []byte) error {
	if err := d.host.Remove(b); err != nil {
		return err
	}
	return cu.MemFreeHost(unsafe.Pointer(&b[0]))
}

// ReachPeer lets kernels and copies of this device use the other's memory directly, where the hardware can.
func (d *Device) ReachPeer(other device.Device) error {
	peer, ok := other.(*Device)
	if !ok {
		return fmt.Errorf("cudriver: %s cannot reach %s: it is no CUDA device", d.name, other.Info().Name)
	}
	if peer == d {
		return nil
	}
	if err := peer.retain(); err != nil {
		return err
	}
	context, err := peer.primary()
	if err != nil {
		return err
	}
	return d.do("reach "+peer.name, func() error {
		can, err := d.id.CanAccessPeer(peer.id)
		if err != nil || can == 0 {
			return err
		}
		if err := context.EnablePeerAccess(0); err != nil && err != error(cu.PeerAccessAlreadyEnabled) { //nolint:errorlint // straight from the driver
			return err
		}
		return nil
	})
}

// Close gives back all that was made on the device, and its context.
func (d *Device) Close() error {
	d.mu.Lock()
	context, owned := d.context, d.owned
	d.context, d.owned = nil, map[any]func() error{}
	d.mu.Unlock()
	if context == nil {
		return nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failures := []error{cu.SetCurrentContext(*context), cu.Synchronize()}
	for _, destroy := range owned {
		failures = append(failures, destroy())
	}
	for _, e := range d.memory.Clear() {
		failures = append(failures, cu.MemFree(cu.DevicePtr(e.First)))
	}
	failures = append(failures, cu.SetCurrentContext(cu.CUContext{}))
	release := d.id.ReleasePrimaryCtx()
	if d.lost.Load() != nil {
		return d.check("close", release) // a lost device gives nothing back but its context
	}
	for _, err := range append(failures, release) {
		if err != nil {
			return d.check("close", err)
		}
	}
	return nil
}
