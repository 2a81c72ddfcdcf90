// NCCL's side: communicators of two ranks that do not block.
#include "stub.h"

struct ncclComm {
	struct ncclComm *next;
	uint64_t id;
	int rank, polls; // until it is ready
	bool aborted;
	struct device *device;
	struct ncclComm *other;
	ncclResult_t error;
	struct work *starting; // a message that a poll puts into the stream
};
static struct ncclComm *comms; // never freed, so that a use after the abort is seen

ncclResult_t ncclGetVersion(int *version) { return *version = 22005, ncclSuccess; }
const char *ncclGetErrorString(ncclResult_t r) {
	switch (r) {
	case ncclUnhandledCudaError: return "unhandled cuda error";
	case ncclSystemError: return "unhandled system error";
	case ncclInvalidArgument: return "invalid argument";
	case ncclInvalidUsage: return "invalid usage";
	case ncclRemoteError: return "remote process exited or there was a network error";
	}
	return "unknown result code";
}
const char *ncclGetLastError(ncclComm_t comm) { return comm && comm->error ? "the stub was told to fail" : ""; }

// An id is its number, and 120 bytes that follow from it.
static ncclUniqueId written(uint64_t number) {
	ncclUniqueId id;
	memcpy(id.internal, &number, sizeof number);
	for (int i = sizeof number; i < NCCL_UNIQUE_ID_BYTES; i++) id.internal[i] = (char)(number * 31 + i * 7);
	return id;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
	static uint64_t numbers = 1000;
	ENTER
	if (stub_fails("unique")) LEAVE(ncclSystemError);
	*id = written(++numbers);
	LEAVE(ncclSuccess);
}

static void check_config(const ncclConfig_t *c) {
	if (c->size != 40 || c->magic != NCCL_API_MAGIC || c->version != 21700) stub_wrong("a configuration that is not of 2.17");
	if (c->blocking != 0) stub_wrong("a communicator that blocks");
	if (c->cgaClusterSize != INT_MIN || c->minCTAs != INT_MIN || c->maxCTAs != INT_MIN || c->netName) stub_wrong("a configuration with rubbish in it");
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t *config) {
	ENTER
	*comm = NULL;
	uint64_t number;
	memcpy(&number, id.internal, sizeof number);
	ncclUniqueId want = written(number);
	if (memcmp(&want, &id, sizeof id)) stub_wrong("a unique id was changed on its way");
	if (!stub_current) stub_wrong("a communicator is made in a thread without a device");
	if (ranks != 2 || rank < 0 || rank > 1) stub_wrong("rank %d of %d", rank, ranks);
	check_config(config);
	if (stub_fails("init")) LEAVE(ncclSystemError);
	struct ncclComm *new = calloc(1, sizeof *new);
	*new = (struct ncclComm){.next = comms, .id = number, .rank = rank, .polls = 1 + stub_random(4), .device = stub_current};
	for (struct ncclComm *c = comms; c; c = c->next)
		if (c->id == number) {
			if (c->rank == rank || c->other) stub_wrong("a unique id is used again");
			new->other = c, c->other = new;
			if (c->device == new->device) c->error = new->error = ncclInvalidUsage;
		}
	*comm = comms = new;
	stub_count("communicators", 1);
	LEAVE(ncclInProgress);
}

static bool usable(struct ncclComm *comm, const char *call) {
	if (comm && !comm->aborted && comm->device == stub_current) return true;
	stub_wrong("%s %s", call, !comm ? "without a communicator" : comm->aborted ? "on a communicator that was aborted" : "in a thread with another device");
	return false;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *error) {
	ENTER
	if (!usable(comm, __func__)) LEAVE(ncclInvalidArgument);
	if (stub_fails("async")) comm->error = ncclRemoteError;
	if (comm->other && comm->polls) comm->polls--;
	if (comm->starting && !stub_random(2)) {
		comm->starting->begun = true;
		comm->starting = NULL;
	}
	*error = comm->error ? comm->error : comm->polls || comm->starting ? ncclInProgress : ncclSuccess;
	LEAVE(ncclSuccess);
}

// An abort ends the own kernels only: the peer waits for ever, until it aborts too.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
	ENTER
	if (!usable(comm, __func__)) LEAVE(ncclInvalidArgument);
	comm->aborted = true;
	stub_remove(comm);
	stub_count("communicators", -1);
	LEAVE(ncclSuccess);
}

static ncclResult_t message(struct work w, int peer, ncclDataType_t type, CUstream s, const char *call) {
	struct ncclComm *comm = w.comm;
	if (!usable(comm, call)) return ncclInvalidArgument;
	if (comm->polls || comm->starting || !comm->other) stub_wrong("%s before the call ahead of it was done", call);
	if (type != ncclUint8 || peer != 1 - comm->rank || !w.bytes) return ncclInvalidArgument;
	if (!(w.kind == SEND ? w.from : w.to)) return ncclUnhandledCudaError;
	if (stub_fails(w.kind == SEND ? "send" : "receive")) return comm->error = ncclUnhandledCudaError;
	w.hangs = stub_fails("hang");
	w.begun = !stub_random(2);
	struct work *put = stub_enqueue(s, w);
	if (w.begun) return ncclSuccess;
	comm->starting = put;
	return ncclInProgress;
}
ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, CUstream s) {
	ENTER
	void *memory = stub_device_memory((CUdeviceptr)from, count, s->device);
	LEAVE(message((struct work){.kind = SEND, .from = memory, .bytes = count, .comm = comm}, peer, type, s, __func__));
}
ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, CUstream s) {
	ENTER
	void *memory = stub_device_memory((CUdeviceptr)to, count, s->device);
	LEAVE(message((struct work){.kind = RECEIVE, .to = memory, .bytes = count, .comm = comm}, peer, type, s, __func__));
}

// The stream in which the other half of a message has come to the head.
static struct CUstream_st *half(const struct work *w) {
	for (struct CUstream_st *s = stub_streams; s; s = s->next)
		if (s->first && s->first->begun && !s->first->hangs && s->first->comm && s->first->comm == w->comm->other && s->first->kind != w->kind) return s;
	return NULL;
}
bool stub_message_ready(struct work *w) { return half(w); }

void stub_message_move(struct CUstream_st *s) {
	struct CUstream_st *there = half(s->first);
	struct work *send = s->first->kind == SEND ? s->first : there->first, *receive = send == s->first ? there->first : s->first;
	if (send->bytes != receive->bytes) stub_wrong("%zu bytes meet a receive of %zu", send->bytes, receive->bytes);
	memcpy(receive->to, send->from, send->bytes < receive->bytes ? send->bytes : receive->bytes);
	stub_count("messages", 1);
	stub_finish(s);
	stub_finish(there);
}
