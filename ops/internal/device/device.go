// Package device is what the CUDA engine asks of accelerators: memory, streams, events, copies, modules and launches. It has two
// backends: device/sim runs PTX in this process, without a GPU, and device/cudriver drives GPUs through gorgonia.org/cu (build tag
// ringcuda).
//
// Work on a stream is asynchronous and in order; streams are ordered among each other by events alone. An error of asynchronous
// work shows at a later call on the same device, at the latest at Synchronize.
package device

import (
	"errors"
	"fmt"
	"time"
)

// Ptr is an address in the memory of a device. Addresses of all devices of a backend are distinct, and 0 is none.
type Ptr uint64

// Info describes a device.
type Info struct {
	Name         string
	Index        int
	Major, Minor int    // compute capability
	Memory       int64  // bytes
	Processors   int    // streaming multiprocessors
	SharedMemory int    // bytes a block may take, if it asks
	Driver       string // version, "13.0"; of the simulator its name
}

// Arch is the compute capability as compilers write it: sm_90.
func (i Info) Arch() string { return fmt.Sprintf("sm_%d%d", i.Major, i.Minor) }

// Device is one accelerator. Its methods and those of what it makes may be called from goroutines that have called Bind.
type Device interface {
	Info() Info
	// Bind ties the calling goroutine to its thread and the thread to this device, until unbind is called.
	Bind() (unbind func(), err error)
	// Alloc takes bytes of memory, whose contents are arbitrary. The error is an *OutOfMemory where that is the reason.
	Alloc(bytes int) (Ptr, error)
	Free(p Ptr) error
	// Pinned takes host memory that asynchronous copies may use; FreePinned gives it back.
	Pinned(bytes int) ([]byte, error)
	FreePinned(b []byte) error
	NewStream() (Stream, error)
	NewEvent() (Event, error)
	// Load compiles PTX for the device.
	Load(ptx string) (Module, error)
	// ReachPeer lets streams of this device copy from the other's memory directly. It is no error if they must go through the host.
	ReachPeer(other Device) error
	// InUse is the number of allocations and bytes that have not been given back, of device memory; a test for leaks.
	InUse() (allocations int, bytes int64)
	// Close gives back all that the device holds.
	Close() error
}

// Stream is a queue of work on one device. Slices that ToDevice and ToHost are given must be pinned and stay as they are until the
// work is done.
type Stream interface {
	ToDevice(dst Ptr, src []byte) error
	ToHost(dst []byte, src Ptr) error
	// Copy copies bytes inside the device.
	Copy(dst, src Ptr, bytes int) error
	// CopyFrom copies bytes out of another device's memory into this one's.
	CopyFrom(dst Ptr, peer Device, src Ptr, bytes int) error
	// Fill writes n words.
	Fill(dst Ptr, word uint32, n int) error
	Launch(f Function, l Launch) error
	// Record makes the event happen when all work so far is done; Wait lets later work wait for what the event recorded last, and for
	// nothing if it has recorded nothing yet.
	Record(e Event) error
	Wait(e Event) error
	Synchronize() error
	Destroy() error
}

// Event is a point on a stream.
type Event interface {
	Synchronize() error
	// Since is the time between two events that have happened.
	Since(earlier Event) (time.Duration, error)
	Destroy() error
}

// Module is compiled PTX.
type Module interface {
	// Function finds a kernel by name and lets it take so many bytes of dynamic shared memory.
	Function(name string, shared int) (Function, error)
	Unload() error
}

// Function is a kernel.
type Function interface{ Name() string }

// Launch is how a kernel is started: numbers of blocks and threads, bytes of dynamic shared memory, and the kernel's single argument,
// a struct, as its bytes.
type Launch struct {
	Grid   [3]int
	Block  int
	Shared int
	Args   []byte
}

// OutOfMemory says that a device has no more memory.
type OutOfMemory struct {
	Device      string
	Bytes       int64 // asked for
	Free, Total int64
}

// Error names the numbers and what to lower.
func (e *OutOfMemory) Error() string {
	return fmt.Sprintf("device: %s has no %d bytes left (%d of %d free): lower the sequence length or the heads a device, or take more devices",
		e.Device, e.Bytes, e.Free, e.Total)
}

// ErrLost says that a device reported an error that it does not recover from: a failed launch, an illegal address, an ECC error.
var ErrLost = errors.New("device lost")
