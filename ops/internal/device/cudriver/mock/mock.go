//go:build ringcuda && cgo

package mock

/*
#cgo CFLAGS: -I${SRCDIR}/libcuda -I${SRCDIR}/../cudadl/include
#cgo LDFLAGS: -ldl
#include <dlfcn.h>
#include <stdlib.h>
#include "mock.h"

// The functions of the mock that tests call, NULL with another driver.
static void (*run_with)(CUresult (*)(struct mock_launch *));
static void (*reset)(uint64_t, size_t);
static void (*fail)(const char *, unsigned);
static long (*live)(const char *);

CUresult ringgradRunKernel(struct mock_launch *);

static int find(const char *library) {
	void *mock = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
	if (!mock || !dlsym(mock, "mock_reset")) return 0;
	run_with = dlsym(mock, "mock_run_kernels_with");
	reset = dlsym(mock, "mock_reset");
	fail = dlsym(mock, "mock_fail");
	live = dlsym(mock, "mock_live");
	run_with(ringgradRunKernel);
	return 1;
}
static void call_reset(uint64_t seed, size_t memory) { reset(seed, memory); }
static void call_fail(const char *what, unsigned n) { fail(what, n); }
static long call_live(const char *what) { return live(what); }
*/
import "C"

import (
	"os"
	"unsafe"
)

var present bool

// register finds the mock in the process and gives it what runs kernels.
func register() {
	path := C.CString(os.Getenv(library))
	defer C.free(unsafe.Pointer(path))
	present = C.find(path) != 0
}

// Present tells whether the driver is the mock, and not a real one.
func Present() bool { return present }

// Reset draws the order of streams from a seed, and gives devices so many bytes of memory; 0 is as many as they have.
func Reset(seed uint64, memory int64) { C.call_reset(C.uint64_t(seed), C.size_t(memory)) }

// Fail lets the n-th alloc or launch from now on fail, or the n-th work of any kind find an ECC error ("ecc").
func Fail(what string, n int) {
	name := C.CString(what)
	defer C.free(unsafe.Pointer(name))
	C.call_fail(name, C.uint(n))
}

// Live is the number of allocations, pinned blocks, streams, events, modules or contexts that were not given back.
func Live(what string) int {
	name := C.CString(what)
	defer C.free(unsafe.Pointer(name))
	return int(C.call_live(name))
}
