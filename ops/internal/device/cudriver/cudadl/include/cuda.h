// The part of the CUDA driver's binary interface that gorgonia.org/cu and package cudriver use. It stands in for NVIDIA's cuda.h:
// building needs no CUDA toolkit, and one header serves every version of the driver, since libcuda keeps its old symbols.
//
// Handles are pointers to nothing that C code may look into, and enumerations are unsigned integers, as in the driver.
#ifndef RINGGRAD_CUDA_H
#define RINGGRAD_CUDA_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h> // gorgonia.org/cu calls malloc and free

#define CU_HANDLE(name) typedef struct name##_object *name;
CU_HANDLE(CUcontext)
CU_HANDLE(CUmodule)
CU_HANDLE(CUfunction)
CU_HANDLE(CUkernel)
CU_HANDLE(CUstream)
CU_HANDLE(CUevent)
CU_HANDLE(CUarray)
CU_HANDLE(CUtexref)
CU_HANDLE(CUsurfref)
CU_HANDLE(CUlinkState)
CU_HANDLE(CUgraph)
CU_HANDLE(CUgraphNode)
CU_HANDLE(CUgraphExec)
#undef CU_HANDLE

typedef int CUdevice;
typedef unsigned long long CUdeviceptr; // an address
typedef uint32_t cuuint32_t;
typedef struct { char bytes[16]; } CUuuid;
typedef void (*CUhostFn)(void *);

typedef unsigned CUresult, CUdevice_attribute, CUdevice_P2PAttribute, CUfunction_attribute, CUpointer_attribute;
typedef unsigned CUfunc_cache, CUsharedconfig, CUlimit, CUmemorytype, CUmem_advise;
typedef unsigned CUarray_format, CUaddress_mode, CUfilter_mode;
typedef unsigned CUjit_option, CUjitInputType;

enum {
#define CU_NUMBER(name, value) name = value,
#include "cuda_numbers.h"
#undef CU_NUMBER
};

typedef struct {
	size_t Width, Height;
	CUarray_format Format;
	unsigned NumChannels;
} CUDA_ARRAY_DESCRIPTOR;

typedef struct {
	size_t Width, Height, Depth;
	CUarray_format Format;
	unsigned NumChannels, Flags;
} CUDA_ARRAY3D_DESCRIPTOR;

// One end of a copy of a block: where it begins in host memory, device memory or an array, and how its rows lie.
#define CU_PLACE(end, constant) \
	CUmemorytype end##MemoryType; \
	constant void *end##Host; \
	CUdeviceptr end##Device; \
	CUarray end##Array;
#define CU_END2D(end, constant) \
	size_t end##XInBytes, end##Y; \
	CU_PLACE(end, constant) \
	size_t end##Pitch;
#define CU_END3D(end, constant, extra) \
	size_t end##XInBytes, end##Y, end##Z, end##LOD; \
	CU_PLACE(end, constant) \
	extra; \
	size_t end##Pitch, end##Height;

typedef struct {
	CU_END2D(src, const)
	CU_END2D(dst, )
	size_t WidthInBytes, Height;
} CUDA_MEMCPY2D;

typedef struct {
	CU_END3D(src, const, void *reserved0)
	CU_END3D(dst, , void *reserved1)
	size_t WidthInBytes, Height, Depth;
} CUDA_MEMCPY3D;

typedef struct {
	CU_END3D(src, const, CUcontext srcContext)
	CU_END3D(dst, , CUcontext dstContext)
	size_t WidthInBytes, Height, Depth;
} CUDA_MEMCPY3D_PEER;

typedef struct {
	CUfunction func;
	unsigned gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes;
	void **kernelParams, **extra;
	CUkernel kern;
	CUcontext ctx;
} CUDA_KERNEL_NODE_PARAMS;

typedef struct {
	CUdeviceptr dst;
	size_t pitch;
	unsigned value, elementSize;
	size_t width, height;
} CUDA_MEMSET_NODE_PARAMS;

typedef struct {
	CUhostFn fn;
	void *userData;
} CUDA_HOST_NODE_PARAMS;

#define CU_FUNCTION(name, version, parameters) CUresult name parameters __asm__(#name #version);
#include "cuda_functions.h"
#undef CU_FUNCTION

#endif
