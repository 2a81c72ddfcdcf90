// A stand-in for libcuda.so.1 whose devices are host memory, for tests: streams run in a random legal order and mistakes are errors.
// Here is what its own parts share, and what tests call.
#ifndef RINGGRAD_MOCK_H
#define RINGGRAD_MOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cuda.h"

// An allocation. Addresses of device memory are those of the host memory behind it.
struct mock_extent {
	CUdeviceptr first;
	size_t bytes;
};

// What a launch gives to the function that runs kernels.
struct mock_launch {
	const char *ptx, *kernel;
	unsigned grid[3], block, shared;
	const void *arguments;
	size_t argument_bytes;
	const struct mock_extent *memory; // what the kernel may touch
	size_t extents;
	uint64_t seed;
};

// Tests call these, which they find by dlsym.
void mock_run_kernels_with(CUresult (*run)(struct mock_launch *));
void mock_reset(uint64_t seed, size_t memory);   // nothing is to fail any more; bytes a device, 0 for as they are
void mock_fail(const char *what, unsigned n);    // the n-th alloc, launch or ecc (of any work) from now on fails; 0 for none
long mock_live(const char *what);                // allocations, pinned, streams, events, modules and contexts not given back

// The devices.
enum { MOCK_DEVICES = 16 };

struct mock_device {
	int number, major, minor;
	size_t memory, used;
	int held;                   // retains of the primary context
	CUresult lost;              // what every call returns
	bool reaches[MOCK_DEVICES]; // peers whose memory kernels may touch
};

extern struct mock_device mock_devices[MOCK_DEVICES];
extern _Thread_local struct mock_device *mock_current;

// A kernel of a module.
struct mock_function {
	struct mock_function *next;
	char *name;
	const char *ptx;
	size_t argument_bytes;
	int shared; // bytes of dynamic shared memory that it may take
	struct mock_device *device;
};

// Everything below is called with the lock held.
void mock_lock(void);
void mock_unlock(void);
uint64_t mock_random(uint64_t below);
bool mock_countdown(const char *what); // whether the failure that was asked for is due
void mock_count(const char *what, int change);
bool mock_holds(struct mock_device *, CUdeviceptr, size_t);
bool mock_pinned(const void *, size_t);
CUresult mock_run(struct mock_function *, const unsigned grid[3], unsigned block, unsigned shared, const void *arguments);
void mock_drop_context(struct mock_device *); // its streams, events and work
void mock_drop_work(struct mock_device *);

// Every function of the driver that works in a context begins with this.
#define MOCK_ENTER \
	mock_lock(); \
	CUresult result = !mock_current ? CUDA_ERROR_INVALID_CONTEXT : mock_current->lost; \
	if (result) return mock_unlock(), result;
#define MOCK_LEAVE(value) return result = (value), mock_unlock(), result

#endif
