//go:build ringcuda && cgo

// Every function of the CUDA driver that the program names is defined here, as a jump through a pointer that is filled in when the
// program starts: to the function of libcuda.so.1 if that can be opened, otherwise to one that says that there is no device.
#include <dlfcn.h>
#include <stdlib.h>

#include "include/cuda.h"
#include "cudadl.h"

#define HIDDEN __attribute__((visibility("hidden")))

// The pointers.
#define CU_FUNCTION(name, version, parameters) HIDDEN void *cudadl_to_##name;
#include "include/cuda_functions.h"
#undef CU_FUNCTION

// The jumps. They touch no register that carries a parameter, so one text serves all signatures.
#if defined(__x86_64__)
#define JUMP(target) "\tendbr64\n\tjmp *" target "(%rip)\n"
#elif defined(__aarch64__)
#define JUMP(target) "\thint 34\n\tadrp x16, " target "\n\tldr x16, [x16, :lo12:" target "]\n\tbr x16\n"
#else
#error "package cudadl is written for amd64 and arm64"
#endif

#define TRAMPOLINE(symbol, target) \
	".globl " symbol "\n.hidden " symbol "\n.type " symbol ", %function\n" symbol ":\n" JUMP(target) ".size " symbol ", .-" symbol "\n"

#define CU_FUNCTION(name, version, parameters) __asm__(".text\n.balign 16\n" TRAMPOLINE(#name #version, "cudadl_to_" #name));
#include "include/cuda_functions.h"
#undef CU_FUNCTION

HIDDEN struct cudadl_state cudadl = {.name = "libcuda.so.1"};

// What stands in for functions of a driver that cannot be used.
static CUresult no_device(void) { return CUDA_ERROR_NO_DEVICE; }
static CUresult not_found(void) { return CUDA_ERROR_NOT_FOUND; }
static CUresult count_none(int *count) { return *count = 0, CUDA_SUCCESS; }

static CUresult (*driver_init)(unsigned);

// init never fails, because gorgonia.org/cu ends the process if cuInit does. A driver that cannot start has no devices.
static CUresult init(unsigned flags) {
	cudadl.init = driver_init ? driver_init(flags) : CUDA_ERROR_NO_DEVICE;
	if (cudadl.init != CUDA_SUCCESS) cudadl_to_cuDeviceGetCount = (void *)count_none;
	return CUDA_SUCCESS;
}

static void *find(void *driver, const char *symbol) {
	if (!driver) return (void *)no_device;
	void *function = dlsym(driver, symbol);
	return function ? function : (void *)not_found;
}

// Runs before the Go runtime, and so before package cu calls cuInit.
__attribute__((constructor)) static void fill(void) {
	const char *chosen = getenv("RINGGRAD_CUDA_LIBRARY");
	if (chosen && *chosen) cudadl.name = chosen;
	void *driver = dlopen(cudadl.name, RTLD_NOW | RTLD_LOCAL);
	if (!driver) cudadl.error = strdup(dlerror());
#define CU_FUNCTION(name, version, parameters) cudadl_to_##name = find(driver, #name #version);
#include "include/cuda_functions.h"
#undef CU_FUNCTION
	if (driver) driver_init = dlsym(driver, "cuInit");
	cudadl_to_cuInit = (void *)init;
}
