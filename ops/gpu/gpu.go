// Package gpu says which GPUs this machine has, whether attention can run on them, and why not.
package gpu

import (
	"fmt"

	"github.com/ringgrad/ringgrad/ops/internal/accel"
	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
)

// Device is one that was found.
type Device struct {
	Kind              string // as configs name it: cuda or sim
	Index             int    // among those of its kind
	Name              string
	Memory            int64  // bytes
	Processors        int    // streaming multiprocessors
	ComputeCapability string // "9.0"
	Driver            string // the version of CUDA that the driver supports, "13.0"; "" for sim
	Kernels           string // how those for 16-bit types multiply: wgmma, or mma (mma.sync); "" for a device that is not used
	Why               string // why it is not used; "" if it can be
}

// Report is what was found.
type Report struct {
	Devices []Device // GPUs in the driver's order, then the simulator, which is always there
	Why     string   // why there are no GPUs; "" if there are
}

// List looks for GPUs. It makes nothing on them, and costs no more than starting the driver, which a program that was built with the tag
// ringcuda has done already.
func List() Report {
	_, found := cudriver.Devices()
	r := Report{Why: found.Why}
	for _, d := range found.Found {
		r.Devices = append(r.Devices, describe(accel.CUDA, d.Info, d.Why))
	}
	r.Devices = append(r.Devices, simulator())
	return r
}

// simulator is the devices of kind sim as one.
func simulator() Device {
	engines, err := accel.Engines(accel.Sim)
	if err != nil {
		return Device{Kind: accel.Sim, Why: err.Error()}
	}
	d := describe(accel.Sim, engines[0].Device().Info(), "")
	d.Name, d.Driver = fmt.Sprintf("simulator of %d GPUs", len(engines)), ""
	return d
}

func describe(kind string, i device.Info, why string) Device {
	d := Device{
		Kind: kind, Index: i.Index, Name: i.Name, Memory: i.Memory, Processors: i.Processors,
		ComputeCapability: fmt.Sprintf("%d.%d", i.Major, i.Minor), Driver: i.Driver, Why: why,
	}
	if why == "" {
		d.Kernels = string(cuda.Preferred(i))
	}
	return d
}
