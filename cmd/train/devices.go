package main

import (
	"cmp"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/gpu"
)

// device is one row of `train devices`.
type device struct {
	Device            string `json:"device"`
	Index             *int   `json:"index,omitempty"` // of a GPU
	Name              string `json:"name,omitempty"`
	ISA               string `json:"isa,omitempty"`
	BFloat16ISA       string `json:"bfloat16_isa,omitempty"` // of attention in bfloat16; "" where it has none
	Cores             int    `json:"cores,omitempty"`        // or streaming multiprocessors
	Memory            int64  `json:"memory_bytes,omitempty"`
	ComputeCapability string `json:"compute_capability,omitempty"`
	Kernels           string `json:"kernels,omitempty"` // of 16-bit types: wgmma or mma
	Driver            string `json:"driver,omitempty"`  // version of CUDA that it supports
	Used              bool   `json:"used"`
	Why               string `json:"why,omitempty"` // why it is not used
}

var deviceColumns = []string{"device", "name", "isa", "bfloat16", "cores", "memory", "driver", "used"}

// row is the device as a line of the table.
func (d device) row() []string {
	name, cores, memory, used := d.Device, "", "", "yes"
	if d.Index != nil {
		name = fmt.Sprintf("%s:%d", d.Device, *d.Index)
	}
	if d.Cores > 0 {
		cores = fmt.Sprint(d.Cores)
	}
	if d.Memory > 0 {
		memory = fmt.Sprintf("%.1f GB", float64(d.Memory)/1e9)
	}
	isa := d.ISA
	if d.ComputeCapability != "" {
		isa = "sm " + d.ComputeCapability
	}
	if !d.Used {
		used = "no: " + d.Why
	}
	return []string{name, d.Name, isa, cmp.Or(d.BFloat16ISA, d.Kernels), cores, memory, d.Driver, used}
}

// listDevices is the CPU, the GPUs or why there are none, and the simulator.
func listDevices() []device {
	found := []device{{Device: "cpu", ISA: ops.ISA(), BFloat16ISA: ops.BFloat16ISA(), Cores: runtime.GOMAXPROCS(0), Used: true}}
	report := gpu.List()
	if report.Why != "" {
		found = append(found, device{Device: "cuda", Why: report.Why})
	}
	for _, g := range report.Devices {
		d := device{
			Device: g.Kind, Name: g.Name, Cores: g.Processors, Memory: g.Memory, ComputeCapability: g.ComputeCapability,
			Kernels: g.Kernels, Driver: g.Driver, Used: g.Why == "", Why: g.Why,
		}
		if g.Kind == "cuda" {
			d.Index = &g.Index
		}
		found = append(found, d)
	}
	return found
}

func newDevices(out *output) *cobra.Command {
	return &cobra.Command{
		Use:   "devices",
		Short: "Show the CPU instruction set and the CUDA devices found, and why one is not used",
		Long: "devices lists what the key device of a config may name: the CPU with the instruction set of its\n" +
			"kernels, the GPUs of this machine, and sim, which runs the kernels of GPUs on the CPU, slowly, to\n" +
			"check them. bfloat16 is how attention in bfloat16 multiplies: an instruction set of the CPU, or wgmma\n" +
			"(compute capability 9.0) or mma (8.0 and more) of a GPU.",
		RunE: func(*cobra.Command, []string) error {
			found := listDevices()
			if out.json {
				return out.document(map[string]any{"devices": found})
			}
			rows := make([][]string, len(found))
			for i, d := range found {
				rows[i] = d.row()
			}
			return out.table(deviceColumns, rows)
		},
	}
}
