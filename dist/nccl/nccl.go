package nccl

import (
	"errors"
	"fmt"
	"os"
)

// Options of Open; the zero value is usable.
type Options struct {
	// Device is the CUDA ordinal of this rank's GPU.
	Device int
	// Library is NCCL, as dlopen takes it; "" is RINGGRAD_NCCL_LIBRARY, or libnccl.so.2.
	Library string
	// Smallest is how many bytes a message needs to travel by NCCL; smaller ones take the CPU engine. 0 is 64 KiB. All ranks need the same.
	Smallest int
}

// ErrNotBuilt says that the program has no NCCL engine.
var ErrNotBuilt = errors.New("nccl: not in this program: build it with -tags ringcuda and CGO_ENABLED=1")

// EnsureDefaults fills in what is not set.
func (o *Options) EnsureDefaults() {
	if o.Library == "" {
		o.Library = os.Getenv("RINGGRAD_NCCL_LIBRARY")
	}
	if o.Library == "" {
		o.Library = "libnccl.so.2"
	}
	if o.Smallest == 0 {
		o.Smallest = 64 << 10
	}
}

// Validate names what is out of range.
func (o *Options) Validate() error {
	var errs []error
	if o.Device < 0 {
		errs = append(errs, fmt.Errorf("nccl: device %d: give the number of a GPU, 0 or more", o.Device))
	}
	if o.Smallest < 1 {
		errs = append(errs, fmt.Errorf("nccl: messages of %d bytes and more: give 1 or more", o.Smallest))
	}
	return errors.Join(errs...)
}
