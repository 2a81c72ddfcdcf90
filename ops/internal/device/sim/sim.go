// Package sim is a set of devices in this process: it runs PTX without a GPU, and looks for mistakes in how work is ordered.
//
// Streams are queues whose work runs when somebody waits for it, or now and then when it is enqueued, in an order drawn at random
// among all that CUDA permits:
//
//	stream 0   copy ─▶ record e ─▶ copy           the copy on stream 0 after e, and the launch, may run in either order;
//	stream 1   wait e ─▶ launch                   without the wait, the launch may run before both copies
//
// So a missing wait shows as a wrong result over a few seeds. Copies read and write when they run, device memory holds 0xff until
// something is written, and an access outside an allocation, after Free, or of host memory that is not pinned is an error that names
// it. The same seed gives the same results, and the same order too if one goroutine drives all devices.
//
// Launches and copies run in the goroutines that wait, outside the lock: devices driven by a goroutine each use as many cores.
package sim

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// Config describes the devices. The zero value is one device like a small H100.
type Config struct {
	Devices      int
	Memory       int64 // bytes a device
	Major, Minor int   // compute capability
	Processors   int
	SharedMemory int // bytes a block may take

	// Seed draws the order of streams and, in kernels, of warps.
	Seed uint64
	// Adversarial runs the warps of a kernel in random legal orders, to find races inside kernels.
	Adversarial bool
	// Resident is how many blocks of a kernel run interleaved; 0 is one after another.
	Resident int
	// Eager runs work as soon as it may run, in the order in which it was enqueued: for training runs, which look for no mistakes.
	Eager bool
}

// EnsureDefaults fills in what is zero.
func (c *Config) EnsureDefaults() {
	defaults := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	defaults(&c.Devices, 1)
	defaults(&c.Processors, 4)
	defaults(&c.SharedMemory, 227<<10)
	if c.Major == 0 {
		c.Major, c.Minor = 9, 0
	}
	if c.Memory == 0 {
		c.Memory = 4 << 30
	}
}

// Validate refuses what no device is.
func (c *Config) Validate() error {
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"devices", int64(c.Devices)}, {"memory", c.Memory}, {"major", int64(c.Major)}, {"processors", int64(c.Processors)},
		{"shared memory", int64(c.SharedMemory)},
	} {
		if field.value < 1 {
			return fmt.Errorf("sim: %s is %d: want at least 1", field.name, field.value)
		}
	}
	if c.Memory > span/2 {
		return fmt.Errorf("sim: memory is %d bytes: want at most %d", c.Memory, span/2)
	}
	return nil
}

// New makes the devices. They are *Device, and know each other.
func New(c Config) ([]device.Device, error) {
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	m := &machine{config: c, random: rand.New(rand.NewPCG(c.Seed, 0x51ab))} //nolint:gosec // an order, not a secret
	m.changed = sync.NewCond(&m.mu)
	devices := make([]device.Device, c.Devices)
	for i := range devices {
		d := newDevice(m, i)
		m.devices = append(m.devices, d)
		devices[i] = d
	}
	return devices, nil
}
