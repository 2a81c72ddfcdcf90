package devicetest

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// arguments packs 64-bit words.
func arguments(words ...uint64) []byte {
	var b []byte
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func kernelsCompute(t *testing.T, b Backend) {
	d := open(t, b, Options{})
	s := d.stream()
	const n = 1000 // no multiple of the block
	x, y := make([]float32, n), make([]float32, n)
	want := make([]float32, n)
	for i := range x {
		x[i], y[i] = float32(i), float32(n-i)
		want[i] = 2*x[i] + y[i]
	}
	px, py := d.upload(x), d.upload(y)
	d.axpy(s, px, py, 2, n)
	if got := d.download(s, py, n); !slices.Equal(got, want) {
		t.Errorf("2·x + y is %v …: want %v …", got[:4], want[:4])
	}
}

// kernelsTakeSharedMemory asks for more than the 48 KiB that every kernel gets.
func kernelsTakeSharedMemory(t *testing.T, b Backend) {
	d := open(t, b, Options{})
	s := d.stream()
	const n = 24 << 10 // words: 96 KiB
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i)
	}
	p := d.upload(x)
	f := d.kernel("reverse", 4*n)
	d.ok(s.Launch(f, device.Launch{Grid: [3]int{1, 1, 1}, Block: 256, Shared: 4 * n, Args: arguments(uint64(p), n)}))
	slices.Reverse(x)
	if got := d.download(s, p, n); !slices.Equal(got, x) {
		t.Errorf("reversed: %v …: want %v …", got[:4], x[:4])
	}
}

func kernelsTakeLargeArguments(t *testing.T, b Backend) {
	d := open(t, b, Options{})
	s := d.stream()
	out, host := d.alloc(8), d.pin(8)
	words, want := make([]uint64, 128), uint64(0)
	for i := range words {
		words[i] = uint64(i) << 32
		if i%8 == 0 && i > 0 {
			want += words[i]
		}
	}
	words[0] = uint64(out)
	args := arguments(words...)
	d.ok(s.Launch(d.kernel("total", 0), device.Launch{Grid: [3]int{1, 1, 1}, Block: 32, Args: args}))
	clear(args) // the launch keeps its own
	d.ok(s.ToHost(host, out))
	d.ok(s.Synchronize())
	if got := binary.LittleEndian.Uint64(host); got != want {
		t.Errorf("the sum of the arguments is %#x: want %#x", got, want)
	}
}

func gridsHaveThreeDimensions(t *testing.T, b Backend) {
	d := open(t, b, Options{})
	s := d.stream()
	out, host := d.alloc(4*24), d.pin(4*24)
	d.ok(s.Launch(d.kernel("grid", 0), device.Launch{Grid: [3]int{2, 3, 4}, Block: 1, Args: arguments(uint64(out))}))
	d.ok(s.ToHost(host, out))
	d.ok(s.Synchronize())
	for i := range uint32(24) {
		if got := binary.LittleEndian.Uint32(host[4*i:]); got != i {
			t.Errorf("block %d wrote %d", i, got)
		}
	}
}

func mistakesWithKernelsAreNamed(t *testing.T, b Backend) {
	d := open(t, b, Options{})
	s := d.stream()
	axpy := d.kernel("axpy", 0)
	_, garbage := d.Load("this is no PTX")
	_, future := d.Load(strings.Replace(kernels, "sm_80", "sm_999", 1))
	_, unknown := d.module.Function("nosuch", 0)
	_, greedy := d.module.Function("reverse", 1<<30)
	one := [3]int{1, 1, 1}
	args := make([]byte, 24)
	for what, err := range map[string]error{
		"PTX that is none":            garbage,
		"PTX for a later GPU":         future,
		"an unknown kernel":           unknown,
		"too much shared memory":      greedy,
		"an empty grid":               s.Launch(axpy, device.Launch{Grid: [3]int{1, 0, 1}, Block: 64, Args: args}),
		"an empty block":              s.Launch(axpy, device.Launch{Grid: one, Args: args}),
		"a block too large":           s.Launch(axpy, device.Launch{Grid: one, Block: 2048, Args: args}),
		"shared memory not asked for": s.Launch(axpy, device.Launch{Grid: one, Block: 64, Shared: 64 << 10, Args: args}),
		"too few arguments":           s.Launch(axpy, device.Launch{Grid: one, Block: 64, Args: args[:16]}),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		} else if errors.Is(err, device.ErrLost) {
			t.Errorf("%s: error %q loses the device", what, err)
		}
	}
	d.ok(s.Synchronize())
}

// lostDevicesStayLost: the error of a kernel that strays shows at the latest at Synchronize, and at every call after it.
func lostDevicesStayLost(t *testing.T, b Backend) {
	if !b.Checked {
		t.Skip("a fault would end the process's use of the device")
	}
	overSeeds(t, seeds/4, func(t testing.TB, seed uint64) {
		d := open(t, b, Options{Seed: seed})
		s := d.stream()
		y := d.upload(constant(0, 64))
		d.axpy(s, 64, y, 1, 64) // x is no memory
		if err := s.Synchronize(); !errors.Is(err, device.ErrLost) {
			t.Fatalf("seed %d: after a kernel read address 64, Synchronize gives %v: want device.ErrLost", seed, err)
		}
		_, alloc := d.Alloc(64)
		_, stream := d.NewStream()
		for what, err := range map[string]error{
			"Alloc": alloc, "NewStream": stream, "Synchronize": s.Synchronize(), "Fill": s.Fill(y, 0, 1),
		} {
			if !errors.Is(err, device.ErrLost) {
				t.Errorf("seed %d: %s on a lost device gives %v: want device.ErrLost", seed, what, err)
			}
		}
	})
}
