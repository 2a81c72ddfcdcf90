package cuda

import (
	"errors"
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Engine has the kernels, the memory and the tile lists of one device. All its methods may be called at the same time from
// goroutines bound to the device; those that are given a stream only enqueue work on it.
type Engine struct {
	dev     device.Device
	options Options
	memory  *pool
	modules *modules

	lanes *lanes
	epoch epoch // of traces

	mu     sync.Mutex // of what is below
	tables map[tableKey]*table
	clock  int64
}

// New returns an engine for a device, which it does not own. Kernels are loaded when they are first needed.
func New(dev device.Device, cfg Options) (*Engine, error) {
	cfg.EnsureDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Engine{
		dev: dev, options: cfg, memory: newPool(dev), modules: newModules(dev), lanes: newLanes(dev), tables: map[tableKey]*table{},
	}, nil
}

// Device is the engine's.
func (e *Engine) Device() device.Device { return e.dev }

// Take returns memory of the device, of at least so many bytes at a multiple of 256, with arbitrary contents. It comes from what was
// given back if it can.
func (e *Engine) Take(bytes int) (device.Ptr, error) {
	return e.memory.take(bytes, device.Event.Synchronize)
}

// Give takes memory back; 0 is none. Work that uses it must be done, unless whoever takes it next works behind it on the same stream.
func (e *Engine) Give(ptrs ...device.Ptr) { e.memory.give(ptrs) }

// InUse is the pieces of memory that have been taken and not given back, tile lists not counted, and all bytes taken.
func (e *Engine) InUse() (pieces int, bytes int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	pieces, bytes = e.memory.inUse()
	return pieces - len(e.tables), bytes
}

// Close gives back all that the engine holds on the device. No work may be under way.
func (e *Engine) Close() error {
	unbind, err := e.dev.Bind()
	if err != nil {
		return fmt.Errorf("cuda: %w", err)
	}
	defer unbind()
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.tables)
	if e.epoch.event != nil {
		e.lanes.giveEvents(e.epoch.event)
	}
	if err := errors.Join(e.lanes.close(), e.modules.close(), e.memory.close()); err != nil {
		return fmt.Errorf("cuda: closing the engine: %w", err)
	}
	return nil
}

// keep takes memory for data, writes it there and waits until it is there.
func (e *Engine) keep(data []byte) (p device.Ptr, err error) {
	stream, err := e.lanes.stream()
	if err != nil {
		return 0, err
	}
	defer e.lanes.giveStream(stream)
	staged, err := e.lanes.memory(len(data))
	if err != nil {
		return 0, err
	}
	defer e.lanes.giveMemory(staged)
	copy(staged, data)
	if p, err = e.memory.take(len(data), stream.Wait); err != nil {
		return 0, err
	}
	if err := errors.Join(stream.ToDevice(p, staged), stream.Synchronize()); err != nil {
		e.Give(p)
		return 0, fmt.Errorf("cuda: tile lists: %w", err)
	}
	return p, nil
}

// Block is a kernel.Block made ready: its kernels are chosen, and its tile lists and positions lie on the device.
type Block struct {
	Shape
	Rows, Keys int // S and N
	of         kernel.Block
	engine     *Engine
	kernels    *kernels
	table      *table
}

// Prepare makes a block ready, for as many operations as one likes, until it is released. Lists that an earlier block of the same mask, positions and
// slopes had are found again; else they are made and sent, and Prepare waits for that. Sinks and the keys of dropout may differ: the
// operations get them as arrays.
func (e *Engine) Prepare(b kernel.Block, f Format) (*Block, error) {
	s := ShapeOf(b, f)
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if n := len(b.Slopes); n != 0 && n != b.Heads {
		return nil, fmt.Errorf("cuda: %d ALiBi slopes for %d query heads: give one a head", n, b.Heads)
	}
	k, err := e.choose(s)
	if err != nil {
		return nil, err
	}
	t, err := e.table(b, k)
	if err != nil {
		return nil, err
	}
	return &Block{Shape: s, Rows: kernel.Len(b.Rows), Keys: kernel.Len(b.Cols), of: b, engine: e, kernels: k, table: t}, nil
}

// Release lets the engine forget the block's lists in favour of others. Work that uses them must be done. Nil is fine.
func (b *Block) Release() {
	if b != nil && b.table != nil {
		b.engine.release(b.table)
	}
}

// Empty reports whether no query sees any key.
func (b *Block) Empty() bool { return b.table.pairs == 0 }
