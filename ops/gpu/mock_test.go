//go:build ringcuda && cgo

package gpu_test

import (
	"os"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/gpu"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/mock"
)

func TestMain(m *testing.M) { os.Exit(mock.Main(m, "RINGGRAD_MOCK_CAPABILITY=9.0,7.5")) }

func TestListHasTheGPUsOfTheDriver(t *testing.T) {
	if !mock.Present() {
		t.Skip("the GPUs of this machine are what they are")
	}
	r := gpu.List()
	if r.Why != "" || len(r.Devices) != 3 {
		t.Fatalf("%+v: want two GPUs and the simulator", r)
	}
	first, second := r.Devices[0], r.Devices[1]
	kernels := first.Kernels
	want := gpu.Device{
		Kind: "cuda", Name: "Mock GPU 0", Memory: 1 << 30, Processors: 4, ComputeCapability: "9.0", Driver: "13.0", Kernels: kernels,
	}
	if first != want || kernels == "" {
		t.Errorf("the first is %+v: want %+v with kernels", first, want)
	}
	if second.Index != 1 || second.ComputeCapability != "7.5" || second.Kernels != "" || !strings.Contains(second.Why, "want 8.0 or more") {
		t.Errorf("the second is %+v: want one that is too old", second)
	}
}
