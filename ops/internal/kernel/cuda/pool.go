package cuda

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// pool keeps the device's memory by size class, so that a training step takes none from the driver once the first has run.
type pool struct {
	dev   device.Device
	mu    sync.Mutex
	free  map[int][]rested   // by class
	taken map[device.Ptr]int // to its class
	bytes int64              // taken
}

// rested is free memory that may still be read until some events have happened.
type rested struct {
	ptr   device.Ptr
	after []device.Event
}

func newPool(dev device.Device) *pool {
	return &pool{dev: dev, free: map[int][]rested{}, taken: map[device.Ptr]int{}}
}

// class rounds bytes up to four steps an octave: at most a quarter is lost.
func class(bytes int) int {
	bytes = max(bytes, pieceUnit)
	step := 1 << max(bits.Len(uint(bytes-1))-3, 8)
	return roundUp(bytes, step)
}

// take returns memory for the work behind wait, which is called for every event that it must come after.
func (p *pool) take(bytes int, wait func(device.Event) error) (device.Ptr, error) {
	size := class(bytes)
	p.mu.Lock()
	defer p.mu.Unlock()
	m, err := p.find(size)
	if err != nil {
		return 0, err
	}
	p.taken[m.ptr] = size
	p.bytes += int64(size)
	for _, e := range m.after {
		if err := wait(e); err != nil {
			return 0, fmt.Errorf("cuda: %w", err)
		}
	}
	return m.ptr, nil
}

// find returns memory that was given back, or new memory; where the device has no more, all that is free goes back to it first.
func (p *pool) find(size int) (rested, error) {
	if list := p.free[size]; len(list) > 0 {
		p.free[size] = list[1:]
		return list[0], nil
	}
	ptr, err := p.dev.Alloc(size)
	if _, full := errors.AsType[*device.OutOfMemory](err); full && p.trim(device.Event.Synchronize) == nil {
		ptr, err = p.dev.Alloc(size)
	}
	if err != nil {
		return rested{}, fmt.Errorf("cuda: %d bytes of device memory: %w", size, err)
	}
	return rested{ptr: ptr}, nil
}

// trim gives free memory back to the device, once the events have happened that it waits for.
func (p *pool) trim(happened func(device.Event) error) error {
	var errs []error
	for size, list := range p.free {
		for _, m := range list {
			for _, e := range m.after {
				errs = append(errs, happened(e))
			}
			errs = append(errs, p.dev.Free(m.ptr))
		}
		delete(p.free, size)
	}
	return errors.Join(errs...)
}

// give takes memory back that nothing uses any more once some events have happened.
func (p *pool) give(ptrs []device.Ptr, after ...device.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, ptr := range ptrs {
		if ptr == 0 {
			continue
		}
		size, ok := p.taken[ptr]
		if !ok {
			panic(fmt.Sprintf("cuda: memory at %#x was not taken, or given back twice", uint64(ptr)))
		}
		delete(p.taken, ptr)
		p.bytes -= int64(size)
		p.free[size] = append(p.free[size], rested{ptr, after})
	}
}

func (p *pool) inUse() (pieces int, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.taken), p.bytes
}

// close gives all back, taken or not.
func (p *pool) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	errs := []error{p.trim(func(device.Event) error { return nil })} // no work is under way
	for ptr := range p.taken {
		errs = append(errs, p.dev.Free(ptr))
	}
	clear(p.taken)
	p.bytes = 0
	return errors.Join(errs...)
}
