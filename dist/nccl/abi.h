// The parts of the binary interfaces of NCCL (2.17 and later) and of the CUDA driver that package nccl uses: names, numbers and layouts.
// They stand in for nccl.h and cuda.h, so that building needs neither.
#ifndef RINGGRAD_NCCL_ABI_H
#define RINGGRAD_NCCL_ABI_H

#include <limits.h>
#include <stddef.h>

// NCCL.

typedef struct ncclComm *ncclComm_t;

enum { NCCL_UNIQUE_ID_BYTES = 128 };
typedef struct { char internal[NCCL_UNIQUE_ID_BYTES]; } ncclUniqueId; // passed by value

enum {
	ncclSuccess = 0,
	ncclUnhandledCudaError = 1,
	ncclSystemError = 2,
	ncclInternalError = 3,
	ncclInvalidArgument = 4,
	ncclInvalidUsage = 5,
	ncclRemoteError = 6,
	ncclInProgress = 7,
};
typedef unsigned ncclResult_t;

enum { ncclUint8 = 1 };
typedef unsigned ncclDataType_t;

// The configuration as of 2.17. Later versions append to it; by size and version they know which fields are there.
typedef struct {
	size_t size;
	unsigned magic, version;
	int blocking, cgaClusterSize, minCTAs, maxCTAs;
	const char *netName;
} ncclConfig_t;
enum { NCCL_CONFIG_VERSION = 21700, NCCL_CONFIG_UNDEF_INT = INT_MIN };
#define NCCL_API_MAGIC 0xcafebeefu

// The CUDA driver. CU_… are handles.

typedef unsigned CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct { char bytes[16]; } CUuuid;

enum {
	CUDA_SUCCESS = 0,
	CUDA_ERROR_INVALID_VALUE = 1,
	CUDA_ERROR_OUT_OF_MEMORY = 2,
	CUDA_ERROR_INVALID_DEVICE = 101,
	CUDA_ERROR_INVALID_CONTEXT = 201,
	CUDA_ERROR_INVALID_HANDLE = 400,
	CUDA_ERROR_NOT_READY = 600,
	CU_STREAM_NON_BLOCKING = 1,
	CU_EVENT_DISABLE_TIMING = 2,
	CU_MEMHOSTALLOC_PORTABLE = 1,
};

// All functions, by FUNCTION(result, name, symbol of the library, parameters).

#define NCCL_FUNCTIONS(FUNCTION) \
	FUNCTION(ncclResult_t, GetVersion, ncclGetVersion, (int *version)) \
	FUNCTION(const char *, GetErrorString, ncclGetErrorString, (ncclResult_t result)) \
	FUNCTION(const char *, GetLastError, ncclGetLastError, (ncclComm_t comm)) \
	FUNCTION(ncclResult_t, GetUniqueId, ncclGetUniqueId, (ncclUniqueId * id)) \
	FUNCTION(ncclResult_t, CommInitRankConfig, ncclCommInitRankConfig, \
	         (ncclComm_t * comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config)) \
	FUNCTION(ncclResult_t, CommGetAsyncError, ncclCommGetAsyncError, (ncclComm_t comm, ncclResult_t *error)) \
	FUNCTION(ncclResult_t, CommAbort, ncclCommAbort, (ncclComm_t comm)) \
	FUNCTION(ncclResult_t, Send, ncclSend, \
	         (const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, CUstream stream)) \
	FUNCTION(ncclResult_t, Recv, ncclRecv, (void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, CUstream stream))

#define CUDA_FUNCTIONS(FUNCTION) \
	FUNCTION(CUresult, Init, cuInit, (unsigned flags)) \
	FUNCTION(CUresult, GetErrorName, cuGetErrorName, (CUresult error, const char **name)) \
	FUNCTION(CUresult, DeviceGetCount, cuDeviceGetCount, (int *count)) \
	FUNCTION(CUresult, DeviceGet, cuDeviceGet, (CUdevice * device, int ordinal)) \
	FUNCTION(CUresult, DeviceGetUuid, cuDeviceGetUuid, (CUuuid * uuid, CUdevice device)) \
	FUNCTION(CUresult, DevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, (CUcontext * context, CUdevice device)) \
	FUNCTION(CUresult, DevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (CUdevice device)) \
	FUNCTION(CUresult, CtxSetCurrent, cuCtxSetCurrent, (CUcontext context)) \
	FUNCTION(CUresult, MemAlloc, cuMemAlloc_v2, (CUdeviceptr * memory, size_t bytes)) \
	FUNCTION(CUresult, MemFree, cuMemFree_v2, (CUdeviceptr memory)) \
	FUNCTION(CUresult, MemHostAlloc, cuMemHostAlloc, (void **memory, size_t bytes, unsigned flags)) \
	FUNCTION(CUresult, MemFreeHost, cuMemFreeHost, (void *memory)) \
	FUNCTION(CUresult, MemcpyHtoDAsync, cuMemcpyHtoDAsync_v2, (CUdeviceptr to, const void *from, size_t bytes, CUstream stream)) \
	FUNCTION(CUresult, MemcpyDtoHAsync, cuMemcpyDtoHAsync_v2, (void *to, CUdeviceptr from, size_t bytes, CUstream stream)) \
	FUNCTION(CUresult, StreamCreate, cuStreamCreate, (CUstream * stream, unsigned flags)) \
	FUNCTION(CUresult, StreamQuery, cuStreamQuery, (CUstream stream)) \
	FUNCTION(CUresult, StreamDestroy, cuStreamDestroy_v2, (CUstream stream)) \
	FUNCTION(CUresult, EventCreate, cuEventCreate, (CUevent * event, unsigned flags)) \
	FUNCTION(CUresult, EventRecord, cuEventRecord, (CUevent event, CUstream stream)) \
	FUNCTION(CUresult, EventQuery, cuEventQuery, (CUevent event)) \
	FUNCTION(CUresult, EventDestroy, cuEventDestroy_v2, (CUevent event))

#endif
