package ring_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/dist/trace"
	"github.com/ringgrad/ringgrad/ops/internal/accel"
	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// engines puts the devices under test (see package devicetest), each wrapped, in the place of the simulated ones that rings find, for the
// length of a test.
func engines(t *testing.T, c sim.Config, wrap func(device.Device) device.Device) []*cuda.Engine {
	t.Helper()
	var all []*cuda.Engine
	for _, d := range devicetest.UnderTest(t, c) {
		if wrap != nil {
			d = wrap(d)
		}
		e, err := cuda.New(d, cuda.Options{})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	restore := accel.Use(accel.Sim, all...)
	t.Cleanup(func() {
		restore()
		for _, e := range all {
			// A device that a planted fault has lost says so again here; whoever planted it has looked at the pass's own error.
			if err := e.Close(); err != nil && !(wrap != nil && errors.Is(err, device.ErrLost)) {
				t.Error(err)
			}
		}
	})
	return all
}

// onDevices is a call with everything, for simulated devices: few heads, since each takes whole tiles.
func onDevices(t *testing.T, tokens int) ring.Call {
	t.Helper()
	c := masked(t, tokens)
	c.Heads, c.KVHeads, c.Slopes, c.Device = 4, 4, c.Slopes[:4], ring.Sim
	return c
}

// float32Limit is what a share of the largest magnitude may differ in float32.
const float32Limit = 2e-5

func TestDevicesGiveWhatTheCPUGives(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIPPED: the race detector is on, with which the interpreter takes minutes")
	}
	all := engines(t, sim.Config{Devices: 2}, nil)
	const tokens = 131 // a shard of two ranks spans two tiles of 64
	c := onDevices(t, tokens)
	onCPU := c
	onCPU.Device = ring.CPU
	want := whole(t, onCPU)
	try := func(size int, layout shard.Layout, name string, way func(c *ring.Call)) {
		c := c
		c.Sharding, _ = shard.New(layout, tokens, size)
		way(&c)
		got, err := wholeOf[float32](t.Context(), c)
		if err == nil {
			err = differ(got, want, float32Limit)
		}
		if err != nil {
			t.Errorf("ring of %d, %s, %s: %v", size, layout, name, err)
		}
	}
	kv := func(c *ring.Call) { c.Travel = ring.KV }
	try(1, shard.Contiguous, "keys travel", kv)
	try(2, shard.Contiguous, "keys travel", kv)
	try(3, shard.Zigzag, "keys travel", kv)
	for name, way := range ways(4) {
		try(4, shard.Striped, name, way)
	}
	for i, e := range all {
		if pieces, _ := e.InUse(); pieces != 0 {
			t.Errorf("device %d has %d pieces of memory that nobody gave back", i, pieces)
		}
	}
}

func TestNarrowTypesOnDevicesHalveWhatKeysAndValuesSend(t *testing.T) {
	engines(t, sim.Config{Devices: 2}, nil)
	c := onDevices(t, 90)
	c.Sinks = false
	onCPU := c
	onCPU.Device = ring.CPU
	want := whole(t, onCPU)
	for dtype, limit := range map[ring.DType]float64{ring.BFloat16: 4e-2, ring.Float16: 5e-3} {
		c.DType = dtype
		c.Sharding, _ = shard.New(shard.Zigzag, 90, 3)
		got, err := wholeOf[float32](t.Context(), c) // compares the ledger with the plan
		if err == nil {
			err = differ(got, want, limit)
		}
		if err != nil {
			t.Errorf("%s: %v", dtype, err)
		}
	}
}

func TestRepeatedPassesOnDevicesTakeNoMoreMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIPPED: the race detector is on, with which the interpreter takes minutes")
	}
	all := engines(t, sim.Config{Devices: 2, Eager: true}, nil)
	c := onDevices(t, 40)
	c.Sharding, _ = shard.New(shard.Zigzag, 40, 4)
	var settled [2]int // allocations after some rounds; how far ranks run apart, and with it how many blocks there are, varies a little
	for round := range 8 {
		if _, err := wholeOf[float32](t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for i, e := range all {
			if pieces, _ := e.InUse(); pieces != 0 {
				t.Fatalf("round %d: device %d has %d pieces of memory that nobody gave back", round, i, pieces)
			}
			n, _ := e.Device().InUse()
			if round < 4 {
				settled[i] = n
			} else if n > settled[i]*3/2 {
				t.Errorf("round %d: device %d has %d allocations, had %d", round, i, n, settled[i])
			}
		}
	}
}

func TestTracesShowCopiesBesideCompute(t *testing.T) {
	if len(engines(t, sim.Config{Devices: 2}, nil)) < 2 {
		t.Skip("one device copies nothing from another")
	}
	c := onDevices(t, 150)
	c.Sharding, _ = shard.New(shard.Zigzag, 150, 2)
	r := &trace.Recorder{}
	if _, err := wholeOf[float32](trace.With(t.Context(), r), c); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, s := range r.Spans() {
		seen[fmt.Sprint(s.Device, " ", s.Rank, " ", s.Stream, " ", s.Name)]++
		if s.Duration <= 0 {
			t.Errorf("%+v takes no time", s)
		}
	}
	for _, want := range []string{"0 0 compute forward", "1 1 compute forward", "0 0 compute backward", "0 0 copy pull", "1 1 copy pull", "0 0 compute finish", "1 1 compute delta"} {
		found := false
		for name := range seen {
			found = found || strings.HasSuffix(name, want)
		}
		if !found {
			t.Errorf("no span %q among %v", want, seen)
		}
	}
	if h := r.Hidden(); h < 0 || h > 1 {
		t.Errorf("hidden: %v", h)
	}
}

func TestFloat64OnADeviceIsRefused(t *testing.T) {
	engines(t, sim.Config{}, nil)
	_, err := ring.NewRank[float64](nil, onDevices(t, 9))
	if !errors.Is(err, cuda.ErrFloat64) {
		t.Errorf("error %v, want one that says that float64 runs on the CPU", err)
	}
}

func TestOutOfMemoryNamesBytesAndRemedy(t *testing.T) {
	defer goleak.VerifyNone(t)
	engines(t, sim.Config{Devices: 2, Memory: 1 << 20}, nil)
	c := onDevices(t, 600)
	c.Sharding, _ = shard.New(shard.Zigzag, 600, 4)
	_, err := wholeOf[float32](t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "bytes") || !strings.Contains(err.Error(), "lower the sequence length") {
		t.Errorf("error %v, want the bytes and what to lower", err)
	}
	if _, is := errors.AsType[*device.OutOfMemory](err); !is {
		t.Errorf("error %v is no *device.OutOfMemory", err)
	}
}
