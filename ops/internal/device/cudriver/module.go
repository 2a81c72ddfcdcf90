//go:build ringcuda && cgo

package cudriver

import (
	"fmt"
	"regexp"
	"strconv"

	"gorgonia.org/cu"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/cudadl"
)

// Module is PTX that the driver has compiled.
type Module struct {
	device    *Device
	module    cu.Module
	arguments map[string]int // bytes that each kernel takes
}

// Function is a kernel.
type Function struct {
	f     cu.Function
	name  string
	bytes int // of its argument
}

var (
	_ device.Module   = (*Module)(nil)
	_ device.Function = (*Function)(nil)
)

// Load compiles PTX. The first time for a text takes seconds; the driver keeps the result in its cache on disk.
func (d *Device) Load(ptx string) (device.Module, error) {
	m := &Module{device: d, arguments: arguments(ptx)}
	err := d.do("load PTX", func() (err error) {
		m.module, err = cudadl.Load(ptx)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.own(m, m.module.Unload)
	return m, nil
}

// entry is a kernel whose only parameter is a struct.
var entry = regexp.MustCompile(`\.entry\s+([\w$]+)\s*\(\s*\.param\s+\.align\s+\d+\s+\.b8\s+[\w$]+\[(\d+)\]\s*\)`)

// arguments are the sizes of the kernels' arguments. The driver reads as many bytes as the kernel takes, whatever it is given.
func arguments(ptx string) map[string]int {
	bytes := map[string]int{}
	for _, match := range entry.FindAllStringSubmatch(ptx, -1) {
		n, err := strconv.Atoi(match[2])
		if err == nil {
			bytes[match[1]] = n
		}
	}
	return bytes
}

// Function finds a kernel, and lets it take more shared memory than the 48 KiB that all get.
func (m *Module) Function(name string, shared int) (device.Function, error) {
	bytes, ok := m.arguments[name]
	if !ok {
		return nil, fmt.Errorf("cudriver: %s: the module has no kernel %s with a struct as its only parameter", m.device.name, name)
	}
	f := &Function{name: name, bytes: bytes}
	err := m.device.do("kernel "+name, func() (err error) {
		f.f, err = m.module.Function(name)
		return err
	})
	if err == nil && shared > 0 {
		err = m.device.do(fmt.Sprintf("%d bytes of shared memory for %s", shared, name), func() error {
			return cudadl.SetFunctionAttribute(f.f, cudadl.MaxDynamicSharedMemory, shared)
		})
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Unload forgets the module and its kernels.
func (m *Module) Unload() error {
	return m.device.do("unload", func() error {
		if !m.device.disown(m) {
			return fmt.Errorf("the module is unloaded already")
		}
		return m.module.Unload()
	})
}

// Name is the kernel's.
func (f *Function) Name() string { return f.name }
