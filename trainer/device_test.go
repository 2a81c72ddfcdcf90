package trainer

import (
	"math"
	"testing"
)

// onSim is a tiny run whose attention runs the GPU's kernels on the CPU.
func TestARunOnADeviceLearnsWhatTheCPULearns(t *testing.T) {
	cfg := tinyRun(t)
	cfg.ContextParallelSize, cfg.MaxSteps = 2, 2
	var losses [2]float64
	for i, device := range []string{"cpu", "sim"} {
		cfg := cfg
		cfg.Device, cfg.OutputDir = device, cfg.OutputDir+device
		result, err := prepared(t, cfg, Options{}).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		losses[i] = result.Loss
	}
	if d := math.Abs(losses[0] - losses[1]); !(d <= 1e-5) {
		t.Errorf("the loss is %v on the CPU, %v on the device", losses[0], losses[1])
	}
}

func TestARunOnADeviceThatIsNotThereIsRefused(t *testing.T) {
	cfg := tinyRun(t)
	cfg.Device = "gpu"
	_, err := New(cfg, Options{})
	wantError(t, err, "device", "cuda")
	cfg.Device, cfg.AttentionDtype = "cpu", "float16"
	_, err = New(cfg, Options{})
	wantError(t, err, "float16", "device cuda")
}
