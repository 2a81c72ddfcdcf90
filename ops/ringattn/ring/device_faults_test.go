package ring_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/devicetest"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// The roles of waits in a ring whose ranks have a device each.
const (
	arrived = "work waits for the copy of its block"
	ready   = "a copy waits until its block is made"
	free    = "a copy waits until its slot is free"
	reuse   = "memory waits for the copies out of it"
)

func role(w devicetest.Wait) string {
	switch {
	case w.OfCopies && w.Same:
		return arrived
	case w.OfCopies:
		return reuse
	case w.Same:
		return free
	}
	return ready
}

func TestADeviceThatIsLostEndsAllRanksByName(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, at := range []int{1, 9, 30, 60} {
		f := &devicetest.Flaw{Launches: func(n int) error {
			if n == at {
				return fmt.Errorf("uncorrectable ECC error (214): %w", device.ErrLost)
			}
			return nil
		}}
		engines(t, sim.Config{Devices: 2}, f.On)
		c := onDevices(t, 40)
		c.Sharding, _ = shard.New(shard.Zigzag, 40, 4)
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		_, err := wholeOf[float32](ctx, c)
		stop()
		if !errors.Is(err, device.ErrLost) || !strings.Contains(err.Error(), "ECC") {
			t.Errorf("launch %d fails: error %v, want the device's", at, err)
		}
	}
}

// TestAMissingWaitIsCaught leaves out one kind of wait at a time, in every direction of travel, and looks whether any of some orders of
// the streams shows it.
func TestAMissingWaitIsCaught(t *testing.T) {
	if raceEnabled {
		t.Skip("SKIPPED: the race detector is on, with which the interpreter takes minutes")
	}
	devicetest.SkipOnGPUs(t, "the simulator draws the order of streams")
	const size, tokens, seeds = 4, 24, 16
	c := newCall(t, shard.Contiguous, tokens, 1)
	c.Heads, c.Mask, c.Device = 1, nil, ring.Sim // full: every block goes everywhere
	onCPU := c
	onCPU.Device = ring.CPU
	want := whole(t, onCPU)
	c.Sharding, _ = shard.New(shard.Striped, tokens, size)
	broken := func(travel ring.Travel, drop func(devicetest.Wait) bool) bool {
		for seed := range uint64(seeds) {
			f := &devicetest.Flaw{Waits: drop}
			engines(t, sim.Config{Devices: size, Seed: seed}, f.On)
			c := c
			c.Travel = travel
			got, err := wholeOf[float32](t.Context(), c)
			if err != nil || differ(got, want, float32Limit) != nil {
				return true
			}
		}
		return false
	}
	for _, travel := range []ring.Travel{ring.KV, ring.Q} {
		if broken(travel, nil) {
			t.Fatalf("%s travel: broken without a fault", travel)
		}
		for _, fault := range []string{arrived, ready, free, reuse} {
			if !broken(travel, func(w devicetest.Wait) bool { return role(w) == fault }) {
				t.Errorf("%s travel: nobody sees that %q is left out", travel, fault)
			}
		}
	}
}
