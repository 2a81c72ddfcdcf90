package sim_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
)

// words is PTX of a kernel that adds its second argument, a number, to the word at its first.
const words = `
.version 7.0
.target sm_80
.address_size 64
.visible .entry add(.param .align 8 .b8 args[16])
{
	.reg .b32 %r<4>;
	.reg .b64 %rd<2>;
	ld.param.u64 %rd1, [args];
	ld.param.u32 %r1, [args+8];
	ld.global.u32 %r2, [%rd1];
	add.s32 %r3, %r1, %r2;
	st.global.u32 [%rd1], %r3;
	ret;
}
`

// station is a device with a stream and the kernel.
type station struct {
	*testing.T
	device.Device
	stream device.Stream
	add    device.Function
}

func newStation(t *testing.T, d device.Device) station {
	t.Helper()
	s := station{T: t, Device: d}
	unbind, err := d.Bind()
	s.ok(err)
	t.Cleanup(unbind)
	module, err := d.Load(words)
	s.ok(err)
	s.add, err = module.Function("add", 0)
	s.ok(err)
	s.stream, err = d.NewStream()
	s.ok(err)
	return s
}

func (s station) ok(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// zeros is a new word, 0.
func (s station) zero() device.Ptr {
	s.Helper()
	p, err := s.Alloc(4)
	s.ok(err)
	s.ok(s.stream.Fill(p, 0, 1))
	s.ok(s.stream.Synchronize())
	return p
}

func (s station) launch(stream device.Stream, p device.Ptr, n byte) {
	s.Helper()
	args := make([]byte, 16)
	for i := range 8 {
		args[i] = byte(p >> (8 * i))
	}
	args[8] = n
	s.ok(stream.Launch(s.add, device.Launch{Grid: [3]int{1, 1, 1}, Block: 1, Args: args}))
}

// race sends four streams after one word without ordering them, and returns what the word was after each.
func race(t *testing.T, seed uint64) []byte {
	s := newStation(t, open(t, sim.Config{Seed: seed})[0])
	p := s.zero()
	host, err := s.Pinned(16)
	s.ok(err)
	var streams []device.Stream
	for i := range 4 {
		stream, err := s.NewStream()
		s.ok(err)
		streams = append(streams, stream)
		s.launch(stream, p, 1<<i)
		s.ok(stream.ToHost(host[4*i:4*i+4], p))
	}
	for _, stream := range streams {
		s.ok(stream.Synchronize())
	}
	return host
}

func TestSeedsChooseTheOrder(t *testing.T) {
	orders := map[string]bool{}
	for seed := range uint64(20) {
		first, second := race(t, seed), race(t, seed)
		if !slices.Equal(first, second) {
			t.Fatalf("seed %d gave %v and then %v", seed, first, second)
		}
		orders[string(first)] = true
	}
	if len(orders) < 5 {
		t.Errorf("20 seeds gave %d orders: want at least 5", len(orders))
	}
}

func TestDevicesMustBeBound(t *testing.T) {
	d := open(t, sim.Config{})[0]
	if _, err := d.Alloc(4); err == nil || !strings.Contains(err.Error(), "call Bind first") {
		t.Errorf("an allocation without Bind gives %v", err)
	}
	unbind, err := d.Bind()
	if err != nil {
		t.Fatal(err)
	}
	unbind()
	unbind() // does nothing
	if _, err := d.NewStream(); err == nil || !strings.Contains(err.Error(), "call Bind first") {
		t.Errorf("a stream after unbind gives %v", err)
	}
}

// TestWaitingForALostDeviceIsAnError names who waits for whom.
func TestWaitingForALostDeviceIsAnError(t *testing.T) {
	for seed := range uint64(10) {
		devices := open(t, sim.Config{Devices: 2, Seed: seed})
		lost, waiting := newStation(t, devices[0]), newStation(t, devices[1])
		e, err := lost.NewEvent()
		lost.ok(err)
		lost.launch(lost.stream, 64, 1) // address 64 is no memory
		if err := lost.stream.Record(e); err != nil {
			continue // the launch ran at once
		}
		if err := waiting.stream.Wait(e); err != nil {
			t.Fatal(err)
		}
		err = waiting.stream.Synchronize()
		if !errors.Is(err, device.ErrLost) {
			t.Fatalf("seed %d: waiting for a lost device gives %v: want device.ErrLost", seed, err)
		}
		for _, want := range []string{"stream sim1/0", "sim0/event 0", "stream sim0/0", "kernel add", "0x40"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("seed %d: error %q does not say %q", seed, err, want)
			}
		}
		if _, err := waiting.Alloc(4); err != nil {
			t.Errorf("seed %d: the device that waited is lost too: %v", seed, err)
		}
	}
}

// TestUseAfterFreeLosesTheDevice: a copy that was enqueued before Free and runs after it.
func TestUseAfterFreeLosesTheDevice(t *testing.T) {
	caught := 0
	for seed := range uint64(10) {
		s := newStation(t, open(t, sim.Config{Seed: seed})[0])
		p := s.zero()
		host, err := s.Pinned(4)
		s.ok(err)
		s.ok(s.stream.ToDevice(p, host))
		s.ok(s.Free(p))
		err = s.stream.Synchronize()
		if err == nil {
			continue // the copy ran at once
		}
		caught++
		if !errors.Is(err, device.ErrLost) || !strings.Contains(err.Error(), "freed") {
			t.Errorf("seed %d: a copy into freed memory gives %v", seed, err)
		}
	}
	if caught == 0 {
		t.Error("no seed ran the copy after Free")
	}
}

func TestKernelsReachPeersOnlyAfterReachPeer(t *testing.T) {
	for _, reach := range []bool{false, true} {
		devices := open(t, sim.Config{Devices: 2})
		here, there := newStation(t, devices[0]), newStation(t, devices[1])
		p := there.zero()
		if reach {
			here.ok(here.ReachPeer(there.Device))
		}
		here.launch(here.stream, p, 1)
		if err := here.stream.Synchronize(); (err == nil) != reach {
			t.Errorf("a kernel on a peer's memory, reached %v, gives %v", reach, err)
		}
	}
}

func TestDevicesRefusePTXOfOthers(t *testing.T) {
	for _, c := range []struct {
		major, minor int
		target       string
		ok           bool
	}{{9, 0, "sm_80", true}, {9, 0, "sm_90a", true}, {8, 6, "sm_80", true}, {8, 6, "sm_90", false}, {10, 0, "sm_90", true}, {10, 0, "sm_90a", false}} {
		d := open(t, sim.Config{Major: c.major, Minor: c.minor})[0]
		unbind, err := d.Bind()
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("sm_80", c.target, ".version 7.0", ".version 8.0").Replace(words)
		if _, err := d.Load(text); (err == nil) != c.ok {
			t.Errorf("PTX for %s on %s gives %v", c.target, d.Info().Arch(), err)
		}
		unbind()
	}
}

func TestCountersCount(t *testing.T) {
	s := newStation(t, open(t, sim.Config{})[0])
	p := s.zero()
	s.launch(s.stream, p, 1)
	s.launch(s.stream, p, 2)
	s.ok(s.stream.Synchronize())
	got := s.Device.(*sim.Device).Counters()
	if got.Launches["add"] != 2 || got.Instructions != 2*6 || got.Filled != 4 {
		t.Errorf("counters %+v: want 2 launches of 6 instructions each and 4 bytes filled", got)
	}
	if n, bytes := s.InUse(); n != 1 || bytes != 4 {
		t.Errorf("%d allocations of %d bytes in use: want 1 of 4", n, bytes)
	}
}

func TestConfigIsValidated(t *testing.T) {
	for _, c := range []sim.Config{{Devices: -1}, {Memory: -1}, {Memory: 1 << 62}, {SharedMemory: -5}} {
		if _, err := sim.New(c); err == nil {
			t.Errorf("%+v makes devices", c)
		}
	}
}
