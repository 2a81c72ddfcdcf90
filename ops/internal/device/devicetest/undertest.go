package devicetest

import (
	"os"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
)

// OnGPUs reports whether tests of what stands on devices are asked to take GPUs, by RINGGRAD_TEST_DEVICE=cuda; else they take the
// simulator. It takes a test binary with the tag ringcuda.
func OnGPUs() bool { return os.Getenv("RINGGRAD_TEST_DEVICE") == "cuda" }

// UnderTest is the devices that such a test takes: simulated ones, or GPUs, at least one and at most as many as the config asks for. There
// a test is skipped that asks for what only simulated devices can be: small, or of another compute capability. They are closed at the end.
func UnderTest(t testing.TB, c sim.Config) []device.Device {
	t.Helper()
	if !OnGPUs() {
		devices, err := sim.New(c)
		if err != nil {
			t.Fatal(err)
		}
		return devices
	}
	if c.Memory != 0 || c.Major != 0 {
		t.Skip("GPUs are what they are")
	}
	c.EnsureDefaults()
	keepContexts()
	devices, report := cudriver.Devices()
	if len(devices) == 0 {
		t.Fatalf("RINGGRAD_TEST_DEVICE=cuda, and there is no GPU to use: %+v", report)
	}
	devices = devices[:min(c.Devices, len(devices))]
	t.Cleanup(func() {
		for _, d := range devices {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return devices
}

// SkipOnGPUs leaves a test out that is about the simulator.
func SkipOnGPUs(t testing.TB, why string) {
	t.Helper()
	if OnGPUs() {
		t.Skip(why)
	}
}

// keepContexts makes the contexts of all GPUs and keeps them, so that they are not made anew for every test, which takes some tenths of a
// second each time.
var keepContexts = sync.OnceFunc(func() {
	devices, _ := cudriver.Devices()
	for _, d := range devices {
		if unbind, err := d.Bind(); err == nil { // a test will meet the error
			unbind()
		}
	}
})
