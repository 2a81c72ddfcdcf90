//go:build ringcuda && cgo

package ring_test

import (
	"os"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/accel"
	"github.com/ringgrad/ringgrad/ops/internal/device/cudriver/mock"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

func TestMain(m *testing.M) { os.Exit(mock.Main(m)) }

// TestTheDriverGivesWhatTheSimulatorGives runs rings of ranks that share two GPUs of the mock: the same kernels, through the driver.
func TestTheDriverGivesWhatTheSimulatorGives(t *testing.T) {
	if !mock.Present() {
		t.Skip("a GPU's bits are its own; gradcheck compares those")
	}
	const tokens = 70
	for seed, size := range []int{1, 2, 3} {
		mock.Reset(uint64(seed), 0)
		c := onDevices(t, tokens)
		c.Sharding, _ = shard.New(shard.Zigzag, tokens, size)
		want, err := wholeOf[float32](t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		c.Device = ring.CUDA
		got, err := wholeOf[float32](t.Context(), c)
		if err == nil {
			err = differ(got, want, 0)
		}
		if err != nil {
			t.Errorf("ring of %d: %v", size, err)
		}
	}
	engines, err := accel.Engines(accel.CUDA)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range engines {
		if pieces, _ := e.InUse(); pieces != 0 {
			t.Errorf("device %d has %d pieces of memory that nobody gave back", i, pieces)
		}
	}
}
