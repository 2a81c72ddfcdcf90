package cuda

import (
	"errors"
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

func TestErrorsStayAndResultsAreNaN(t *testing.T) {
	e := newEngine(t, sim.Config{}, Options{})
	broken := errors.New("broken")
	e.modules.source = func(string) (string, error) { return "", broken }
	p := newTrial(kind{dim: 8, valueDim: 8})
	a := e.Attention(Float32)
	if err := a.(kernel.Fallible).Err(); err != nil {
		t.Fatalf("Err is %v before any call", err)
	}
	for range 2 {
		for i, x := range solve(p, a).arrays {
			for _, y := range x {
				if !math.IsNaN(float64(y)) {
					t.Fatalf("array %d of a failed kernel holds %v, want NaN", i, y)
				}
			}
		}
		if err := a.(kernel.Fallible).Err(); !errors.Is(err, broken) {
			t.Fatalf("Err is %v, want the device's", err)
		}
		e.modules.source = source // the device works again: the error stays
	}
	fresh := e.Attention(Float32)
	if err := compare(solve(p, fresh), expected(p), Float32); err != nil || fresh.(kernel.Fallible).Err() != nil {
		t.Errorf("other kernels of the engine: %v, %v", err, fresh.(kernel.Fallible).Err())
	}
}

func TestAFullDeviceIsAnErrorOfTheKernel(t *testing.T) {
	devicetest.SkipOnGPUs(t, "they have more memory")
	e := newEngine(t, sim.Config{Memory: 256 << 10}, Options{})
	a := e.Attention(Float32)
	solve(newTrial(kind{dim: 64, valueDim: 64}), a)
	if _, full := errors.AsType[*device.OutOfMemory](a.(kernel.Fallible).Err()); !full {
		t.Errorf("Err is %v, want an OutOfMemory", a.(kernel.Fallible).Err())
	}
}

// TestDeviceMemoryGrowsWithRowsAlone wants nothing of the size of the score matrix, and no new memory after the first passes.
func TestDeviceMemoryGrowsWithRowsAlone(t *testing.T) {
	devicetest.SkipOnGPUs(t, "the simulator counts what the pool has")
	small, large := takenBy(t, 512), takenBy(t, 2048)
	if large > 5*small {
		t.Errorf("2048 tokens take %d bytes, 512 take %d", large, small)
	}
}

// takenBy is the bytes of device memory that passes over so many tokens take, which see their neighbours.
func takenBy(t *testing.T, tokens int) int64 {
	t.Helper()
	e := newEngine(t, sim.Config{}, Options{})
	m, err := mask.New(mask.Spec{Window: &mask.Window{Left: 1}}, tokens)
	if err != nil {
		t.Fatal(err)
	}
	p := trial{queries: tokens, heads: 1}
	all := []kernel.Segment{{Stride: 1, Count: tokens}}
	p.blocks = []kernel.Block{{Heads: 1, KVHeads: 1, Dim: 64, ValueDim: 64, Scale: 1, Mask: m, Rows: all, Cols: all}}
	p.q, p.dOut = make([]float32, 64*tokens), make([]float32, 64*tokens)
	p.k, p.v = [][]float32{p.q}, [][]float32{p.q}
	a := e.Attention(BFloat16)
	var bytes [3]int64
	for i := range bytes {
		solve(p, a)
		_, bytes[i] = e.Device().InUse()
	}
	if bytes[1] != bytes[0] || bytes[2] != bytes[0] {
		t.Errorf("%d tokens: passes take %v bytes, one after the other", tokens, bytes)
	}
	if err := a.(kernel.Fallible).Err(); err != nil {
		t.Error(err)
	}
	return bytes[0]
}
