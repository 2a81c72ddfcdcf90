//go:build ringcuda && cgo

package cudriver

import (
	"fmt"

	"gorgonia.org/cu"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/cudadl"
	"github.com/ringgrad/ringgrad/ops/internal/device/extent"
)

// Devices lists the GPUs that can be used, and reports all that were found. No context is made yet.
func Devices() ([]device.Device, Report) {
	library, err := cudadl.State()
	r := Report{Library: library}
	if err != nil {
		r.Why = err.Error()
		return nil, r
	}
	driver := cu.Version()
	r.Driver = version(driver)
	n, err := cu.NumDevices()
	if err != nil {
		r.Why = fmt.Sprintf("cudriver: number of devices: %v", named(err))
		return nil, r
	}
	if n == 0 {
		r.Why = "the driver has no devices"
	}
	var devices []device.Device
	host := &extent.Host{}
	for i := range n {
		found := Found{Info: device.Info{Index: i, Driver: r.Driver}}
		if err := describe(&found.Info); err != nil {
			found.Why = err.Error()
		} else {
			found.Why = unusable(found.Info, driver)
		}
		r.Found = append(r.Found, found)
		if found.Why == "" {
			devices = append(devices, newDevice(found.Info, host))
		}
	}
	return devices, r
}

// describe fills in what the driver says of the device with the index.
func describe(i *device.Info) error {
	failed := func(what string, err error) error {
		return fmt.Errorf("cudriver: device %d: %s: %w", i.Index, what, named(err))
	}
	d, err := cu.GetDevice(i.Index)
	if err != nil {
		return failed("handle", err)
	}
	if i.Name, err = d.Name(); err != nil {
		return failed("name", err)
	}
	if i.Memory, err = d.TotalMem(); err != nil {
		return failed("memory", err)
	}
	for _, a := range []struct {
		what      string
		attribute cu.DeviceAttribute
		value     *int
	}{
		{"compute capability", cu.ComputeCapabilityMajor, &i.Major},
		{"compute capability", cu.ComputeCapabilityMinor, &i.Minor},
		{"processors", cu.MultiprocessorCount, &i.Processors},
		{"shared memory", cudadl.SharedMemoryPerBlock, &i.SharedMemory},
	} {
		if *a.value, err = d.Attribute(a.attribute); err != nil {
			return failed(a.what, err)
		}
	}
	return nil
}

// Versions of the driver, as cuDriverGetVersion writes them, that compile the PTX of the kernels.
const (
	oldestDriver       = 11_000 // PTX 7.0, for compute capability 8.0
	oldestHopperDriver = 12_000 // PTX 8.0, for 9.0
)

// unusable says why the kernels do not run on a device; "" if they do.
func unusable(i device.Info, driver int) string {
	need := oldestDriver
	if i.Major == 9 && i.Minor == 0 {
		need = oldestHopperDriver
	}
	switch {
	case i.Major < 8:
		return fmt.Sprintf("its compute capability is %d.%d: want 8.0 or more", i.Major, i.Minor)
	case driver < need:
		return fmt.Sprintf("the driver supports CUDA %s, and kernels for %s need %s: update the driver", version(driver), i.Arch(), version(need))
	}
	return ""
}

// version writes a number of cuDriverGetVersion, 1000·major + 10·minor.
func version(number int) string { return fmt.Sprintf("%d.%d", number/1000, number%1000/10) }
