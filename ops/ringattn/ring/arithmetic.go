package ring

import (
	"fmt"
	"slices"

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
	CUDA Device = "cuda" // GPUs, in binaries built with the tag ringcuda
	Sim  Device = "sim"  // the kernels of the GPUs, run instruction by instruction on the CPU
)

// Devices lists all values of Device.
func Devices() []Device { return []Device{CPU, CUDA, Sim} }

// accelerator reports whether the device is another than the CPU.
func (d Device) accelerator() bool { return d != "" && d != CPU }

// ErrNoBFloat16 says that a DType is BFloat16 where the processor, or the instruction set in use, has no such arithmetic.
var ErrNoBFloat16 = cpu.ErrNoBFloat16

// CheckArithmetic returns an error where a device, or a dtype on it, cannot be had.
func CheckArithmetic(d Device, t DType) error {
	switch {
	case d != "" && !slices.Contains(Devices(), d):
		return fmt.Errorf("ring: device %q: give cpu, cuda or sim", d)
	case t != "" && t != BFloat16 && t != Float16:
		return fmt.Errorf("ring: dtype %q: give %s or %s, or nothing for that of the arrays", t, BFloat16, Float16)
	case t == Float16 && !d.accelerator():
		return fmt.Errorf("ring: dtype %s is for GPUs: give %s, or device cuda", t, BFloat16)
	case t == BFloat16 && !d.accelerator():
		if _, err := cpu.NewBFloat16(); err != nil {
			return fmt.Errorf("ring: %w", err)
		}
	}
	return nil
}

// kernelOf is the kernel of a call whose arithmetic has been checked.
func kernelOf[T kernel.Float](call Call) (kernel.Attention[T], error) {
	if call.DType == "" {
		return cpu.New[T](), nil
	}
	k, err := cpu.NewBFloat16()
	if err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	of, ok := k.(kernel.Attention[T])
	if !ok {
		return nil, fmt.Errorf("ring: %s attention takes float32, not %T", call.DType, *new(T))
	}
	return of, nil
}
