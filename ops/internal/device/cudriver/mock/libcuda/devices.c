// Devices, contexts, memory and modules of the mock driver.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mock.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
void mock_lock(void) { pthread_mutex_lock(&lock); }
void mock_unlock(void) { pthread_mutex_unlock(&lock); }

struct mock_device mock_devices[MOCK_DEVICES];
_Thread_local struct mock_device *mock_current;
static int devices;

// Random numbers: splitmix64.
static uint64_t state;
uint64_t mock_random(uint64_t below) {
	uint64_t z = state += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % below;
}

// What is alive, and what is to fail, by name.
static const char *const names[] = {"allocations", "pinned", "streams", "events", "modules", "contexts", "alloc", "launch", "ecc"};
enum { NAMES = sizeof names / sizeof *names };
static long live[NAMES];
static unsigned failing[NAMES]; // after so many

static int named(const char *name) {
	for (int i = 0; i < NAMES; i++)
		if (!strcmp(names[i], name)) return i;
	fprintf(stderr, "mock: nothing is called %s\n", name);
	abort();
}

void mock_count(const char *what, int change) { live[named(what)] += change; }
bool mock_countdown(const char *what) {
	unsigned *left = &failing[named(what)];
	return *left && !--*left;
}
long mock_live(const char *what) {
	mock_lock();
	long n = live[named(what)];
	return mock_unlock(), n;
}
void mock_fail(const char *what, unsigned n) {
	mock_lock();
	failing[named(what)] = n;
	mock_unlock();
}
void mock_reset(uint64_t seed, size_t memory) {
	mock_lock();
	state = seed;
	memset(failing, 0, sizeof failing);
	for (int i = 0; memory && i < devices; i++) mock_devices[i].memory = memory;
	mock_unlock();
}

static const char *setting(const char *name, const char *otherwise) {
	const char *value = getenv(name);
	return value && *value ? value : otherwise;
}

// Settings from the environment: how many devices, bytes and compute capability of each (the last of a list goes for the rest), the
// driver's version, what cuInit returns, and what is to fail, as in launch:3.
CUresult cuInit(unsigned flags) {
	devices = atoi(setting("RINGGRAD_MOCK_DEVICES", "2"));
	if (devices > MOCK_DEVICES || flags) return CUDA_ERROR_INVALID_VALUE;
	const char *capability = setting("RINGGRAD_MOCK_CAPABILITY", "9.0");
	for (int i = 0; i < devices; i++) {
		struct mock_device *d = &mock_devices[i];
		*d = (struct mock_device){.number = i, .memory = strtoull(setting("RINGGRAD_MOCK_MEMORY", "1073741824"), NULL, 10)};
		sscanf(capability, "%d.%d", &d->major, &d->minor);
		const char *comma = strchr(capability, ',');
		if (comma) capability = comma + 1;
	}
	char what[16];
	unsigned n;
	if (sscanf(setting("RINGGRAD_MOCK_FAIL", ""), "%15[a-z]:%u", what, &n) == 2) mock_fail(what, n);
	return atoi(setting("RINGGRAD_MOCK_INIT", "0"));
}

CUresult cuDriverGetVersion(int *version) { return *version = atoi(setting("RINGGRAD_MOCK_DRIVER", "13000")), CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *count) { return *count = devices, CUDA_SUCCESS; }

CUresult cuGetErrorName(CUresult error, const char **name) {
	switch (error) {
#define NAME(value) case value: return *name = #value, CUDA_SUCCESS;
		NAME(CUDA_ERROR_INVALID_VALUE) NAME(CUDA_ERROR_OUT_OF_MEMORY) NAME(CUDA_ERROR_NO_DEVICE) NAME(CUDA_ERROR_INVALID_CONTEXT)
		NAME(CUDA_ERROR_INVALID_DEVICE) NAME(CUDA_ERROR_NO_BINARY_FOR_GPU) NAME(CUDA_ERROR_ECC_UNCORRECTABLE)
		NAME(CUDA_ERROR_INVALID_PTX) NAME(CUDA_ERROR_INVALID_HANDLE) NAME(CUDA_ERROR_NOT_FOUND) NAME(CUDA_ERROR_NOT_READY)
		NAME(CUDA_ERROR_ILLEGAL_ADDRESS) NAME(CUDA_ERROR_LAUNCH_TIMEOUT) NAME(CUDA_ERROR_LAUNCH_FAILED)
		NAME(CUDA_ERROR_SYSTEM_DRIVER_MISMATCH) NAME(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED) NAME(CUDA_ERROR_NOT_SUPPORTED)
#undef NAME
	}
	return *name = NULL, CUDA_ERROR_INVALID_VALUE;
}

static struct mock_device *device(CUdevice number) { return number >= 0 && number < devices ? &mock_devices[number] : NULL; }

CUresult cuDeviceGet(CUdevice *d, int number) { return *d = number, device(number) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE; }
CUresult cuDeviceTotalMem(size_t *bytes, CUdevice d) { return *bytes = device(d)->memory, CUDA_SUCCESS; }
CUresult cuDeviceGetName(char *name, int length, CUdevice d) { return snprintf(name, length, "Mock GPU %d", d), CUDA_SUCCESS; }

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice d) {
	switch (attribute) {
	case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return *value = device(d)->major, CUDA_SUCCESS;
	case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return *value = device(d)->minor, CUDA_SUCCESS;
	case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return *value = 4, CUDA_SUCCESS;
	case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return *value = 227 << 10, CUDA_SUCCESS;
	}
	return CUDA_ERROR_INVALID_VALUE;
}

// Contexts: the primary one of each device, which is its device.

static struct mock_device *of(CUcontext c) { return (struct mock_device *)c; }

CUresult cuCtxSetCurrent(CUcontext c) {
	mock_current = of(c);
	return mock_current ? mock_current->lost : CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext *c) { return *c = (CUcontext)mock_current, CUDA_SUCCESS; }

CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice number) {
	struct mock_device *d = device(number);
	if (!d) return CUDA_ERROR_INVALID_DEVICE;
	mock_lock();
	if (!d->held++) mock_count("contexts", 1);
	*c = (CUcontext)d;
	return mock_unlock(), CUDA_SUCCESS;
}

static void free_all(struct mock_device *);

CUresult cuDevicePrimaryCtxRelease(CUdevice number) {
	struct mock_device *d = device(number);
	mock_lock();
	if (!d || !d->held) return mock_unlock(), CUDA_ERROR_INVALID_CONTEXT;
	if (!--d->held) {
		mock_drop_context(d);
		free_all(d);
		d->lost = CUDA_SUCCESS;
		memset(d->reaches, 0, sizeof d->reaches);
		mock_count("contexts", -1);
	}
	return mock_unlock(), CUDA_SUCCESS;
}

CUresult cuDeviceCanAccessPeer(int *can, CUdevice d, CUdevice peer) { return *can = d != peer, CUDA_SUCCESS; }

CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
	MOCK_ENTER
	if (flags || of(peer) == mock_current) MOCK_LEAVE(CUDA_ERROR_INVALID_VALUE);
	bool *reaches = &mock_current->reaches[of(peer)->number];
	if (*reaches) MOCK_LEAVE(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
	*reaches = true;
	MOCK_LEAVE(CUDA_SUCCESS);
}

// Memory. New memory holds 0xff.

struct block {
	struct block *next;
	struct mock_extent extent;
	struct mock_device *device; // NULL for pinned memory
};
static struct block *blocks;

static CUresult take(struct mock_device *d, size_t bytes, CUdeviceptr *p) {
	if (!bytes) return CUDA_ERROR_INVALID_VALUE;
	if (d && (mock_countdown("alloc") || bytes > d->memory - d->used)) return CUDA_ERROR_OUT_OF_MEMORY;
	struct block *b = malloc(sizeof *b);
	void *memory = aligned_alloc(4096, (bytes + 8191) / 4096 * 4096); // a page that belongs to nobody comes after it
	if (!b || !memory) return free(b), free(memory), CUDA_ERROR_OUT_OF_MEMORY;
	memset(memory, 0xff, bytes);
	*p = (CUdeviceptr)memory;
	*b = (struct block){blocks, {*p, bytes}, d};
	blocks = b;
	if (d) d->used += bytes;
	mock_count(d ? "allocations" : "pinned", 1);
	return CUDA_SUCCESS;
}

static void drop(struct block **b) {
	struct block *gone = *b;
	*b = gone->next;
	if (gone->device) gone->device->used -= gone->extent.bytes;
	mock_count(gone->device ? "allocations" : "pinned", -1);
	free((void *)gone->extent.first);
	free(gone);
}

static CUresult give(struct mock_device *d, CUdeviceptr p) {
	for (struct block **b = &blocks; *b; b = &(*b)->next)
		if ((*b)->extent.first == p && (*b)->device == d) return drop(b), CUDA_SUCCESS;
	return CUDA_ERROR_INVALID_VALUE;
}

bool mock_holds(struct mock_device *d, CUdeviceptr p, size_t bytes) {
	for (struct block *b = blocks; b; b = b->next)
		if (b->device == d && p >= b->extent.first && p + bytes <= b->extent.first + b->extent.bytes) return true;
	return false;
}
bool mock_pinned(const void *p, size_t bytes) { return mock_holds(NULL, (CUdeviceptr)p, bytes); }

CUresult cuMemAlloc(CUdeviceptr *p, size_t bytes) { MOCK_ENTER MOCK_LEAVE(take(mock_current, bytes, p)); }
CUresult cuMemFree(CUdeviceptr p) { MOCK_ENTER MOCK_LEAVE(give(mock_current, p)); }
CUresult cuMemHostAlloc(void **p, size_t bytes, unsigned flags) { MOCK_ENTER (void)flags; MOCK_LEAVE(take(NULL, bytes, (CUdeviceptr *)p)); }
CUresult cuMemFreeHost(void *p) { MOCK_ENTER MOCK_LEAVE(give(NULL, (CUdeviceptr)p)); }
CUresult cuMemGetInfo(size_t *left, size_t *total) {
	MOCK_ENTER
	*left = mock_current->memory - mock_current->used;
	*total = mock_current->memory;
	MOCK_LEAVE(CUDA_SUCCESS);
}

// Modules: the text, which is looked into only for the names, targets and arguments of its kernels.

struct module {
	struct module *next;
	char *ptx;
	struct mock_function *functions;
	struct mock_device *device;
};
static struct module *modules;

CUresult cuModuleLoadDataEx(CUmodule *m, const void *ptx, unsigned options, CUjit_option *option, void **value) {
	MOCK_ENTER
	const char *target = strstr(ptx, ".target sm_");
	for (unsigned i = 0; !target && i + 1 < options; i++)
		if (option[i] == CU_JIT_ERROR_LOG_BUFFER) snprintf(value[i], (size_t)value[i + 1], "mock: the text has no .target");
	if (!target) MOCK_LEAVE(CUDA_ERROR_INVALID_PTX);
	if (atoi(target + strlen(".target sm_")) > 10 * mock_current->major + mock_current->minor) MOCK_LEAVE(CUDA_ERROR_NO_BINARY_FOR_GPU);
	struct module *new = malloc(sizeof *new);
	*new = (struct module){modules, strdup(ptx), NULL, mock_current};
	modules = new;
	*m = (CUmodule)new;
	mock_count("modules", 1);
	MOCK_LEAVE(CUDA_SUCCESS);
}

static void unload(struct module **m) {
	struct module *gone = *m;
	*m = gone->next;
	for (struct mock_function *f = gone->functions, *next; f; f = next) {
		next = f->next;
		free(f->name);
		free(f);
	}
	free(gone->ptx);
	free(gone);
	mock_count("modules", -1);
}

CUresult cuModuleUnload(CUmodule m) {
	MOCK_ENTER
	for (struct module **at = &modules; *at; at = &(*at)->next)
		if (*at == (struct module *)m) {
			unload(at);
			MOCK_LEAVE(CUDA_SUCCESS);
		}
	MOCK_LEAVE(CUDA_ERROR_INVALID_HANDLE);
}

CUresult cuModuleGetFunction(CUfunction *f, CUmodule module, const char *name) {
	MOCK_ENTER
	struct module *m = (struct module *)module;
	char entry[256];
	snprintf(entry, sizeof entry, ".entry %s(", name);
	const char *at = strstr(m->ptx, entry);
	if (!at) MOCK_LEAVE(CUDA_ERROR_NOT_FOUND);
	struct mock_function *new = malloc(sizeof *new);
	*new = (struct mock_function){m->functions, strdup(name), m->ptx, strtoull(strchr(at, '[') + 1, NULL, 10), 48 << 10, m->device};
	m->functions = new;
	*f = (CUfunction)new;
	MOCK_LEAVE(CUDA_SUCCESS);
}

CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute attribute, int value) {
	MOCK_ENTER
	if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value > 227 << 10) MOCK_LEAVE(CUDA_ERROR_INVALID_VALUE);
	((struct mock_function *)f)->shared = value;
	MOCK_LEAVE(CUDA_SUCCESS);
}

static void free_all(struct mock_device *d) {
	for (struct block **b = &blocks; *b;)
		if ((*b)->device == d) drop(b);
		else b = &(*b)->next;
	for (struct module **m = &modules; *m;)
		if ((*m)->device == d) unload(m);
		else m = &(*m)->next;
}

// Kernels.

static CUresult (*kernels)(struct mock_launch *);
void mock_run_kernels_with(CUresult (*run)(struct mock_launch *)) { kernels = run; }

CUresult mock_run(struct mock_function *f, const unsigned grid[3], unsigned block, unsigned shared, const void *arguments) {
	if (!kernels) return CUDA_ERROR_NOT_SUPPORTED;
	size_t n = 0;
	for (struct block *b = blocks; b; b = b->next) n++;
	struct mock_extent *memory = malloc((n + 1) * sizeof *memory);
	n = 0;
	for (struct block *b = blocks; b; b = b->next)
		if (b->device == f->device || b->device && f->device->reaches[b->device->number]) memory[n++] = b->extent;
	struct mock_launch launch = {
		f->ptx, f->name, {grid[0], grid[1], grid[2]}, block, shared, arguments, f->argument_bytes, memory, n, mock_random(UINT64_MAX),
	};
	CUresult result = kernels(&launch);
	return free(memory), result;
}
