// A stand-in for libcuda.so.1 and libnccl.so.2 in one library: devices are host memory, ranks are threads of one process. Work on
// streams is done a step at a time, in a random legal order, when somebody asks how far it is.
#ifndef RINGGRAD_NCCL_STUB_H
#define RINGGRAD_NCCL_STUB_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi.h"

enum { DEVICES = 8 };

struct device {
	int number, held; // how often the primary context was taken
};

// Work of a stream. A message stands in two streams, and is moved when it is at the head of both.
struct work {
	struct work *next;
	enum { COPY, RECORD, SEND, RECEIVE } kind;
	void *to;
	const void *from;
	size_t bytes;
	struct record *record;
	struct ncclComm *comm;
	bool begun; // NCCL has put it in the stream
	bool hangs;
};

// What an event stands for: the last cuEventRecord.
struct record {
	int holders;
	bool happened;
};

struct CUevent_st {
	struct CUevent_st *next;
	struct record *last;
};

struct CUstream_st {
	struct CUstream_st *next;
	struct device *device;
	struct work *first, **end;
};

extern pthread_mutex_t stub_lock;
extern _Thread_local struct device *stub_current;
extern struct CUstream_st *stub_streams;

uint64_t stub_random(uint64_t below);
void stub_count(const char *what, int change);
// stub_fails tells whether a call, on this thread's device, is the one that is to fail.
bool stub_fails(const char *what);
// stub_wrong notes what a real library would punish.
void stub_wrong(const char *what, ...) __attribute__((format(printf, 1, 2)));

// stub_device_memory turns an address of a device into one of the host; NULL if not all of the bytes are on that device.
void *stub_device_memory(CUdeviceptr p, size_t bytes, const struct device *d);
struct work *stub_enqueue(struct CUstream_st *s, struct work w);
void stub_finish(struct CUstream_st *s); // removes the first work of a stream
void stub_remove(const struct ncclComm *comm);
bool stub_message_ready(struct work *w); // defined by nccl.c
void stub_message_move(struct CUstream_st *s);

#define ENTER pthread_mutex_lock(&stub_lock);
#define LEAVE(result) \
	do { \
		__typeof__(result) result_ = (result); \
		pthread_mutex_unlock(&stub_lock); \
		return result_; \
	} while (0)

#endif
