//go:build mpi && cgo

#include "owner.h"

#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined RG_OPEN_MPI && !defined OPEN_MPI
#error "the tag mpi is for Open MPI, but pkg-config ompi gives another mpi.h; for MPICH build with -tags mpi,mpich"
#endif
#if defined RG_MPICH && !defined MPICH_VERSION
#error "the tags mpi,mpich are for MPICH, but pkg-config mpich gives another mpi.h"
#endif

// Mailboxes between Go and the owner. The owner sleeps on given, Go on done.
typedef struct {
	pthread_mutex_t mutex;
	pthread_cond_t filled;
	rg_order *first, *last;
} mailbox;

static mailbox given, done;

static void open_mailbox(mailbox *m) {
	pthread_condattr_t by;
	pthread_condattr_init(&by);
	pthread_condattr_setclock(&by, CLOCK_MONOTONIC);
	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->filled, &by);
	pthread_condattr_destroy(&by);
}

void rg_prepare(void) {
	open_mailbox(&given);
	open_mailbox(&done);
}

static void put(mailbox *m, rg_order *o) {
	o->next = NULL;
	pthread_mutex_lock(&m->mutex);
	if (m->first)
		m->last->next = o;
	else
		m->first = o;
	m->last = o;
	pthread_cond_signal(&m->filled);
	pthread_mutex_unlock(&m->mutex);
}

static rg_order *take_locked(mailbox *m) {
	rg_order *list = m->first;
	m->first = m->last = NULL;
	return list;
}

void rg_give(rg_order *o) { put(&given, o); }

rg_order *rg_reap(void) {
	pthread_mutex_lock(&done.mutex);
	while (!done.first)
		pthread_cond_wait(&done.filled, &done.mutex);
	rg_order *list = take_locked(&done);
	pthread_mutex_unlock(&done.mutex);
	return list;
}

// take gives the orders that have come, after at most `sleep` nanoseconds.
static rg_order *take(long sleep) {
	pthread_mutex_lock(&given.mutex);
	if (!given.first && sleep > 0) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += sleep;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&given.filled, &given.mutex, &until);
	}
	rg_order *list = take_locked(&given);
	pthread_mutex_unlock(&given.mutex);
	return list;
}

// What the owner alone touches from here on. A request is one message under way, or the agreement before a world is made.
static struct {
	int count, room;
	MPI_Request *request;
	rg_order **order; // whose request it is
	size_t *wanted;   // bytes of the message
	int *index;       // scratch of MPI_Testsome
	MPI_Status *status;
} pending;

static MPI_Comm *worlds; // MPI_COMM_NULL where closed
static int world_count;
static rg_order *waiting; // RG_LEAVE and RG_FINALIZE that wait for messages to end
static int finished;

static double seconds(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void *grow(void *p, size_t n, size_t size) {
	if (!(p = realloc(p, n * size)))
		abort();
	return p;
}

static void make_room(int more) {
	if (pending.count + more <= pending.room)
		return;
	int n = pending.room = 2 * (pending.count + more) + 64;
	pending.request = grow(pending.request, n, sizeof *pending.request);
	pending.order = grow(pending.order, n, sizeof *pending.order);
	pending.wanted = grow(pending.wanted, n, sizeof *pending.wanted);
	pending.index = grow(pending.index, n, sizeof *pending.index);
	pending.status = grow(pending.status, n, sizeof *pending.status);
}

// fail keeps the first error of an order.
static void fail(rg_order *o, int code) {
	if (code == MPI_SUCCESS || o->outcome != RG_OK)
		return;
	int length = 0;
	char text[MPI_MAX_ERROR_STRING + 1] = "";
	MPI_Error_class(code, &o->class);
	MPI_Error_string(code, text, &length);
	o->text = strdup(text);
	o->outcome = RG_FAILED;
	if (o->class == MPI_ERR_TRUNCATE)
		o->outcome = RG_LONG;
	if (o->kind != RG_SEND && o->kind != RG_RECEIVE)
		return;
	if (o->class == MPI_ERR_OTHER) // MPICH's class of a broken connection
		o->outcome = RG_LOST;
#ifdef MPIX_ERR_PROC_FAILED
	if (o->class == MPIX_ERR_PROC_FAILED || o->class == MPIX_ERR_REVOKED)
		o->outcome = RG_LOST;
#endif
}

// add makes the next request of an order pending.
static MPI_Request *add(rg_order *o, size_t wanted) {
	make_room(1);
	pending.order[pending.count] = o;
	pending.wanted[pending.count] = wanted;
	pending.request[pending.count] = MPI_REQUEST_NULL;
	o->messages++;
	return &pending.request[pending.count++];
}

// added takes it back if MPI did not start it.
static void added(rg_order *o, int code) {
	if (code == MPI_SUCCESS)
		return;
	fail(o, code);
	pending.count--;
	o->messages--;
}

// start posts the messages of a transfer: one, or as many as its length needs. MPI keeps their order.
static void start(rg_order *o) {
	MPI_Comm comm = worlds[o->world];
	char *at = o->buffer;
	size_t left = o->length;
	do {
		size_t n = left < o->limit ? left : o->limit;
		MPI_Request *r = add(o, n);
		if (o->kind == RG_SEND)
			added(o, MPI_Issend(at, (int)n, MPI_BYTE, o->peer, o->tag, comm, r));
		else
			added(o, MPI_Irecv(at, (int)n, MPI_BYTE, o->peer, o->tag, comm, r));
		at += n;
		left -= n;
	} while (left > 0 && o->outcome == RG_OK);
	if (o->messages == 0)
		put(&done, o);
}

// agree asks all processes which world they want, without blocking: who waits for the others can still send, receive and abort. A process that
// wants to finalize votes for 0.
static void agree(rg_order *o) {
	o->ballot[0] = o->size;
	o->ballot[1] = -o->size;
	MPI_Request *r = add(o, 0);
	added(o, MPI_Iallreduce(o->ballot, o->agreed, 2, MPI_INT, MPI_MAX, MPI_COMM_WORLD, r));
	if (o->messages == 0)
		put(&done, o);
}

// make_world splits once all are here, so that the blocking call is short.
static void make_world(rg_order *o) {
	MPI_Comm comm = MPI_COMM_NULL;
	MPI_Comm_rank(MPI_COMM_WORLD, &o->rank);
	int inside = o->rank < o->size;
	fail(o, MPI_Comm_split(MPI_COMM_WORLD, inside ? 0 : MPI_UNDEFINED, o->rank, &comm));
	if (o->outcome != RG_OK || !inside) {
		o->rank = -1;
		return;
	}
	MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
	worlds = grow(worlds, world_count + 1, sizeof *worlds);
	o->world = world_count++;
	worlds[o->world] = comm;
}

// left_behind is the world of transfers that their world has left.
enum { left_behind = -2 };

// of_world says whether request i is a transfer of a world; world -1 is all that were not left.
static int of_world(int i, int world) {
	rg_order *o = pending.order[i];
	return (o->kind == RG_SEND || o->kind == RG_RECEIVE) && (world < 0 ? o->world != left_behind : o->world == world);
}

// cancel ends the receives that are under way.
static void cancel(int world) {
	for (int i = 0; i < pending.count; i++)
		if (of_world(i, world) && pending.order[i]->kind == RG_RECEIVE)
			MPI_Cancel(&pending.request[i]);
}

// wait_for_messages lets an RG_LEAVE or RG_FINALIZE wait until its messages have ended.
static void wait_for_messages(rg_order *o) {
	cancel(o->world);
	o->deadline = seconds(CLOCK_MONOTONIC) + o->patience;
	o->next = waiting;
	waiting = o;
}

// leave ends a world. Where sends have met no receive the communicator is kept: a later one of its number would get what they sent.
static void leave(rg_order *o, int left) {
	if (o->kind == RG_LEAVE) {
		if (left == 0)
			MPI_Comm_free(&worlds[o->world]);
		for (int i = 0; i < pending.count; i++)
			if (of_world(i, o->world))
				pending.order[i]->world = left_behind;
		put(&done, o);
	} else if (o->outcome == RG_OK) {
		agree(o);
	} else {
		put(&done, o);
	}
}

// leave_ended goes on with those that wait for nothing any more, or for too long.
static void leave_ended(void) {
	for (rg_order **at = &waiting; *at;) {
		rg_order *o = *at;
		int left = 0;
		for (int i = 0; i < pending.count; i++)
			left += of_world(i, o->world);
		if (left && seconds(CLOCK_MONOTONIC) < o->deadline) {
			at = &o->next;
			continue;
		}
		if (left && o->kind == RG_FINALIZE) { // it might never return
			o->outcome = RG_UNSENT;
			o->got = left;
		}
		*at = o->next;
		leave(o, left);
	}
}

static void finalize(rg_order *o) {
	fail(o, MPI_Finalize());
	o->last = finished = 1;
}

// ended takes the result of one request of an order, and gives the order back after its last.
static void ended(int i, int code, MPI_Status *status) {
	rg_order *o = pending.order[i];
	o->messages--;
	fail(o, code);
	if (o->kind == RG_RECEIVE && code == MPI_SUCCESS) {
		int n = 0, cancelled = 0;
		MPI_Test_cancelled(status, &cancelled);
		if (cancelled && o->outcome == RG_OK)
			o->outcome = RG_CANCELLED;
		if (!cancelled)
			MPI_Get_count(status, MPI_BYTE, &n);
		o->got += n;
		if ((size_t)n < pending.wanted[i] && o->outcome == RG_OK)
			o->outcome = RG_SHORT;
	}
	if (o->kind == RG_RECEIVE && o->outcome != RG_OK && o->messages > 0) // the rest of the message will not come
		for (int k = 0; k < pending.count; k++)
			if (pending.order[k] == o && pending.request[k] != MPI_REQUEST_NULL)
				MPI_Cancel(&pending.request[k]);
	if (o->messages > 0)
		return;
	if ((o->kind == RG_WORLD || o->kind == RG_FINALIZE) && o->outcome == RG_OK) {
		if (o->agreed[0] != o->size || o->agreed[1] != -o->size) {
			o->outcome = RG_DISAGREE;
		} else if (o->kind == RG_WORLD) {
			make_world(o);
		} else {
			finalize(o);
		}
	}
	put(&done, o);
}

// poll_once lets MPI work and takes what has ended: how many requests.
static int poll_once(void) {
	int n = 0;
	if (pending.count == 0) { // MPI may still hold bytes of messages that ended for us
		MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &n, MPI_STATUS_IGNORE);
		return 0;
	}
	int class = MPI_SUCCESS, code = MPI_Testsome(pending.count, pending.request, &n, pending.index, pending.status);
	if (code != MPI_SUCCESS)
		MPI_Error_class(code, &class);
	if (class != MPI_SUCCESS && class != MPI_ERR_IN_STATUS) { // MPI itself is broken: nothing will end any more
		n = pending.count;
		for (int i = 0; i < n; i++)
			pending.index[i] = i;
	}
	if (n == MPI_UNDEFINED || n == 0)
		return 0;
	for (int i = 0; i < n; i++) {
		int each = class == MPI_ERR_IN_STATUS ? pending.status[i].MPI_ERROR : code;
		ended(pending.index[i], each, &pending.status[i]);
		pending.order[pending.index[i]] = NULL;
	}
	int kept = 0;
	for (int i = 0; i < pending.count; i++)
		if (pending.order[i]) {
			pending.request[kept] = pending.request[i];
			pending.order[kept] = pending.order[i];
			pending.wanted[kept++] = pending.wanted[i];
		}
	pending.count = kept;
	return n;
}

static void init(rg_order *o) {
	int provided = 0, found = 0, length = 0, *limit = NULL;
	char text[MPI_MAX_LIBRARY_VERSION_STRING + 1] = "";
	int code = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
	o->last = finished = code != MPI_SUCCESS;
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
		fail(o, code);
	}
	put(&done, o);
}

static void obey(rg_order *o) {
	switch (o->kind) {
	case RG_INIT:
		init(o);
		break;
	case RG_SEND:
	case RG_RECEIVE:
		start(o);
		break;
	case RG_WORLD:
		agree(o);
		break;
	case RG_LEAVE:
	case RG_FINALIZE:
		wait_for_messages(o);
		break;
	case RG_ABORT:
		MPI_Abort(MPI_COMM_WORLD, o->size);
		put(&done, o);
	}
}

// How the owner sleeps between polls, in seconds. It starts to sleep when nothing has moved for `spin`, and sleeps a share of that time from then on:
// what comes is late by at most this share. A poll that took the processor for longer than `moving` has moved bytes, although no message
// has ended; the time of the thread counts, not that of the clock, since other threads may have run meanwhile.
static const double spin = 20e-6, least = 50e-6, most = 1e-3, share = 0.02, moving = 10e-6;

void rg_run(void) {
	double moved = seconds(CLOCK_MONOTONIC);
	long sleep = 1000000000;
	finished = 0;
	while (!finished) {
		rg_order *o = take(sleep);
		int active = o != NULL;
		while (o) {
			rg_order *next = o->next;
			obey(o);
			o = next;
		}
		if (finished)
			break;
		double before = seconds(CLOCK_THREAD_CPUTIME_ID);
		active |= poll_once() > 0;
		active |= seconds(CLOCK_THREAD_CPUTIME_ID) - before > moving;
		leave_ended();
		double now = seconds(CLOCK_MONOTONIC);
		if (active)
			moved = now;
		double quiet = now - moved, nap = share * quiet;
		nap = nap < least ? least : nap > most ? most : nap;
		sleep = quiet < spin ? 0 : (long)(1e9 * nap);
		if (!sleep)
			sched_yield();
	}
}
