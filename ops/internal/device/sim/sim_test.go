package sim_test

import (
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
)

// open makes devices that are closed at the end of the test.
func open(t testing.TB, c sim.Config) []device.Device {
	t.Helper()
	devices, err := sim.New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range devices {
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return devices
}

func TestSimulatorIsADevice(t *testing.T) {
	devicetest.Run(t, devicetest.Backend{Lazy: true, Checked: true, Open: func(t testing.TB, o devicetest.Options) []device.Device {
		return open(t, sim.Config{Devices: o.Devices, Seed: o.Seed, Memory: o.Memory})
	}})
}

func TestEagerSimulatorIsADevice(t *testing.T) {
	devicetest.Run(t, devicetest.Backend{Checked: true, Open: func(t testing.TB, o devicetest.Options) []device.Device {
		return open(t, sim.Config{Devices: o.Devices, Seed: o.Seed, Memory: o.Memory, Eager: true})
	}})
}
