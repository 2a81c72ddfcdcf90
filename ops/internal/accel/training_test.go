package accel_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringgrad/ringgrad/ops/internal/accel"
	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/config"
)

// use puts simulated devices with a flaw in the place of the usual ones.
func use(t *testing.T, f *devicetest.Flaw) {
	t.Helper()
	devices, err := sim.New(sim.Config{Devices: 2, Eager: true})
	if err != nil {
		t.Fatal(err)
	}
	var engines []*cuda.Engine
	for _, d := range devices {
		e, err := cuda.New(f.On(d), cuda.Options{})
		if err != nil {
			t.Fatal(err)
		}
		engines = append(engines, e)
	}
	t.Cleanup(accel.Use(accel.Sim, engines...))
}

// tinyRun trains a model of one layer on a few letters.
func tinyRun(t *testing.T) config.Config {
	t.Helper()
	dir := t.TempDir()
	data := filepath.Join(dir, "text.txt")
	if err := os.WriteFile(data, []byte(strings.Repeat("the ring goes round and round. ", 12)), 0o644); err != nil {
		t.Fatal(err)
	}
	c := config.Default()
	c.Model = map[string]any{
		"model_type": "llama", "vocab_size": 259, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
		"intermediate_size": 24, "max_position_embeddings": 64, "tie_word_embeddings": true, "initializer_range": 0.2,
	}
	c.TokenizerConfig = filepath.Join("..", "..", "..", "testdata", "bytes")
	c.Datasets = []config.Dataset{{Path: data, Type: "text", Field: "text", InvalidUTF8: "error"}}
	c.SequenceLen, c.ContextParallelSize, c.MaxSteps, c.SaveSteps = 32, 2, 4, 1
	c.ExcessLengthStrategy, c.Device, c.OutputDir = "split", "sim", filepath.Join(dir, "out")
	return c
}

func train(t *testing.T, c config.Config, o trainer.Options) (trainer.Result, error) {
	t.Helper()
	run, err := trainer.New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	return run.Run(t.Context())
}

func TestADeviceLostInAStepLeavesTheLastCheckpoint(t *testing.T) {
	defer goleak.VerifyNone(t)
	healthy := &devicetest.Flaw{}
	use(t, healthy)
	c := tinyRun(t)
	whole := c
	whole.OutputDir += "-whole"
	want, err := train(t, whole, trainer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	use(t, &devicetest.Flaw{Launches: func(n int) error {
		if n == 60*healthy.Launched()/100 {
			return fmt.Errorf("uncorrectable ECC error (214): %w", device.ErrLost)
		}
		return nil
	}})
	_, err = train(t, c, trainer.Options{})
	if !errors.Is(err, device.ErrLost) || !strings.Contains(err.Error(), "ECC") {
		t.Fatalf("error %v, want that of the device", err)
	}
	if _, err := os.Stat(filepath.Join(c.OutputDir, "checkpoint-2", "model.safetensors")); err != nil {
		t.Fatalf("the checkpoint of step 2 is not there: %v", err)
	}
	use(t, &devicetest.Flaw{})
	got, err := train(t, c, trainer.Options{Resume: "latest"})
	if err != nil {
		t.Fatal(err)
	}
	if math.Float64bits(got.Loss) != math.Float64bits(want.Loss) {
		t.Errorf("the loss of the resumed run is %v, of an undisturbed one %v", got.Loss, want.Loss)
	}
}
