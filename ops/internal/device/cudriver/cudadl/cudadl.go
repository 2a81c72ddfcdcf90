//go:build ringcuda && cgo

package cudadl

/*
#cgo LDFLAGS: -L${SRCDIR}/link -ldl
#include "cudadl.h"

// launch takes the arguments as one struct, which the driver copies before it returns.
static CUresult launch(CUfunction f, const unsigned grid[3], unsigned block, unsigned shared, CUstream stream, void *arguments) {
	void *parameters[] = {arguments};
	return cuLaunchKernel(f, grid[0], grid[1], grid[2], block, 1, 1, shared, stream, parameters, NULL);
}

// load compiles PTX, which ends in a NUL, and writes the compiler's messages to log.
static CUresult load(CUmodule *module, const void *ptx, char *log, size_t size) {
	CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
	void *values[] = {log, (void *)size};
	return cuModuleLoadDataEx(module, ptx, 2, options, values);
}
*/
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// Result is an error of the driver, by its number.
type Result int

// Numbers that callers tell apart, and that package cu does not export or name.
const (
	InvalidValue Result = C.CUDA_ERROR_INVALID_VALUE
	OutOfMemory  Result = C.CUDA_ERROR_OUT_OF_MEMORY
)

// Attributes that package cu does not name.
const (
	MaxDynamicSharedMemory = C.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
	SharedMemoryPerBlock   = cu.DeviceAttribute(C.CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
)

// Error is the driver's name of the error, and its number.
func (r Result) Error() string {
	var name *C.char
	if C.cuGetErrorName(C.CUresult(r), &name) != C.CUDA_SUCCESS || name == nil {
		return fmt.Sprintf("CUDA error %d", int(r))
	}
	return fmt.Sprintf("%s (%d)", C.GoString(name), int(r))
}

func result(r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	return Result(r)
}

// State says which library was opened, or tried, and why it is no use: it could not be opened, or its cuInit failed.
func State() (library string, err error) {
	library = C.GoString(C.cudadl.name)
	if C.cudadl.error != nil {
		return library, fmt.Errorf("cudadl: no CUDA driver: %s", C.GoString(C.cudadl.error))
	}
	if err := result(C.cudadl.init); err != nil {
		return library, fmt.Errorf("cudadl: the CUDA driver %s does not start: %w", library, err)
	}
	return library, nil
}

// The types of package cu are structs around one handle of the driver.

func function(f cu.Function) C.CUfunction { return *(*C.CUfunction)(unsafe.Pointer(&f)) }
func stream(s cu.Stream) C.CUstream       { return *(*C.CUstream)(unsafe.Pointer(&s)) }

// SetFunctionAttribute is cuFuncSetAttribute.
func SetFunctionAttribute(f cu.Function, attribute, value int) error {
	return result(C.cuFuncSetAttribute(function(f), C.CUfunction_attribute(attribute), C.int(value)))
}

// HostAlloc is page-locked memory that all devices may use; give it back with cu.MemFreeHost.
func HostAlloc(bytes int) ([]byte, error) {
	var p unsafe.Pointer
	if err := result(C.cuMemHostAlloc(&p, C.size_t(bytes), C.CU_MEMHOSTALLOC_PORTABLE)); err != nil {
		return nil, err
	}
	return unsafe.Slice((*byte)(p), bytes), nil
}

// Launch is how Launch starts a kernel: Arguments is its single parameter, a struct.
type Launch struct {
	Grid          [3]int
	Block, Shared int
	Arguments     []byte
}

// LaunchKernel is cuLaunchKernel.
func LaunchKernel(f cu.Function, s cu.Stream, l Launch) error {
	grid := [3]C.uint{C.uint(l.Grid[0]), C.uint(l.Grid[1]), C.uint(l.Grid[2])}
	arguments := unsafe.Pointer(unsafe.SliceData(l.Arguments))
	return result(C.launch(function(f), &grid[0], C.uint(l.Block), C.uint(l.Shared), stream(s), arguments))
}

const logBytes = 8 << 10 // of the compiler's messages

// Load compiles PTX in the current context. The error has the compiler's messages.
func Load(ptx string) (cu.Module, error) {
	text := C.CString(ptx)
	defer C.free(unsafe.Pointer(text))
	log := (*C.char)(C.calloc(1, logBytes))
	defer C.free(unsafe.Pointer(log))
	var module C.CUmodule
	if err := result(C.load(&module, unsafe.Pointer(text), log, logBytes)); err != nil {
		if message := C.GoString(log); message != "" {
			err = fmt.Errorf("%w: %s", err, message)
		}
		return cu.Module{}, err
	}
	return *(*cu.Module)(unsafe.Pointer(&module)), nil
}
