package sim

import (
	"fmt"
	"strings"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/ptx"
)

const (
	maxThreads    = 1024     // of a block
	defaultShared = 48 << 10 // bytes of shared memory that a block gets without asking
	maxGridX      = 1<<31 - 1
	maxGridYZ     = 1<<16 - 1
)

// parsed is the result of parsing a text once. Parsing costs far more than a small launch, and modules do not change.
type parsed struct {
	once   sync.Once
	module *ptx.Module
	err    error
}

var modules sync.Map // PTX text to *parsed

func parse(text string) (*ptx.Module, error) {
	entry, _ := modules.LoadOrStore(text, &parsed{})
	p := entry.(*parsed)
	p.once.Do(func() { p.module, p.err = ptx.Parse(text) })
	return p.module, p.err
}

// Module is parsed PTX.
type Module struct {
	device   *Device
	module   *ptx.Module
	unloaded bool // under the machine's lock
}

// Function is a kernel of a module.
type Function struct {
	module *Module
	f      *ptx.Function
	name   string
	shared int // bytes of dynamic shared memory it may take
}

var (
	_ device.Module   = (*Module)(nil)
	_ device.Function = (*Function)(nil)
)

// Load parses PTX, and refuses what is for another architecture.
func (d *Device) Load(text string) (device.Module, error) {
	module, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("sim: %s: %w", d.info.Name, err)
	}
	if err := d.runs(module.Target()); err != nil {
		return nil, err
	}
	err = d.locked(func() error { return nil })
	return &Module{device: d, module: module}, err
}

// runs tells whether the device runs PTX for a target: that of an older architecture, or of its own where the target ends in "a".
func (d *Device) runs(target string) error {
	var number int
	if _, err := fmt.Sscanf(target, "sm_%d", &number); err != nil {
		return fmt.Errorf("sim: the PTX's target is %q: want sm_ and a number", target)
	}
	own := 10*d.info.Major + d.info.Minor
	if number > own || strings.HasSuffix(target, "a") && number != own {
		return fmt.Errorf("sim: %s is %s and cannot run PTX for %s", d.info.Name, d.info.Arch(), target)
	}
	return nil
}

// Function finds a kernel.
func (m *Module) Function(name string, shared int) (device.Function, error) {
	f, err := m.module.Function(name)
	if err != nil {
		return nil, fmt.Errorf("sim: %w", err)
	}
	if most := m.device.info.SharedMemory - f.SharedBytes(); shared < 0 || shared > most {
		return nil, fmt.Errorf("sim: kernel %s asks for %d bytes of dynamic shared memory: %s gives at most %d", name, shared, m.device.info.Name, most)
	}
	return &Function{module: m, f: f, name: name, shared: max(shared, defaultShared-f.SharedBytes())}, m.device.locked(m.usable)
}

func (m *Module) usable() error {
	if m.unloaded {
		return fmt.Errorf("sim: a module of %s was unloaded", m.device.info.Name)
	}
	return nil
}

// Unload forgets the module; its functions must not be launched any more.
func (m *Module) Unload() error {
	return m.device.locked(func() error {
		err := m.usable()
		m.unloaded = true
		return err
	})
}

// Name is the kernel's.
func (f *Function) Name() string { return f.name }

// Launch enqueues a kernel. What CUDA checks at once is checked at once.
func (s *Stream) Launch(fn device.Function, l device.Launch) error {
	f := fn.(*Function)
	d := s.device
	return s.locked(func() error {
		if err := f.check(d, l); err != nil {
			return fmt.Errorf("sim: launch of %s on stream %s: %w", f.name, s.name(), err)
		}
		d.counters.Launches[f.name]++
		schedule := ptx.Schedule{Seed: s.seed(), Adversarial: d.machine.config.Adversarial, Resident: d.machine.config.Resident}
		launch := ptx.Launch{Grid: l.Grid, Block: [3]int{l.Block, 1, 1}, Shared: l.Shared, Args: append([]byte(nil), l.Args...)}
		s.enqueue(&operation{what: "kernel " + f.name, engine: true, run: func() (moment, error) {
			stats, err := f.f.Run(d.view(), launch, schedule)
			d.machine.count(d, stats.Instructions)
			return launchTime(stats.Instructions), err
		}})
		return nil
	})
}

// check refuses a launch that CUDA would refuse.
func (f *Function) check(d *Device, l device.Launch) error {
	if err := f.module.usable(); err != nil {
		return err
	}
	most := maxThreads
	if n := f.f.MaxThreads(); n > 0 {
		most = n
	}
	switch {
	case f.module.device != d:
		return fmt.Errorf("its module was loaded on %s", f.module.device.info.Name)
	case min(l.Grid[0], l.Grid[1], l.Grid[2]) < 1 || l.Grid[0] > maxGridX || max(l.Grid[1], l.Grid[2]) > maxGridYZ:
		return fmt.Errorf("the grid is %v: want 1 to %d, %d and %d blocks", l.Grid, maxGridX, maxGridYZ, maxGridYZ)
	case l.Block < 1 || l.Block > most:
		return fmt.Errorf("a block of %d threads: want 1 to %d", l.Block, most)
	case l.Shared < 0 || l.Shared > f.shared:
		return fmt.Errorf("%d bytes of dynamic shared memory: Function allowed %d", l.Shared, f.shared)
	case len(l.Args) != f.f.ArgBytes():
		return fmt.Errorf("%d bytes of arguments: the kernel takes %d", len(l.Args), f.f.ArgBytes())
	}
	return nil
}

// seed gives every launch its own, which depends on nothing but what was launched on its stream before.
func (s *Stream) seed() uint64 {
	s.launches++
	seed := s.device.machine.config.Seed
	for _, part := range []uint64{uint64(s.device.info.Index), uint64(s.index), s.launches} {
		seed = (seed ^ part) * 0x9e3779b97f4a7c15
		seed ^= seed >> 29
	}
	return seed
}

// view is what a kernel that begins now can see.
func (d *Device) view() *view {
	d.machine.mu.Lock()
	defer d.machine.mu.Unlock()
	return &view{devices: d.peers}
}

func (m *machine) count(d *Device, instructions int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d.counters.Instructions += instructions
}
