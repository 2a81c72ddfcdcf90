//go:build ringcuda && cgo

package mock

// #include "mock.h"
import "C"

import (
	"fmt"
	"os"
	"slices"
	"sort"
	"sync"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/ptx"
)

const (
	success        = C.CUDA_SUCCESS
	invalidPTX     = C.CUDA_ERROR_INVALID_PTX
	illegalAddress = C.CUDA_ERROR_ILLEGAL_ADDRESS
)

var parsed sync.Map // PTX text to *ptx.Module

func parse(text string) (*ptx.Module, error) {
	if module, ok := parsed.Load(text); ok {
		return module.(*ptx.Module), nil
	}
	module, err := ptx.Parse(text)
	if err == nil {
		parsed.Store(text, module)
	}
	return module, err
}

// ringgradRunKernel runs a kernel for the mock, which holds its lock meanwhile. What a kernel did wrong goes to the standard error; a
// driver says no more than the number.
//
//export ringgradRunKernel
func ringgradRunKernel(l *C.struct_mock_launch) C.CUresult {
	module, err := parse(C.GoString(l.ptx))
	if err != nil {
		fmt.Fprintln(os.Stderr, "mock:", err)
		return invalidPTX
	}
	f, err := module.Function(C.GoString(l.kernel))
	if err == nil {
		_, err = f.Run(newMemory(l), ptx.Launch{
			Grid: [3]int{int(l.grid[0]), int(l.grid[1]), int(l.grid[2])}, Block: [3]int{int(l.block), 1, 1}, Shared: int(l.shared),
			Args: C.GoBytes(l.arguments, C.int(l.argument_bytes)),
		}, ptx.Schedule{Seed: uint64(l.seed)})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mock:", err)
		return illegalAddress
	}
	return success
}

// memory is what a kernel may touch: host memory, at its own addresses.
type memory []C.struct_mock_extent

func newMemory(l *C.struct_mock_launch) memory {
	m := slices.Clone(unsafe.Slice(l.memory, int(l.extents)))
	slices.SortFunc(m, func(a, b C.struct_mock_extent) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	return m
}

// At finds n bytes at an address.
func (m memory) At(address uint64, n int) ([]byte, error) {
	i := sort.Search(len(m), func(i int) bool { return uint64(m[i].first) > address }) - 1
	if i < 0 || address+uint64(n) > uint64(m[i].first)+uint64(m[i].bytes) {
		return nil, fmt.Errorf("%d bytes at %#x are in no allocation", n, address)
	}
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&address))), n), nil
}
