// What the Go side of package nccl sees of the two libraries: every function as a pointer that find fills in, and a call through it,
// since Go cannot call pointers.
#ifndef RINGGRAD_NCCL_LIBRARIES_H
#define RINGGRAD_NCCL_LIBRARIES_H

#include "abi.h"

#define POINTER(result, name, symbol, parameters) result(*name) parameters;
struct nccl_functions { NCCL_FUNCTIONS(POINTER) };
struct cuda_functions { CUDA_FUNCTIONS(POINTER) };
#undef POINTER

// ringgrad_find_… open a library and fill in its functions. Where that fails they return why, to be freed, with *missing set if the library is
// there and lacks a function.
char *ringgrad_find_nccl(const char *library, struct nccl_functions *f, int *missing);
char *ringgrad_find_cuda(const char *library, struct cuda_functions *f, int *missing);

// ringgrad_begin is ncclCommInitRankConfig of a communicator of two ranks that does not block.
ncclResult_t ringgrad_begin(const struct nccl_functions *f, ncclComm_t *comm, const void *id, int rank);

#endif
