package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/ops"
)

// device is one row of `train devices`.
type device struct {
	Device      string `json:"device"`
	ISA         string `json:"isa,omitempty"`
	BFloat16ISA string `json:"bfloat16_isa,omitempty"` // of attention in bfloat16; "" where it has none
	Cores       int    `json:"cores,omitempty"`
	Used        bool   `json:"used"`
	Why         string `json:"why,omitempty"` // why it is not used
}

// row is the device as a line of the table.
func (d device) row() []string {
	cores, used := "", "yes"
	if d.Cores > 0 {
		cores = fmt.Sprint(d.Cores)
	}
	if !d.Used {
		used = "no: " + d.Why
	}
	return []string{d.Device, d.ISA, d.BFloat16ISA, cores, used}
}

func newDevices(out *output) *cobra.Command {
	return &cobra.Command{
		Use:   "devices",
		Short: "Show the CPU instruction set and the CUDA devices found, and why one is not used",
		RunE: func(*cobra.Command, []string) error {
			found := []device{
				{Device: "cpu", ISA: ops.ISA(), BFloat16ISA: ops.BFloat16ISA(), Cores: runtime.GOMAXPROCS(0), Used: true},
				{Device: "cuda", Why: "this version has no CUDA kernels; attention and matmul run on the CPU"},
			}
			if out.json {
				return out.document(map[string]any{"devices": found})
			}
			rows := make([][]string, len(found))
			for i, d := range found {
				rows[i] = d.row()
			}
			return out.table([]string{"device", "isa", "bfloat16", "cores", "used"}, rows)
		},
	}
}
