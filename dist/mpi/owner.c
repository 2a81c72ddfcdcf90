//go:build mpi && cgo

#define _GNU_SOURCE // syscall

#include "inner.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined RG_OPEN_MPI && !defined OPEN_MPI
#error "the tag mpi is for Open MPI, but pkg-config ompi gives another mpi.h; for MPICH build with -tags mpi,mpich"
#endif
#if defined RG_MPICH && !defined MPICH_VERSION
#error "the tags mpi,mpich are for MPICH, but pkg-config mpich gives another mpi.h"
#endif

static rg_order *leaving; // RG_LEAVE and RG_FINALIZE that wait for messages to end
static int initialised, finished;

double rg_seconds(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

void *rg_grow(void *p, size_t n, size_t size) {
	if (!(p = realloc(p, n * size)))
		abort();
	return p;
}

void rg_fail(rg_order *o, int code) {
	if (code == MPI_SUCCESS || o->outcome != RG_OK)
		return;
	int length = 0;
	char text[MPI_MAX_ERROR_STRING + 1] = "";
	MPI_Error_class(code, &o->class);
	MPI_Error_string(code, text, &length);
	o->text = strdup(text);
	o->outcome = RG_FAILED;
	if (o->kind != RG_SEND && o->kind != RG_RECEIVE)
		return;
	if (o->class == MPI_ERR_OTHER) // MPICH's class of a broken connection
		o->outcome = RG_LOST;
#ifdef MPIX_ERR_PROC_FAILED
	if (o->class == MPIX_ERR_PROC_FAILED || o->class == MPIX_ERR_REVOKED)
		o->outcome = RG_LOST;
#endif
}

// make_world splits once all are here, so that the blocking call is short.
static void make_world(rg_order *o) {
	MPI_Comm comm = MPI_COMM_NULL;
	MPI_Comm_rank(MPI_COMM_WORLD, &o->rank);
	int inside = o->rank < o->size;
	rg_fail(o, MPI_Comm_split(MPI_COMM_WORLD, inside ? 0 : MPI_UNDEFINED, o->rank, &comm));
	if (o->outcome != RG_OK || !inside) {
		o->rank = -1;
		return;
	}
	MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
	o->world = rg_open(comm);
}

// finalize comes after all have agreed to it. MPICH (4.0.2 over UCX and TCP) hangs in MPI_Finalize now and then, in plain C as well: one process
// waits for the answer of another that does not listen any more. A barrier and a rest before make that rare.
static void finalize(rg_order *o) {
	struct timespec rest = {.tv_nsec = 50000000};
	MPI_Barrier(MPI_COMM_WORLD);
	nanosleep(&rest, NULL);
	rg_fail(o, MPI_Finalize());
	o->last = finished = 1;
}

void rg_decided(rg_order *o) {
	if (o->outcome == RG_OK && (o->agreed[0] != o->size || o->agreed[1] != -o->size))
		o->outcome = RG_DISAGREE;
	if (o->outcome == RG_OK && o->kind == RG_WORLD)
		make_world(o);
	else if (o->outcome == RG_OK)
		finalize(o);
	rg_done(o);
}

// leave lets an RG_LEAVE or RG_FINALIZE wait until its messages have ended. World -1 is all worlds.
static void leave(rg_order *o) {
	rg_abandon(o->world);
	o->deadline = rg_seconds(CLOCK_MONOTONIC) + o->patience;
	o->next = leaving;
	leaving = o;
}

static void left(rg_order *o, int under_way) {
	if (o->kind == RG_FINALIZE && !under_way) {
		rg_agree(o);
		return;
	}
	if (o->kind == RG_FINALIZE) { // MPI_Finalize might never return
		o->outcome = RG_UNSENT;
		o->got = under_way;
	} else {
		rg_shut(o->world);
	}
	rg_done(o);
}

// leave_ended goes on with those that wait for nothing any more, or for too long.
static void leave_ended(void) {
	for (rg_order **at = &leaving; *at;) {
		rg_order *o = *at;
		int under_way = rg_under_way(o->world);
		if (under_way && rg_seconds(CLOCK_MONOTONIC) < o->deadline) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		left(o, under_way);
	}
}

// prepare_library sets what has a bad default, unless the user has set it. Open MPI's TCP moves a big message in one piece of up to 2 GiB, and what
// the other direction needs to start waits behind it: two processes that exchange blocks would do it one after the other.
static void prepare_library(void) {
#ifdef OPEN_MPI
	setenv("OMPI_MCA_btl_tcp_rdma_pipeline_frag_size", "262144", 0);
#endif
}

static void init(rg_order *o) {
	int provided = 0, found = 0, length = 0, *limit = NULL;
	char text[MPI_MAX_LIBRARY_VERSION_STRING + 1] = "";
	prepare_library();
	int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
	o->last = finished = code != MPI_SUCCESS;
	initialised = !finished;
	if (!finished) {
		MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
		MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
		MPI_Comm_rank(MPI_COMM_WORLD, &o->rank);
		MPI_Comm_size(MPI_COMM_WORLD, &o->size);
		MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &limit, &found);
		o->max_tag = found ? *limit : 32767;
		MPI_Get_library_version(text, &length);
		o->text = strdup(text);
	} else {
		rg_fail(o, code);
	}
	rg_done(o);
}

static void obey(rg_order *o) {
	switch (o->kind) {
	case RG_INIT:
		init(o);
		break;
	case RG_SEND:
		rg_send(o);
		break;
	case RG_RECEIVE:
		rg_receive(o);
		break;
	case RG_WORLD:
		rg_agree(o);
		break;
	case RG_LEAVE:
	case RG_FINALIZE:
		leave(o);
		break;
	case RG_ABORT:
		MPI_Abort(MPI_COMM_WORLD, o->size);
		rg_done(o);
	}
}

// ask_for_short_turns asks Linux (6.12 and later; others take no notice) to run this thread soon and for a short time each: it has microseconds of
// work every now and then, and the threads that compute take milliseconds. It needs no privilege.
static void ask_for_short_turns(void) {
#if defined __linux__ && defined SYS_sched_getattr
	struct { // struct sched_attr, which not every C library has
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period; // nanoseconds
	} a = {0};
	if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) == 0) {
		a.size = sizeof a;
		a.runtime = 100000;
		syscall(SYS_sched_setattr, 0, &a, 0);
	}
#endif
}

// How the owner waits between polls, in seconds. It polls without a break for `spin` after an order or a result. A poll that took the processor
// for longer than `moving` has moved bytes, although no message has ended. (The time of the thread counts, not that of the clock, since other
// threads may have run meanwhile.) If it took longer than `flood` the link is as fast as we are, and it polls at once. Otherwise the link is what takes
// time: bytes may gather in the sockets for `gather`, which leaves the processor to the ranks. Where nothing moves it sleeps for a share of the time
// for which that has been so: what comes is late by at most this share, and an idle owner costs little.
static const double spin = 100e-6, moving = 10e-6, flood = 100e-6, gather = 200e-6, share = 0.02, least = 50e-6, most = 1e-3;

// breathe lets MPI work and says whether an order or a message has ended, and how long it took the processor.
static int breathe(double *took) {
	double before = rg_seconds(CLOCK_THREAD_CPUTIME_ID);
	int ended = rg_match() + rg_test(), came;
	if (!ended && rg_requests() == 0) // bytes of messages that have ended for us may still have to leave
		MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &came, MPI_STATUS_IGNORE);
	leave_ended();
	*took = rg_seconds(CLOCK_THREAD_CPUTIME_ID) - before;
	return ended > 0;
}

void rg_run(void) {
	double acted = 0, moved = 0;
	long sleep = 1000000000;
	finished = 0;
	ask_for_short_turns();
	while (!finished) {
		rg_order *o = rg_take(sleep);
		int active = o != NULL;
		while (o) {
			rg_order *next = o->next;
			obey(o);
			o = next;
		}
		if (!initialised || finished)
			continue;
		double took;
		active |= breathe(&took);
		double now = rg_seconds(CLOCK_MONOTONIC), nap;
		if (active)
			acted = now;
		if (active || took > moving)
			moved = now;
		nap = share * (now - moved);
		nap = took > moving ? gather : nap < least ? least : nap > most ? most : nap;
		sleep = took > flood || now - acted < spin ? 0 : (long)(1e9 * nap);
		if (!sleep)
			sched_yield();
	}
}
