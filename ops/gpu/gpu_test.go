package gpu_test

import (
	"fmt"
	"testing"

	"github.com/ringgrad/ringgrad/ops/gpu"
)

func ExampleList() {
	for _, d := range gpu.List().Devices {
		if d.Kind == "sim" {
			fmt.Println(d.Name, d.ComputeCapability, d.Why == "")
		}
	}
	// Output: simulator of 2 GPUs 9.0 true
}

// TestListSaysWhyThereIsNoGPU holds on every machine: a report without a GPU has a reason, and one with GPUs has none.
func TestListSaysWhyThereIsNoGPU(t *testing.T) {
	r := gpu.List()
	gpus := 0
	for _, d := range r.Devices {
		if d.Kind == "cuda" {
			gpus++
		}
		if (d.Kernels == "") != (d.Why != "") {
			t.Errorf("%+v: want kernels, or a reason", d)
		}
	}
	if (gpus == 0) != (r.Why != "") {
		t.Errorf("%d GPUs and %q", gpus, r.Why)
	}
}
