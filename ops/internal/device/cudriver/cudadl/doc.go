// Package cudadl is the CUDA driver for programs that may run without it. gorgonia.org/cu links against libcuda; here are all functions
// that it names, as jumps into libcuda.so.1, which is opened when the program starts. Without a driver there are no devices, and the
// program goes on.
//
// RINGGRAD_CUDA_LIBRARY names another library to open instead. The header in include stands in for NVIDIA's cuda.h; package cu finds it
// through CGO_CFLAGS:
//
//	CGO_CFLAGS="-O2 -I$(go list -f '{{.Dir}}' github.com/ringgrad/ringgrad/ops/internal/device/cudriver/cudadl)/include" \
//		go build -tags ringcuda
//
// Here too are the few functions of the driver that package cu lacks. Without the tag ringcuda the package is empty.
package cudadl
