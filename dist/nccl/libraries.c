//go:build ringcuda && cgo

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libraries.h"

static char *lacks(const char *library, const char *symbol, int *missing) {
	char *why = NULL;
	*missing = 1;
	if (asprintf(&why, "%s has no %s", library, symbol) < 0) abort();
	return why;
}

// The pointers are filled in one after the other, by the symbols in the order of the fields. Libraries are never closed: they have threads.
#define FIND(result, name, symbol, parameters) \
	if (!(f->name = (result(*) parameters)dlsym(handle, #symbol))) return lacks(library, #symbol, missing);

char *ringgrad_find_nccl(const char *library, struct nccl_functions *f, int *missing) {
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!handle) return strdup(dlerror());
	NCCL_FUNCTIONS(FIND)
	return NULL;
}

char *ringgrad_find_cuda(const char *library, struct cuda_functions *f, int *missing) {
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!handle) return strdup(dlerror());
	CUDA_FUNCTIONS(FIND)
	return NULL;
}

ncclResult_t ringgrad_begin(const struct nccl_functions *f, ncclComm_t *comm, const void *id, int rank) {
	ncclConfig_t config = {
		.size = sizeof config,
		.magic = NCCL_API_MAGIC,
		.version = NCCL_CONFIG_VERSION,
		.blocking = 0,
		.cgaClusterSize = NCCL_CONFIG_UNDEF_INT,
		.minCTAs = NCCL_CONFIG_UNDEF_INT,
		.maxCTAs = NCCL_CONFIG_UNDEF_INT,
		.netName = NULL,
	};
	ncclUniqueId by_value;
	memcpy(&by_value, id, sizeof by_value);
	return f->CommInitRankConfig(comm, 2, by_value, rank, &config);
}
