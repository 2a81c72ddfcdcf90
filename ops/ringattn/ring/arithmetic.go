package ring

import (
	"fmt"
	"slices"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/internal/accel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// DType names an arithmetic narrower than that of the arrays, which are of float32 then; "" is theirs.
type DType string

// The narrow arithmetics. BFloat16 on the CPU takes a processor with AVX-512-BF16 or AMX-BF16; Float16 is for GPUs.
const (
	BFloat16 DType = "bfloat16" // the upper half of a float32
	Float16  DType = "float16"  // 5 bits of exponent, 11 of precision: values over 65,504 are infinite
)

// Device says what computes attention.
type Device string

// The devices; "" is CPU.
const (
	CPU  Device = "cpu"
	CUDA Device = accel.CUDA // GPUs, in binaries built with the tag ringcuda
	Sim  Device = accel.Sim  // the kernels of the GPUs, run instruction by instruction on the CPU
)

// Devices lists all values of Device.
func Devices() []Device { return []Device{CPU, CUDA, Sim} }

// OnCPU reports whether the device is the CPU, which "" is too.
func (d Device) OnCPU() bool { return d == "" || d == CPU }

// ErrNoBFloat16 says that a DType is BFloat16 where the processor, or the instruction set in use, has no such arithmetic.
var ErrNoBFloat16 = cpu.ErrNoBFloat16

// CheckArithmetic returns an error where a device, or a dtype on it, cannot be had.
func CheckArithmetic(d Device, t DType) error {
	switch {
	case d != "" && !slices.Contains(Devices(), d):
		return fmt.Errorf("ring: device %q: give cpu, cuda or sim", d)
	case t != "" && t != BFloat16 && t != Float16:
		return fmt.Errorf("ring: dtype %q: give %s or %s, or nothing for that of the arrays", t, BFloat16, Float16)
	case t == Float16 && d.OnCPU():
		return fmt.Errorf("ring: dtype %q is for GPUs: give %s, or device cuda", t, BFloat16)
	case t == BFloat16 && d.OnCPU():
		if _, err := cpu.NewBFloat16(); err != nil {
			return fmt.Errorf("ring: %w", err)
		}
	case !d.OnCPU():
		if _, err := accel.Engines(string(d)); err != nil {
			return fmt.Errorf("ring: device %s: %w", d, err)
		}
	}
	return nil
}

// computer is what a rank computes with: a kernel, or the device where its blocks stay.
type computer[T kernel.Float] struct {
	kernel kernel.Attention[T]
	home   *residence
}

// computerOf is the one of a call whose arithmetic has been checked. On devices, ranks whose peers are in other processes have kernels
// with arrays of the host, since that is where messages are.
func computerOf[T kernel.Float](comm *dist.Comm, call Call, rank int) (c computer[T], err error) {
	if !call.Device.OnCPU() {
		e, format, err := call.engineOf(rank)
		if err != nil {
			return c, err
		}
		if c.kernel, err = onHost[T](e, format); err == nil && (comm == nil || comm.InProcess()) {
			c.home = &residence{e, format}
		}
		return c, err
	}
	if call.DType == "" {
		return computer[T]{kernel: cpu.New[T]()}, nil
	}
	k, err := cpu.NewBFloat16()
	if err != nil {
		return c, fmt.Errorf("ring: %w", err)
	}
	of, ok := k.(kernel.Attention[T])
	if !ok {
		return c, fmt.Errorf("ring: %s attention takes float32, not %T", call.DType, *new(T))
	}
	return computer[T]{kernel: of}, nil
}
