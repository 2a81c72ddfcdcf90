// The driver's side: devices, memory, streams and events.
#include <stdarg.h>

#include "stub.h"

pthread_mutex_t stub_lock = PTHREAD_MUTEX_INITIALIZER;
_Thread_local struct device *stub_current;
static struct device devices[DEVICES];

// What tests ask for and set.

static uint64_t state;
uint64_t stub_random(uint64_t below) { // splitmix64
	uint64_t z = state += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return (z ^ z >> 31) % below;
}

static const char *const names[] = {"contexts", "memory", "pinned", "streams", "events", "communicators", "messages", "work",
                                    "alloc", "unique", "init", "send", "receive", "async", "hang"};
enum { NAMES = sizeof names / sizeof *names };
static long live[NAMES];
static struct { int device, left; } failing[NAMES];

static int named(const char *what) {
	for (int i = 0; i < NAMES; i++)
		if (!strcmp(names[i], what)) return i;
	fprintf(stderr, "stub: nothing is called %s\n", what);
	abort();
}

void stub_count(const char *what, int change) { live[named(what)] += change; }
bool stub_fails(const char *what) {
	int i = named(what);
	return stub_current && failing[i].device == stub_current->number && failing[i].left && !--failing[i].left;
}

static char wrongs[4096];
void stub_wrong(const char *what, ...) {
	size_t used = strlen(wrongs);
	va_list values;
	va_start(values, what);
	vsnprintf(wrongs + used, sizeof wrongs - used, what, values);
	va_end(values);
	strncat(wrongs, "\n", sizeof wrongs - strlen(wrongs) - 1);
}

long stub_live(const char *what) { ENTER LEAVE(live[named(what)]); }
void stub_fail(const char *what, int device, int n) {
	ENTER
	failing[named(what)].device = device;
	failing[named(what)].left = n;
	pthread_mutex_unlock(&stub_lock);
}
// stub_reset forgets failures, draws the order of streams from a seed, and gives what was wrong so far.
void stub_reset(uint64_t seed, char *wrong, size_t bytes) {
	ENTER
	state = seed;
	memset(failing, 0, sizeof failing);
	snprintf(wrong, bytes, "%s", wrongs);
	*wrongs = 0;
	pthread_mutex_unlock(&stub_lock);
}

// Devices and contexts.

CUresult cuInit(unsigned flags) { return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *count) { return *count = DEVICES, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *d, int ordinal) { return *d = ordinal, ordinal < 0 || ordinal >= DEVICES ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS; }
CUresult cuDeviceGetUuid(CUuuid *uuid, CUdevice d) {
	memset(uuid, 0xa0 + d, sizeof *uuid);
	return CUDA_SUCCESS;
}
CUresult cuGetErrorName(CUresult error, const char **name) {
	*name = error == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : NULL;
	return *name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) {
	ENTER
	devices[d].number = d;
	devices[d].held++;
	stub_count("contexts", 1);
	*c = (CUcontext)&devices[d];
	LEAVE(CUDA_SUCCESS);
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice d) {
	ENTER
	if (!devices[d].held--) stub_wrong("a context is given back that nobody has");
	stub_count("contexts", -1);
	LEAVE(CUDA_SUCCESS);
}
CUresult cuCtxSetCurrent(CUcontext c) { return stub_current = (struct device *)c, CUDA_SUCCESS; }

static bool lost(const char *call) {
	if (stub_current && stub_current->held) return false;
	stub_wrong("%s in a thread without a context", call);
	return true;
}

// Memory. Addresses of devices are none of the host.

static const CUdeviceptr OFFSET = 1ull << 60;
struct block {
	struct block *next;
	char *memory;
	size_t bytes;
	struct device *device; // NULL for page-locked memory
};
static struct block *blocks;

static char *take(size_t bytes, struct device *d) {
	struct block *b = malloc(sizeof *b);
	*b = (struct block){blocks, malloc(bytes), bytes, d};
	memset(b->memory, 0xff, bytes);
	blocks = b;
	stub_count(d ? "memory" : "pinned", 1);
	return b->memory;
}

static CUresult give(char *memory, bool device) {
	for (struct block **b = &blocks; *b; b = &(*b)->next)
		if ((*b)->memory == memory && !(*b)->device == !device) {
			struct block *gone = *b;
			*b = gone->next;
			stub_count(device ? "memory" : "pinned", -1);
			free(gone->memory), free(gone);
			return CUDA_SUCCESS;
		}
	stub_wrong("memory is given back that was not taken");
	return CUDA_ERROR_INVALID_VALUE;
}

static void *inside(char *p, size_t bytes, const struct device *d) {
	for (struct block *b = blocks; b; b = b->next)
		if (b->device == d && p >= b->memory && p + bytes <= b->memory + b->bytes) return p;
	stub_wrong("%zu bytes are not in memory of %s", bytes, d ? "the device" : "the host that is page-locked");
	return NULL;
}
void *stub_device_memory(CUdeviceptr p, size_t bytes, const struct device *d) { return inside((char *)(p - OFFSET), bytes, d); }

CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t bytes) {
	ENTER
	if (lost(__func__)) LEAVE(CUDA_ERROR_INVALID_CONTEXT);
	if (stub_fails("alloc")) LEAVE(CUDA_ERROR_OUT_OF_MEMORY);
	*p = (CUdeviceptr)take(bytes, stub_current) + OFFSET;
	LEAVE(CUDA_SUCCESS);
}
CUresult cuMemFree_v2(CUdeviceptr p) { ENTER LEAVE(lost(__func__) ? CUDA_ERROR_INVALID_CONTEXT : give((char *)(p - OFFSET), true)); }
CUresult cuMemHostAlloc(void **p, size_t bytes, unsigned flags) {
	ENTER
	if (lost(__func__) || flags != CU_MEMHOSTALLOC_PORTABLE) LEAVE(CUDA_ERROR_INVALID_VALUE);
	*p = take(bytes, NULL);
	LEAVE(CUDA_SUCCESS);
}
CUresult cuMemFreeHost(void *p) { ENTER LEAVE(lost(__func__) ? CUDA_ERROR_INVALID_CONTEXT : give(p, false)); }

// Streams and events.

struct CUstream_st *stub_streams;

CUresult cuStreamCreate(CUstream *s, unsigned flags) {
	ENTER
	if (lost(__func__) || flags != CU_STREAM_NON_BLOCKING) LEAVE(CUDA_ERROR_INVALID_VALUE);
	struct CUstream_st *new = calloc(1, sizeof *new);
	new->next = stub_streams;
	new->device = stub_current;
	new->end = &new->first;
	*s = stub_streams = new;
	stub_count("streams", 1);
	LEAVE(CUDA_SUCCESS);
}
CUresult cuStreamDestroy_v2(CUstream s) {
	ENTER
	for (struct CUstream_st **at = &stub_streams; *at; at = &(*at)->next)
		if (*at == s) {
			if (s->first) stub_wrong("a stream is destroyed that has work to do");
			*at = s->next;
			free(s);
			stub_count("streams", -1);
			LEAVE(CUDA_SUCCESS);
		}
	stub_wrong("a stream is destroyed that does not exist");
	LEAVE(CUDA_ERROR_INVALID_HANDLE);
}

static void let_go(struct record *r) {
	if (r && !--r->holders) free(r);
}

struct work *stub_enqueue(struct CUstream_st *s, struct work w) {
	if (s->device != stub_current) stub_wrong("work for device %d from a thread that has another one", s->device->number);
	for (struct work *other = s->first; other; other = other->next)
		if (!other->begun) stub_wrong("work is put into a stream before the message ahead of it has begun");
	struct work *new = malloc(sizeof *new);
	*new = w;
	*s->end = new;
	s->end = &new->next;
	stub_count("work", 1);
	return new;
}

static void unlink_work(struct CUstream_st *s, struct work **at) {
	struct work *gone = *at;
	if (!(*at = gone->next)) s->end = at;
	let_go(gone->record);
	free(gone);
	stub_count("work", -1);
}
void stub_finish(struct CUstream_st *s) { unlink_work(s, &s->first); }
void stub_remove(const struct ncclComm *comm) {
	for (struct CUstream_st *s = stub_streams; s; s = s->next)
		for (struct work **at = &s->first; *at;)
			if ((*at)->comm == comm)
				unlink_work(s, at);
			else
				at = &(*at)->next;
}

static bool ready(struct work *w) {
	if (!w || !w->begun || w->hangs) return false;
	return w->kind < SEND || stub_message_ready(w);
}

// progress does one piece of work of a random stream.
static void progress(void) {
	int n = 0;
	struct CUstream_st *chosen = NULL;
	for (struct CUstream_st *s = stub_streams; s; s = s->next)
		if (ready(s->first) && !stub_random(++n)) chosen = s;
	if (!chosen) return;
	struct work *w = chosen->first;
	switch (w->kind) {
	case COPY: memcpy(w->to, w->from, w->bytes); break;
	case RECORD: w->record->happened = true; break;
	default: stub_message_move(chosen); return;
	}
	stub_finish(chosen);
}

static CUresult copy(CUstream s, void *to, const void *from, size_t bytes) {
	if (!to || !from) return CUDA_ERROR_INVALID_VALUE;
	stub_enqueue(s, (struct work){.kind = COPY, .to = to, .from = from, .bytes = bytes, .begun = true});
	return CUDA_SUCCESS;
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream s) {
	ENTER LEAVE(copy(s, stub_device_memory(to, bytes, s->device), inside((char *)from, bytes, NULL), bytes));
}
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream s) {
	ENTER LEAVE(copy(s, inside(to, bytes, NULL), stub_device_memory(from, bytes, s->device), bytes));
}
CUresult cuStreamQuery(CUstream s) {
	ENTER
	progress();
	LEAVE(s->first ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS);
}

CUresult cuEventCreate(CUevent *e, unsigned flags) {
	ENTER
	if (lost(__func__) || flags != CU_EVENT_DISABLE_TIMING) LEAVE(CUDA_ERROR_INVALID_VALUE);
	*e = calloc(1, sizeof **e);
	stub_count("events", 1);
	LEAVE(CUDA_SUCCESS);
}
CUresult cuEventRecord(CUevent e, CUstream s) {
	ENTER
	let_go(e->last);
	e->last = calloc(1, sizeof *e->last);
	e->last->holders = 2;
	stub_enqueue(s, (struct work){.kind = RECORD, .record = e->last, .begun = true});
	LEAVE(CUDA_SUCCESS);
}
CUresult cuEventQuery(CUevent e) {
	ENTER
	progress();
	LEAVE(e->last && !e->last->happened ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS);
}
CUresult cuEventDestroy_v2(CUevent e) {
	ENTER
	let_go(e->last);
	free(e);
	stub_count("events", -1);
	LEAVE(CUDA_SUCCESS);
}
