//go:build ringcuda && cgo

package cudriver_test

import (
	"os"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/mock"
	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
)

func TestMain(m *testing.M) { os.Exit(mock.Main(m, "RINGGRAD_MOCK_DEVICES=3")) }

// open makes devices that are closed at the end of the test, after which the mock must hold nothing.
func open(t testing.TB, o devicetest.Options) []device.Device {
	t.Helper()
	if mock.Present() {
		mock.Reset(o.Seed, o.Memory)
	}
	devices, report := cudriver.Devices()
	if len(devices) < o.Devices {
		t.Skipf("%d devices: want %d (%+v)", len(devices), o.Devices, report)
	}
	devices = devices[:o.Devices]
	t.Cleanup(func() {
		for _, d := range devices {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, what := range []string{"allocations", "pinned", "streams", "events", "modules", "contexts"} {
			if !mock.Present() {
				break
			}
			if n := mock.Live(what); n != 0 {
				t.Errorf("%d %s are left after Close", n, what)
			}
		}
	})
	return devices
}

// TestDriverIsADevice runs on the mock, or on GPUs with RINGGRAD_CUDA_LIBRARY=libcuda.so.1.
func TestDriverIsADevice(t *testing.T) {
	devicetest.Run(t, devicetest.Backend{Lazy: mock.Present(), Checked: mock.Present(), Open: open})
}
