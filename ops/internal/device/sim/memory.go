package sim

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/extent"
)

const (
	span      = 1 << 40 // addresses a device; device i begins at (i+1)·span, so that no two devices share an address
	alignment = 256     // of allocations, as CUDA promises
	redZone   = 4096    // addresses between allocations that belong to none
)

// poison is a NaN in every floating-point format that kernels read.
var poison = []byte{0xff}

// memory is that of one device. Addresses are never used twice, so that use after Free is always seen. The table is looked up without
// the machine's lock; the rest is under it.
type memory struct {
	info  device.Info
	table extent.Table[[]byte]
	next  device.Ptr
}

func (m *memory) alloc(bytes int) (device.Ptr, error) {
	if bytes < 1 {
		return 0, fmt.Errorf("sim: an allocation of %d bytes on %s: want at least 1", bytes, m.info.Name)
	}
	_, used := m.table.Size()
	if int64(bytes) > m.info.Memory-used {
		return 0, &device.OutOfMemory{Device: m.info.Name, Bytes: int64(bytes), Free: m.info.Memory - used, Total: m.info.Memory}
	}
	words := make([]uint64, (bytes+7)/8) // aligned for every type that kernels use
	data := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))[:bytes:bytes]
	fill(data, poison)
	first := m.next
	m.table.Add(uint64(first), bytes, data)
	m.next += (device.Ptr(bytes+redZone) + alignment - 1) / alignment * alignment
	return first, nil
}

func (m *memory) free(p device.Ptr) error {
	if _, err := m.table.Remove(uint64(p)); err != nil {
		return fmt.Errorf("sim: Free on %s: %w", m.info.Name, err)
	}
	return nil
}

// slice is the n bytes at p.
func (m *memory) slice(p device.Ptr, n int) ([]byte, error) {
	e, err := m.table.Find(uint64(p), n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.info.Name, err)
	}
	return bytesAt(e, uint64(p), n), nil
}

func bytesAt(e *extent.Extent[[]byte], p uint64, n int) []byte { return e.Of[p-e.First:][:n:n] }

// fill repeats a pattern over all of b.
func fill(b, pattern []byte) {
	for n := copy(b, pattern); n < len(b); n *= 2 {
		copy(b[n:], b[:n])
	}
}

// view is global memory as one running kernel sees it: its device's and that of peers it reaches.
type view struct {
	devices []*Device
	last    atomic.Pointer[extent.Extent[[]byte]] // the one that was asked for last; most accesses go there
}

// At finds n bytes at an address, for package ptx.
func (v *view) At(address uint64, n int) ([]byte, error) {
	if e := v.last.Load(); e.Holds(address, n) {
		return bytesAt(e, address, n), nil
	}
	for _, d := range v.devices {
		if address/span != uint64(d.info.Index+1) {
			continue
		}
		e, err := d.memory.table.Find(address, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.info.Name, err)
		}
		v.last.Store(e)
		return bytesAt(e, address, n), nil
	}
	return nil, fmt.Errorf("address %#x is not in the memory of %s or of a peer that it reaches", address, v.devices[0].info.Name)
}
