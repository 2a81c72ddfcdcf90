// Package devicetest is what every backend of package device must do: the same claims are tested on the simulator, on the CUDA driver
// over a mock of it, and on GPUs.
//
//	devicetest.Run(t, devicetest.Backend{Open: open, Lazy: true})
package devicetest

import (
	_ "embed"
	"encoding/binary"
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

//go:embed kernels.ptx
var kernels string

// Backend is what is tested.
type Backend struct {
	// Open makes fresh devices and closes them when the test ends. It skips the test if the backend has fewer.
	Open func(t testing.TB, o Options) []device.Device
	// Lazy says that streams run in an order drawn from the seed, so that mistakes of order show, and that new memory is poisoned.
	Lazy bool
	// Checked says that every access of a kernel is checked against the allocations, and that what a lost device can do is defined.
	Checked bool
}

// Options are what a test wants of the devices.
type Options struct {
	Devices int
	Seed    uint64
	Memory  int64 // bytes a device, where the backend can choose; 0 is its own
}

// Run tests all claims.
func Run(t *testing.T, b Backend) {
	for _, claim := range []struct {
		name  string
		check func(t *testing.T, b Backend)
	}{
		{"EventsOrderStreams", eventsOrderStreams},
		{"MissingWaitsAreCaught", missingWaitsAreCaught},
		{"WaitHoldsForTheLastRecord", waitHoldsForTheLastRecord},
		{"WaitForNoRecordIsNoWait", waitForNoRecordIsNoWait},
		{"CopiesReadWhenTheyRun", copiesReadWhenTheyRun},
		{"EventsMeasureTime", eventsMeasureTime},
		{"DestroyedStreamsAndEventsFinish", destroyedStreamsAndEventsFinish},
		{"RingsOfPeersTurn", ringsOfPeersTurn},
		{"GoroutinesDriveTheirDevices", goroutinesDriveTheirDevices},
		{"CopiesAndFillsMoveBytes", copiesAndFillsMoveBytes},
		{"NewMemoryIsPoisoned", newMemoryIsPoisoned},
		{"MistakesWithMemoryAreNamed", mistakesWithMemoryAreNamed},
		{"OutOfMemoryHasNumbers", outOfMemoryHasNumbers},
		{"NothingLeaks", nothingLeaks},
		{"KernelsCompute", kernelsCompute},
		{"KernelsTakeSharedMemory", kernelsTakeSharedMemory},
		{"KernelsTakeLargeArguments", kernelsTakeLargeArguments},
		{"GridsHaveThreeDimensions", gridsHaveThreeDimensions},
		{"MistakesWithKernelsAreNamed", mistakesWithKernelsAreNamed},
		{"LostDevicesStayLost", lostDevicesStayLost},
	} {
		t.Run(claim.name, func(t *testing.T) { claim.check(t, b) })
	}
}

// bench is one device with what most tests need.
type bench struct {
	testing.TB
	device.Device
	module device.Module
}

// open makes one device, bound to the goroutine of the test.
func open(t testing.TB, b Backend, o Options) bench {
	t.Helper()
	o.Devices = 1
	return attach(t, b.Open(t, o)[0])
}

func attach(t testing.TB, d device.Device) bench {
	t.Helper()
	unbind, err := d.Bind()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unbind)
	module, err := d.Load(kernels)
	if err != nil {
		t.Fatal(err)
	}
	return bench{t, d, module}
}

// ok ends the test at an error.
func (b bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func must[T any](b bench, value T, err error) T {
	b.Helper()
	b.ok(err)
	return value
}

func (b bench) alloc(bytes int) device.Ptr {
	b.Helper()
	p, err := b.Alloc(bytes)
	return must(b, p, err)
}

func (b bench) pin(bytes int) []byte {
	b.Helper()
	host, err := b.Pinned(bytes)
	return must(b, host, err)
}

func (b bench) stream() device.Stream {
	b.Helper()
	s, err := b.NewStream()
	return must(b, s, err)
}

func (b bench) event() device.Event {
	b.Helper()
	e, err := b.NewEvent()
	return must(b, e, err)
}

func (b bench) kernel(name string, shared int) device.Function {
	b.Helper()
	f, err := b.module.Function(name, shared)
	return must(b, f, err)
}

// upload puts floats into new device memory, and waits for that.
func (b bench) upload(values []float32) device.Ptr {
	b.Helper()
	p, host, s := b.alloc(4*len(values)), b.pin(4*len(values)), b.stream()
	putFloats(host, values)
	b.ok(s.ToDevice(p, host))
	b.ok(s.Synchronize())
	b.ok(s.Destroy())
	b.ok(b.FreePinned(host))
	return p
}

// download enqueues a copy of n floats to the host, waits for the stream, and returns them.
func (b bench) download(s device.Stream, p device.Ptr, n int) []float32 {
	b.Helper()
	host := b.pin(4 * n)
	b.ok(s.ToHost(host, p))
	b.ok(s.Synchronize())
	values := floats(host)
	b.ok(b.FreePinned(host))
	return values
}

// axpy enqueues y += a·x.
func (b bench) axpy(s device.Stream, x, y device.Ptr, a float32, n int) {
	b.Helper()
	args := binary.LittleEndian.AppendUint64(nil, uint64(x))
	args = binary.LittleEndian.AppendUint64(args, uint64(y))
	args = binary.LittleEndian.AppendUint32(args, math.Float32bits(a))
	args = binary.LittleEndian.AppendUint32(args, uint32(n))
	b.ok(s.Launch(b.kernel("axpy", 0), device.Launch{Grid: [3]int{(n + 63) / 64, 1, 1}, Block: 64, Args: args}))
}

func putFloats(to []byte, values []float32) {
	for i, v := range values {
		binary.LittleEndian.PutUint32(to[4*i:], math.Float32bits(v))
	}
}

func floats(from []byte) []float32 {
	values := make([]float32, len(from)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(from[4*i:]))
	}
	return values
}

// constant is a value n times.
func constant(value float32, n int) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = value
	}
	return values
}
