// Streams and events of the mock driver. Work waits in its stream's queue until somebody synchronizes, and runs now and then when it is
// enqueued; which stream goes next is drawn at random among those that may.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mock.h"

// One record of an event. Kept by the event while it is the last, by the work that will make it happen, and by what waits for it.
struct record {
	int kept;
	bool happened;
	double at; // milliseconds of virtual time
};

struct event {
	struct event *next;
	struct mock_device *device;
	struct record *last;
};
static struct event *events;

enum kind { COPY, FILL, LAUNCH, RECORD, WAIT };

struct work {
	struct work *next;
	enum kind kind;
	struct record *record;       // RECORD and WAIT
	CUdeviceptr to, from;        // COPY and FILL
	struct mock_device *in, *of; // whose memory; NULL for pinned memory of the host
	size_t bytes;
	unsigned word; // FILL
	struct mock_function *function;
	unsigned grid[3], block, shared;
	void *arguments; // a copy
};

struct stream {
	struct stream *next;
	struct mock_device *device;
	struct work *first, **last;
	unsigned long enqueued, done;
	double now;
	bool destroyed;
};
static struct stream *streams;

static struct record *keep(struct record *r) {
	if (r) r->kept++;
	return r;
}
static void let_go(struct record *r) {
	if (r && !--r->kept) free(r);
}

static void finish(struct stream *s) {
	struct work *w = s->first;
	s->first = w->next;
	if (!s->first) s->last = &s->first;
	s->done++;
	let_go(w->record);
	free(w->arguments);
	free(w);
}

// Forgets destroyed streams that have no work left.
static void sweep(void) {
	for (struct stream **at = &streams; *at;) {
		struct stream *s = *at;
		if (s->destroyed && !s->first) {
			*at = s->next;
			free(s);
		} else at = &s->next;
	}
}

void mock_drop_work(struct mock_device *d) {
	for (struct stream *s = streams; s; s = s->next)
		while (s->device == d && s->first) finish(s);
}

static void drop_event(struct event **at) {
	struct event *gone = *at;
	*at = gone->next;
	let_go(gone->last);
	free(gone);
	mock_count("events", -1);
}

void mock_drop_context(struct mock_device *d) {
	mock_drop_work(d);
	for (struct event **at = &events; *at;)
		if ((*at)->device == d) drop_event(at);
		else at = &(*at)->next;
	for (struct stream *s = streams; s; s = s->next)
		if (s->device == d && !s->destroyed) s->destroyed = true, mock_count("streams", -1);
	sweep();
}

static bool ready(struct stream *s) { return s->first && (s->first->kind != WAIT || s->first->record->happened); }

static bool there(struct mock_device *d, CUdeviceptr p, size_t bytes) {
	return d ? mock_holds(d, p, bytes) : mock_pinned((void *)p, bytes);
}

static CUresult run(struct stream *s, struct work *w) {
	if (mock_countdown("ecc")) return CUDA_ERROR_ECC_UNCORRECTABLE;
	switch (w->kind) {
	case COPY:
		if (!there(w->in, w->to, w->bytes) || !there(w->of, w->from, w->bytes)) return CUDA_ERROR_ILLEGAL_ADDRESS;
		memmove((void *)w->to, (void *)w->from, w->bytes);
		s->now += 1e-3 + w->bytes / 5e7;
		break;
	case FILL:
		if (!there(w->in, w->to, w->bytes)) return CUDA_ERROR_ILLEGAL_ADDRESS;
		for (size_t i = 0; i < w->bytes / 4; i++) ((unsigned *)w->to)[i] = w->word;
		s->now += 1e-3;
		break;
	case LAUNCH:
		s->now += 2e-3 + 1e-4 * w->grid[0] * w->grid[1] * w->grid[2];
		if (mock_countdown("launch")) return CUDA_ERROR_LAUNCH_FAILED;
		return mock_run(w->function, w->grid, w->block, w->shared, w->arguments);
	case WAIT:
		if (s->now < w->record->at) s->now = w->record->at;
		break;
	case RECORD:
		w->record->happened = true;
		w->record->at = s->now;
	}
	return CUDA_SUCCESS;
}

// Runs the first work of a stream that is ready. A failure ends the device.
static void step(struct stream *s) {
	CUresult failure = run(s, s->first);
	finish(s);
	if (failure) {
		s->device->lost = failure;
		mock_drop_work(s->device);
	}
}

static struct stream *any_ready(void) {
	uint64_t n = 0;
	struct stream *chosen = NULL;
	for (struct stream *s = streams; s; s = s->next)
		if (ready(s) && !mock_random(++n)) chosen = s;
	return chosen;
}

// The stream whose work a stream needs next: itself, or the one that makes the record happen that it waits for.
static struct stream *needed(struct stream *s) {
	while (s && s->first && !ready(s)) {
		struct record *r = s->first->record;
		struct stream *maker = streams;
		for (; maker; maker = maker->next) {
			struct work *w = maker->first;
			while (w && !(w->kind == RECORD && w->record == r)) w = w->next;
			if (w) break;
		}
		s = maker;
	}
	return s && s->first ? s : NULL;
}

// Runs work until a stream has done so much. One wait in two runs nothing but what it needs, so that all else is as late as it may be.
static CUresult until(struct stream *s, unsigned long done) {
	bool lazy = mock_random(2);
	while (s->done < done) {
		struct stream *next = lazy ? needed(s) : any_ready();
		if (!next) {
			fprintf(stderr, "mock: a stream of device %d waits for an event that cannot happen any more\n", s->device->number);
			return CUDA_ERROR_LAUNCH_TIMEOUT;
		}
		step(next);
	}
	CUresult lost = s->device->lost;
	return sweep(), lost;
}

static CUresult enqueue(CUstream stream, struct work w) {
	struct stream *s = (struct stream *)stream;
	struct work *copy = malloc(sizeof *copy);
	*copy = w;
	copy->next = NULL;
	*s->last = copy;
	s->last = &copy->next;
	s->enqueued++;
	if (!mock_random(4))
		for (uint64_t n = 1 + mock_random(4); n; n--) {
			struct stream *next = any_ready();
			if (next) step(next);
		}
	return CUDA_SUCCESS;
}

CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
	MOCK_ENTER
	if (flags != CU_STREAM_NON_BLOCKING) MOCK_LEAVE(CUDA_ERROR_NOT_SUPPORTED);
	struct stream *s = calloc(1, sizeof *s);
	*s = (struct stream){.next = streams, .device = mock_current, .last = &s->first};
	streams = s;
	*stream = (CUstream)s;
	mock_count("streams", 1);
	MOCK_LEAVE(CUDA_SUCCESS);
}

CUresult cuStreamDestroy(CUstream stream) {
	MOCK_ENTER
	((struct stream *)stream)->destroyed = true;
	mock_count("streams", -1);
	sweep();
	MOCK_LEAVE(CUDA_SUCCESS);
}

CUresult cuStreamSynchronize(CUstream stream) {
	MOCK_ENTER
	struct stream *s = (struct stream *)stream;
	MOCK_LEAVE(until(s, s->enqueued));
}

CUresult cuCtxSynchronize(void) {
	MOCK_ENTER
	for (struct stream *s = streams; s && !result; s = s->next)
		while (s->device == mock_current && s->first && !result) {
			struct stream *next = needed(s);
			if (!next) MOCK_LEAVE(CUDA_ERROR_LAUNCH_TIMEOUT);
			step(next);
			result = mock_current->lost;
		}
	sweep();
	MOCK_LEAVE(result);
}

// Copies and fills. What the driver can check at once it checks at once; the rest when the work runs.

static CUresult move(CUstream stream, struct work w) {
	if (!there(w.in, w.to, w.bytes) || w.kind == COPY && !there(w.of, w.from, w.bytes)) return CUDA_ERROR_INVALID_VALUE;
	return enqueue(stream, w);
}

CUresult cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream s) {
	MOCK_ENTER MOCK_LEAVE(move(s, (struct work){.kind = COPY, .to = to, .in = mock_current, .from = (CUdeviceptr)from, .bytes = bytes}));
}
CUresult cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream s) {
	MOCK_ENTER MOCK_LEAVE(move(s, (struct work){.kind = COPY, .to = (CUdeviceptr)to, .from = from, .of = mock_current, .bytes = bytes}));
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream s) {
	MOCK_ENTER
	MOCK_LEAVE(move(s, (struct work){.kind = COPY, .to = to, .in = mock_current, .from = from, .of = mock_current, .bytes = bytes}));
}
CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext in, CUdeviceptr from, CUcontext of, size_t bytes, CUstream s) {
	MOCK_ENTER
	struct mock_device *here = (struct mock_device *)in, *peer = (struct mock_device *)of;
	MOCK_LEAVE(move(s, (struct work){.kind = COPY, .to = to, .in = here, .from = from, .of = peer, .bytes = bytes}));
}
CUresult cuMemsetD32Async(CUdeviceptr to, unsigned word, size_t n, CUstream s) {
	MOCK_ENTER MOCK_LEAVE(move(s, (struct work){.kind = FILL, .to = to, .in = mock_current, .bytes = 4 * n, .word = word}));
}

CUresult cuLaunchKernel(CUfunction function, unsigned x, unsigned y, unsigned z, unsigned block, unsigned block_y, unsigned block_z,
	unsigned shared, CUstream s, void **parameters, void **extra) {
	MOCK_ENTER
	struct mock_function *f = (struct mock_function *)function;
	if (extra || !parameters || block_y != 1 || block_z != 1) MOCK_LEAVE(CUDA_ERROR_NOT_SUPPORTED);
	if (f->device != mock_current || ((struct stream *)s)->device != mock_current) MOCK_LEAVE(CUDA_ERROR_INVALID_HANDLE);
	if (!x || !y || !z || !block || block > 1024 || (int)shared > f->shared) MOCK_LEAVE(CUDA_ERROR_INVALID_VALUE);
	void *arguments = malloc(f->argument_bytes);
	memcpy(arguments, parameters[0], f->argument_bytes);
	struct work w = {.kind = LAUNCH, .function = f, .grid = {x, y, z}, .block = block, .shared = shared, .arguments = arguments};
	MOCK_LEAVE(enqueue(s, w));
}

// Events.

CUresult cuEventCreate(CUevent *event, unsigned flags) {
	MOCK_ENTER
	(void)flags;
	struct event *e = calloc(1, sizeof *e);
	*e = (struct event){.next = events, .device = mock_current};
	events = e;
	*event = (CUevent)e;
	mock_count("events", 1);
	MOCK_LEAVE(CUDA_SUCCESS);
}

CUresult cuEventDestroy(CUevent event) {
	MOCK_ENTER
	for (struct event **at = &events; *at; at = &(*at)->next)
		if (*at == (struct event *)event) {
			drop_event(at);
			MOCK_LEAVE(CUDA_SUCCESS);
		}
	MOCK_LEAVE(CUDA_ERROR_INVALID_HANDLE);
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
	MOCK_ENTER
	struct event *e = (struct event *)event;
	if (e->device != ((struct stream *)stream)->device) MOCK_LEAVE(CUDA_ERROR_INVALID_HANDLE);
	let_go(e->last);
	e->last = calloc(1, sizeof *e->last);
	keep(e->last);
	MOCK_LEAVE(enqueue(stream, (struct work){.kind = RECORD, .record = keep(e->last)}));
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
	MOCK_ENTER
	struct event *e = (struct event *)event;
	if (flags) MOCK_LEAVE(CUDA_ERROR_INVALID_VALUE);
	MOCK_LEAVE(e->last ? enqueue(stream, (struct work){.kind = WAIT, .record = keep(e->last)}) : CUDA_SUCCESS);
}

CUresult cuEventSynchronize(CUevent event) {
	MOCK_ENTER
	struct record *r = keep(((struct event *)event)->last);
	while (r && !r->happened && !result) {
		struct stream wanting = {.first = &(struct work){.kind = WAIT, .record = r}, .device = mock_current};
		struct stream *next = mock_random(2) ? needed(&wanting) : any_ready();
		if (next) step(next);
		result = next ? mock_current->lost : CUDA_ERROR_LAUNCH_TIMEOUT;
	}
	let_go(r);
	MOCK_LEAVE(result);
}

CUresult cuEventElapsedTime(float *milliseconds, CUevent from, CUevent to) {
	MOCK_ENTER
	struct record *begin = ((struct event *)from)->last, *end = ((struct event *)to)->last;
	if (!begin || !end) MOCK_LEAVE(CUDA_ERROR_INVALID_HANDLE);
	if (!begin->happened || !end->happened) MOCK_LEAVE(CUDA_ERROR_NOT_READY);
	*milliseconds = end->at - begin->at;
	MOCK_LEAVE(CUDA_SUCCESS);
}
