// Compiled against our cuda.h and against NVIDIA's by .ci/check_cuda_header. Constants and functions of our tables must agree with the
// declarations of the header in use, or this does not compile. What it prints, sizes and places, must be the same for both.
#include <cuda.h>
#include <stdio.h>

#define CU_NUMBER(name, value) _Static_assert((long)(name) == (value), #name);
#include "cuda_numbers.h"
#undef CU_NUMBER

// NVIDIA's header declares the versions, and defines the names as the newest; ours declares the names.
#ifdef NVIDIA
#define CU_FUNCTION(name, version, parameters) CU_AGREES(name##version, parameters)
#else
#define CU_FUNCTION(name, version, parameters) CU_AGREES(name, parameters)
#endif
#define CU_AGREES(name, parameters) _Static_assert(__builtin_types_compatible_p(__typeof__(name), CUresult parameters), #name);
#include "cuda_functions.h"
#undef CU_FUNCTION

#define SIZE(type) printf("%s: %zu bytes\n", #type, sizeof(type))
#define FIELD(type, field) \
	printf("%s.%s: %zu bytes at %zu\n", #type, #field, sizeof(((type *)0)->field), __builtin_offsetof(type, field))
#define FIELDS2(t, a, b) FIELD(t, a); FIELD(t, b)
#define FIELDS3(t, a, b, c) FIELDS2(t, a, b); FIELD(t, c)
#define FIELDS4(t, a, b, c, d) FIELDS2(t, a, b); FIELDS2(t, c, d)
#define END2D(t, end) \
	FIELDS3(t, end##XInBytes, end##Y, end##MemoryType); \
	FIELDS4(t, end##Host, end##Device, end##Array, end##Pitch)
#define END3D(t, end, extra) END2D(t, end); FIELDS4(t, end##Z, end##LOD, end##Height, extra)

int main(void) {
	SIZE(CUcontext), SIZE(CUmodule), SIZE(CUfunction), SIZE(CUkernel), SIZE(CUstream), SIZE(CUevent), SIZE(CUarray), SIZE(CUtexref);
	SIZE(CUsurfref), SIZE(CUlinkState), SIZE(CUgraph), SIZE(CUgraphNode), SIZE(CUgraphExec), SIZE(CUdevice), SIZE(CUdeviceptr);
	SIZE(cuuint32_t), SIZE(CUuuid), SIZE(CUhostFn), SIZE(CUresult), SIZE(CUdevice_attribute), SIZE(CUdevice_P2PAttribute);
	SIZE(CUfunction_attribute), SIZE(CUpointer_attribute), SIZE(CUfunc_cache), SIZE(CUsharedconfig), SIZE(CUlimit), SIZE(CUmemorytype);
	SIZE(CUmem_advise), SIZE(CUarray_format), SIZE(CUaddress_mode), SIZE(CUfilter_mode), SIZE(CUjit_option), SIZE(CUjitInputType);

	SIZE(CUDA_ARRAY_DESCRIPTOR);
	FIELDS4(CUDA_ARRAY_DESCRIPTOR, Width, Height, Format, NumChannels);
	SIZE(CUDA_ARRAY3D_DESCRIPTOR);
	FIELDS3(CUDA_ARRAY3D_DESCRIPTOR, Width, Height, Depth);
	FIELDS3(CUDA_ARRAY3D_DESCRIPTOR, Format, NumChannels, Flags);
	SIZE(CUDA_MEMCPY2D);
	END2D(CUDA_MEMCPY2D, src);
	END2D(CUDA_MEMCPY2D, dst);
	FIELDS2(CUDA_MEMCPY2D, WidthInBytes, Height);
	SIZE(CUDA_MEMCPY3D);
	END3D(CUDA_MEMCPY3D, src, reserved0);
	END3D(CUDA_MEMCPY3D, dst, reserved1);
	FIELDS3(CUDA_MEMCPY3D, WidthInBytes, Height, Depth);
	SIZE(CUDA_MEMCPY3D_PEER);
	END3D(CUDA_MEMCPY3D_PEER, src, srcContext);
	END3D(CUDA_MEMCPY3D_PEER, dst, dstContext);
	FIELDS3(CUDA_MEMCPY3D_PEER, WidthInBytes, Height, Depth);
	SIZE(CUDA_KERNEL_NODE_PARAMS);
	FIELDS4(CUDA_KERNEL_NODE_PARAMS, func, gridDimX, gridDimY, gridDimZ);
	FIELDS4(CUDA_KERNEL_NODE_PARAMS, blockDimX, blockDimY, blockDimZ, sharedMemBytes);
	FIELDS4(CUDA_KERNEL_NODE_PARAMS, kernelParams, extra, kern, ctx);
	SIZE(CUDA_MEMSET_NODE_PARAMS);
	FIELDS3(CUDA_MEMSET_NODE_PARAMS, dst, pitch, value);
	FIELDS3(CUDA_MEMSET_NODE_PARAMS, elementSize, width, height);
	SIZE(CUDA_HOST_NODE_PARAMS);
	FIELDS2(CUDA_HOST_NODE_PARAMS, fn, userData);
}
