package cuda

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// newEngine is an engine of a device of package devicetest. At the end of the test nothing may be left on the device.
func newEngine(t testing.TB, c sim.Config, o Options) *Engine {
	t.Helper()
	e, err := New(devicetest.UnderTest(t, c)[0], o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n, bytes := e.InUse(); n > 0 {
			t.Errorf("%d pieces of device memory are not given back; %d bytes are taken", n, bytes)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if n, bytes := e.Device().InUse(); n > 0 {
			t.Errorf("a closed engine leaves %d allocations of %d bytes", n, bytes)
		}
	})
	return e
}

// bound calls f on a goroutine bound to the engine's device.
func bound(t testing.TB, e *Engine, f func()) {
	t.Helper()
	unbind, err := e.Device().Bind()
	if err != nil {
		t.Fatal(err)
	}
	defer unbind()
	f()
}

func TestMemoryIsTakenOnceAndUsedAgain(t *testing.T) {
	e := newEngine(t, sim.Config{}, Options{})
	bound(t, e, func() {
		sizes := []int{1, 256, 1000, 5000, 5001, 70000}
		take := func() (all []device.Ptr) {
			for _, n := range sizes {
				p, err := e.Take(n)
				if err != nil {
					t.Fatal(err)
				}
				if p%256 != 0 {
					t.Errorf("%d bytes lie at %#x, not a multiple of 256", n, uint64(p))
				}
				all = append(all, p)
			}
			return all
		}
		first := take()
		if n, bytes := e.InUse(); n != len(sizes) || bytes < 81258 || bytes > 81258*5/4+512 {
			t.Errorf("%d pieces of %d bytes are taken, want %d of about 81258", n, bytes, len(sizes))
		}
		e.Give(append(first, 0)...)
		second := take()
		slices.Sort(first)
		slices.Sort(second)
		if !slices.Equal(first, second) {
			t.Errorf("memory at %v is not used again: %v", first, second)
		}
		e.Give(second...)
	})
}

func TestAFullDeviceUsesWhatWasGivenBack(t *testing.T) {
	e := newEngine(t, sim.Config{Memory: 1 << 20}, Options{})
	bound(t, e, func() {
		for _, n := range []int{700 << 10, 300 << 10, 600 << 10} { // no two fit together
			p, err := e.Take(n)
			if err != nil {
				t.Fatal(err)
			}
			e.Give(p)
		}
		_, err := e.Take(2 << 20)
		if full, ok := errors.AsType[*device.OutOfMemory](err); !ok || full.Total != 1<<20 {
			t.Errorf("2 MiB of 1 give %v, want an OutOfMemory", err)
		}
	})
}

func TestGivingBackTwicePanics(t *testing.T) {
	e := newEngine(t, sim.Config{}, Options{})
	bound(t, e, func() {
		p, err := e.Take(1)
		if err != nil {
			t.Fatal(err)
		}
		e.Give(p)
		defer func() {
			if recover() == nil {
				t.Error("memory may be given back twice")
			}
		}()
		e.Give(p)
	})
}

// sample is a block of so many rows and keys from a position on, under a causal mask.
func sample(rows, keys, from int) kernel.Block {
	return kernel.Block{
		Heads: 2, KVHeads: 1, Dim: 8, ValueDim: 8, Scale: 1, Mask: mask.CausalOrder(),
		Rows: []kernel.Segment{{Start: from, Stride: 1, Count: rows}}, Cols: []kernel.Segment{{Stride: 1, Count: keys}},
	}
}

func TestListsAreSentOnceAndForgottenInTime(t *testing.T) {
	devicetest.SkipOnGPUs(t, "the simulator counts what is sent")
	e := newEngine(t, sim.Config{}, Options{Tables: 3})
	sent := func() int64 { return e.Device().(*sim.Device).Counters().ToDevice }
	prepare := func(b kernel.Block) *Block {
		p, err := e.Prepare(b, Float32)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	bound(t, e, func() {
		b := sample(200, 100, 0)
		first := prepare(b)
		before := sent()
		b.Sinks, b.Dropout = []float64{1, 2}, kernel.Dropout{Threshold: 7, Keys: []uint64{1, 2}}
		if second := prepare(b); second.table != first.table || sent() != before {
			t.Error("the lists of a block are sent twice")
		} else {
			second.Release()
		}
		b.Slopes = []float64{1, 2}
		if other := prepare(b); other.table == first.table {
			t.Error("two blocks with different slopes share them")
		} else {
			other.Release()
		}
		for i := range 10 {
			prepare(sample(10, 10, i)).Release()
		}
		if n := len(e.tables); n != 1+3 {
			t.Errorf("%d tables are kept, want that in use and 3", n)
		}
		if again := prepare(sample(200, 100, 0)); again.table != first.table {
			t.Error("lists in use were forgotten")
		} else {
			again.Release()
		}
		first.Release()
		if n := len(e.tables); n != 3 {
			t.Errorf("%d tables are kept, want 3", n)
		}
	})
}

func TestWhatADeviceDoesNotHaveIsNamed(t *testing.T) {
	for _, c := range []struct {
		want    string
		device  sim.Config
		options Options
		format  Format
		change  func(*kernel.Block)
	}{
		{want: "compute capability must be 8.0", device: sim.Config{Major: 7, Minor: 5}},
		{want: "compute capability must be 9.0", device: sim.Config{Major: 8, Minor: 9}, options: Options{Family: WGMMA}, format: BFloat16},
		{want: "simt multiplies float32", options: Options{Family: SIMT}, format: Float16},
		{want: "simt multiplies float32", options: Options{Family: MMA}},
		{want: "head dims 8 and 300", change: func(b *kernel.Block) { b.ValueDim = 300 }},
		{want: "3 query heads and 2 KV heads", change: func(b *kernel.Block) { b.Heads, b.KVHeads = 3, 2 }},
		{want: "1 ALiBi slopes for 2 query heads", change: func(b *kernel.Block) { b.Slopes = []float64{1} }},
		{want: "give positions from 0 to", change: func(b *kernel.Block) { b.Rows[0].Start = MaxPosition }},
		{want: "format 7 is not known", format: 7},
	} {
		e := newEngine(t, c.device, c.options)
		b := sample(10, 10, 0)
		if c.change != nil {
			c.change(&b)
		}
		bound(t, e, func() {
			if _, err := e.Prepare(b, c.format); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Prepare gives %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestOptionsAreValidated(t *testing.T) {
	for want, o := range map[string]Options{`family "cuda" is not known`: {Family: "cuda"}, "-1 tables to keep": {Tables: -1}} {
		devices, err := sim.New(sim.Config{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(devices[0], o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v gives %v, want %q in it", o, err, want)
		}
	}
}
