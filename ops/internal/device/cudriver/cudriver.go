// Package cudriver is NVIDIA GPUs as devices, through gorgonia.org/cu. It is built with the tag ringcuda and cgo; without them it has no
// devices, and says so. The driver is found when the program starts (package cudadl), so a program with the tag runs anywhere.
//
// Of package cu only the functions of the driver are used, on threads that Bind ties to goroutines, with the primary context of each
// device: cu.Ctx loses errors, and cu.BatchedContext memory. A context is made at the first Bind, so listing devices costs nothing.
//
// The driver checks little of what it is given, so addresses, sizes and pinned memory are checked here, as in the simulator.
package cudriver

import "github.com/ringgrad/ringgrad/ops/internal/device"

// Report says what was looked for and what was found.
type Report struct {
	Library string // the driver's library, as it was asked for; "" if this program was built without it
	Driver  string // the version of CUDA that the driver supports, "13.0"; "" without a driver
	Why     string // why there are no devices at all; "" if there are any
	Found   []Found
}

// Found is a device that the driver has.
type Found struct {
	device.Info
	Why string // why it is not used; "" if it is
}
