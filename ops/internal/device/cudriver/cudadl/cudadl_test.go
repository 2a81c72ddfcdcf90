//go:build ringcuda && cgo

package cudadl_test

import (
	"os"
	"testing"

	"gorgonia.org/cu"

	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/cudadl"
)

// TestProgramsRunWithoutADriver: package cu's init has run by now, and would have ended the process.
func TestProgramsRunWithoutADriver(t *testing.T) {
	library, why := cudadl.State()
	if library == "" {
		t.Error("no library was tried")
	}
	n, err := cu.NumDevices()
	if err != nil {
		t.Fatal(err)
	}
	if why == nil {
		t.Skipf("%s is there, with %d devices", library, n)
	}
	if n != 0 {
		t.Errorf("%d devices without a driver: %v", n, why)
	}
	if _, err := cu.GetDevice(0); err == nil {
		t.Error("without a driver there is a device 0")
	}
	if os.Getenv("RINGGRAD_CUDA_LIBRARY") == "" && library != "libcuda.so.1" {
		t.Errorf("the library tried is %s: want libcuda.so.1", library)
	}
}
