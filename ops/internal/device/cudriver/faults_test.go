//go:build ringcuda && cgo

package cudriver_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/mock"
	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
)

// kernel is PTX that does nothing.
const kernel = `
.version 7.0
.target sm_80
.address_size 64
.visible .entry nothing(.param .align 8 .b8 args[8])
{
	ret;
}
`

// launchAndWait starts the kernel once and waits for it.
func launchAndWait(t *testing.T, d device.Device) error {
	t.Helper()
	module, err := d.Load(kernel)
	if err != nil {
		t.Fatal(err)
	}
	f, err := module.Function("nothing", 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Launch(f, device.Launch{Grid: [3]int{1, 1, 1}, Block: 1, Args: make([]byte, 8)}); err != nil {
		return err
	}
	return s.Synchronize()
}

func TestFailuresOfTheDriverAreNamed(t *testing.T) {
	if !mock.Present() {
		t.Skip("a real driver does not fail on demand")
	}
	for fail, name := range map[string]string{"launch": "CUDA_ERROR_LAUNCH_FAILED (719)", "ecc": "CUDA_ERROR_ECC_UNCORRECTABLE (214)"} {
		t.Run(fail, func(t *testing.T) {
			d := open(t, devicetest.Options{Devices: 1})[0]
			unbind, err := d.Bind()
			if err != nil {
				t.Fatal(err)
			}
			defer unbind()
			mock.Fail(fail, 2)
			if err := launchAndWait(t, d); err != nil {
				t.Fatalf("the first launch gives %v", err)
			}
			for range 2 { // the second time the device is lost already
				err = launchOrLost(t, d)
				if !errors.Is(err, device.ErrLost) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "cuda0 (Mock GPU 0)") {
					t.Errorf("the error is %v: want device.ErrLost with %s of cuda0", err, name)
				}
			}
		})
	}
}

// launchOrLost is launchAndWait, or the error of a device on which nothing can be made any more.
func launchOrLost(t *testing.T, d device.Device) error {
	t.Helper()
	if _, err := d.NewEvent(); err != nil {
		return err
	}
	return launchAndWait(t, d)
}

func TestOutOfMemoryPasses(t *testing.T) {
	if !mock.Present() {
		t.Skip("a real driver does not fail on demand")
	}
	d := open(t, devicetest.Options{Devices: 1, Memory: 1 << 20})[0]
	unbind, err := d.Bind()
	if err != nil {
		t.Fatal(err)
	}
	defer unbind()
	mock.Fail("alloc", 3)
	var got []error
	for range 4 {
		_, err := d.Alloc(1000)
		got = append(got, err)
	}
	var full *device.OutOfMemory
	if got[0] != nil || got[1] != nil || got[3] != nil || !errors.As(got[2], &full) {
		t.Fatalf("four allocations, of which the third fails, give %v", got)
	}
	if full.Bytes != 1000 || full.Free != 1<<20-2000 || full.Total != 1<<20 {
		t.Errorf("the error is %+v: want 1000 bytes, %d of %d free", *full, 1<<20-2000, 1<<20)
	}
}

// TestMessagesOfTheCompilerAreKept: the driver's reason is in the error of Load.
func TestMessagesOfTheCompilerAreKept(t *testing.T) {
	d := open(t, devicetest.Options{Devices: 1})[0]
	unbind, err := d.Bind()
	if err != nil {
		t.Fatal(err)
	}
	defer unbind()
	_, err = d.Load("no PTX")
	if err == nil || !strings.Contains(err.Error(), "CUDA_ERROR_INVALID_PTX (218)") {
		t.Errorf("loading nonsense gives %v: want CUDA_ERROR_INVALID_PTX", err)
	}
	if mock.Present() && !strings.Contains(err.Error(), "the text has no .target") {
		t.Errorf("the error %v lacks what the compiler said", err)
	}
}

func TestCallsNeedAContext(t *testing.T) {
	d := open(t, devicetest.Options{Devices: 1})[0]
	if _, err := d.Alloc(4); err == nil || !strings.Contains(err.Error(), "call Bind first") {
		t.Errorf("an allocation before Bind gives %v", err)
	}
}

// reporting makes this test binary print the report of Devices instead of testing.
const reporting = "RINGGRAD_TEST_REPORT"

func TestReportSaysWhyADeviceIsNotUsed(t *testing.T) {
	if os.Getenv(reporting) != "" {
		devices, report := cudriver.Devices()
		out, err := json.Marshal(map[string]any{"Usable": len(devices), "Report": report})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(os.Getenv(reporting), out, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !mock.Present() {
		t.Skip("the devices of a real driver are what they are")
	}
	for _, c := range []struct {
		name     string
		settings []string
		usable   int
		why      string   // for the driver
		whys     []string // for each device
	}{
		{"all are used", []string{"CAPABILITY=9.0,8.0"}, 2, "", []string{"", ""}},
		{"too old a device", []string{"CAPABILITY=7.5,8.6"}, 1, "", []string{"its compute capability is 7.5: want 8.0 or more", ""}},
		{"too old a driver", []string{"CAPABILITY=9.0,8.0", "DRIVER=11080"}, 1, "",
			[]string{"the driver supports CUDA 11.8, and kernels for sm_90 need 12.0", ""}},
		{"no devices", []string{"DEVICES=0"}, 0, "the driver has no devices", nil},
		{"a driver that does not start", []string{"INIT=803"}, 0, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := reportWith(t, append([]string{"DEVICES=2"}, c.settings...))
			if got.Usable != c.usable || !strings.Contains(got.Report.Why, c.why) || len(got.Report.Found) != len(c.whys) {
				t.Fatalf("%+v: want %d usable of %d, and %q", got, c.usable, len(c.whys), c.why)
			}
			for i, why := range c.whys {
				if found := got.Report.Found[i].Why; (found == "") != (why == "") || !strings.Contains(found, why) {
					t.Errorf("device %d: %q: want %q", i, found, why)
				}
			}
		})
	}
}

type reported struct {
	Usable int
	Report cudriver.Report
}

// reportWith runs Devices in a process of its own, whose mock has the settings.
func reportWith(t *testing.T, settings []string) (r reported) {
	t.Helper()
	out := t.TempDir() + "/report.json"
	cmd := exec.Command(os.Args[0], "-test.run=^TestReportSaysWhyADeviceIsNotUsed$") //nolint:gosec // this program
	cmd.Env = append(os.Environ(), reporting+"="+out)
	for _, s := range settings {
		cmd.Env = append(cmd.Env, "RINGGRAD_MOCK_"+s)
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	text, err := os.ReadFile(out) //nolint:gosec // just written
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}
