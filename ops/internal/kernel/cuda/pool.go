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
	free  map[int][]device.Ptr // by class
	taken map[device.Ptr]int   // to its class
	bytes int64                // taken
}

func newPool(dev device.Device) *pool {
	return &pool{dev: dev, free: map[int][]device.Ptr{}, taken: map[device.Ptr]int{}}
}

// class rounds bytes up to four steps an octave: at most a quarter is lost.
func class(bytes int) int {
	bytes = max(bytes, pieceUnit)
	step := 1 << max(bits.Len(uint(bytes-1))-3, 8)
	return roundUp(bytes, step)
}

func (p *pool) take(bytes int) (device.Ptr, error) {
	size := class(bytes)
	p.mu.Lock()
	defer p.mu.Unlock()
	ptr, err := p.find(size)
	if err != nil {
		return 0, err
	}
	p.taken[ptr] = size
	p.bytes += int64(size)
	return ptr, nil
}

// find returns memory that was given back, or new memory; where the device has no more, all that is free goes back to it first.
func (p *pool) find(size int) (device.Ptr, error) {
	if list := p.free[size]; len(list) > 0 {
		p.free[size] = list[:len(list)-1]
		return list[len(list)-1], nil
	}
	ptr, err := p.dev.Alloc(size)
	if _, full := errors.AsType[*device.OutOfMemory](err); full && p.trim() == nil {
		ptr, err = p.dev.Alloc(size)
	}
	if err != nil {
		return 0, fmt.Errorf("cuda: %d bytes of device memory: %w", size, err)
	}
	return ptr, nil
}

// trim gives free memory back to the device.
func (p *pool) trim() error {
	var errs []error
	for size, list := range p.free {
		for _, ptr := range list {
			errs = append(errs, p.dev.Free(ptr))
		}
		delete(p.free, size)
	}
	return errors.Join(errs...)
}

func (p *pool) give(ptrs ...device.Ptr) {
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
		p.free[size] = append(p.free[size], ptr)
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
	errs := []error{p.trim()}
	for ptr := range p.taken {
		errs = append(errs, p.dev.Free(ptr))
	}
	clear(p.taken)
	p.bytes = 0
	return errors.Join(errs...)
}
