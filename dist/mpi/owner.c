//go:build mpi && cgo

#define _GNU_SOURCE // syscall
#include "owner.h"

#include <mpi.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

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

// What the owner alone touches from here on.

// Requests under way: pieces of transfers, and agreements on a world.
static struct {
	int count, room;
	MPI_Request *request;
	rg_order **order; // whose request it is
	void **scratch;   // where a piece goes that its receive has no room for
	int *index;       // scratch of MPI_Testsome
	MPI_Status *status;
} pending;

// A piece that came before its receive.
typedef struct early {
	struct early *next;
	MPI_Message message;
	int peer, tag, size;
} early;

// Worlds, with receives whose last piece has not come, and pieces that nobody has asked for, both oldest first. comm is MPI_COMM_NULL where a
// world was left; its place is used again.
static struct world {
	MPI_Comm comm;
	rg_order *posted, **posted_end;
	early *came, **came_end;
} *worlds;
static int world_count;

static rg_order *leaving; // RG_LEAVE and RG_FINALIZE that wait for messages to end
static int initialised, finished;

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
	if (o->kind != RG_SEND && o->kind != RG_RECEIVE)
		return;
	if (o->class == MPI_ERR_OTHER) // MPICH's class of a broken connection
		o->outcome = RG_LOST;
#ifdef MPIX_ERR_PROC_FAILED
	if (o->class == MPIX_ERR_PROC_FAILED || o->class == MPIX_ERR_REVOKED)
		o->outcome = RG_LOST;
#endif
}

// add gives room for the next request of an order.
static MPI_Request *add(rg_order *o, void *scratch) {
	if (pending.count == pending.room) {
		int n = pending.room = 2 * pending.room + 64;
		pending.request = grow(pending.request, n, sizeof *pending.request);
		pending.order = grow(pending.order, n, sizeof *pending.order);
		pending.scratch = grow(pending.scratch, n, sizeof *pending.scratch);
		pending.index = grow(pending.index, n, sizeof *pending.index);
		pending.status = grow(pending.status, n, sizeof *pending.status);
	}
	pending.order[pending.count] = o;
	pending.scratch[pending.count] = scratch;
	pending.request[pending.count] = MPI_REQUEST_NULL;
	o->pieces++;
	return &pending.request[pending.count++];
}

// added takes it back if MPI did not start it.
static void added(rg_order *o, int code) {
	if (code == MPI_SUCCESS)
		return;
	fail(o, code);
	free(pending.scratch[--pending.count]);
	o->pieces--;
}

// settle gives a transfer back once nothing of it is under way.
static void settle(rg_order *o) {
	if (o->pieces > 0 || (o->kind == RG_RECEIVE && !o->matched))
		return;
	if (o->kind == RG_RECEIVE && o->outcome == RG_OK && o->got != o->length)
		o->outcome = RG_SIZE;
	put(&done, o);
}

// send posts the pieces of a message: full ones, and a shorter one, perhaps empty, that ends it. MPI keeps their order.
static void send(rg_order *o) {
	char *at = o->buffer;
	size_t n, left = o->length;
	do {
		n = left < o->limit ? left : o->limit;
		MPI_Request *r = add(o, NULL);
		added(o, MPI_Isend(at, (int)n, MPI_BYTE, o->peer, o->tag, worlds[o->world].comm, r));
		at += n;
		left -= n;
	} while (n == o->limit && o->outcome == RG_OK);
	settle(o);
}

// accept starts to move a piece to its receive. A piece is matched before MPI is given the buffer, and never given one that is too small: Open
// MPI (4.1 and 5.0) writes the whole of a big message then, beyond the end of the buffer.
static void accept(rg_order *o, MPI_Message *message, int size) {
	void *scratch = NULL, *at = (char *)o->buffer + o->got;
	if (o->got + size > o->length || o->outcome != RG_OK)
		at = scratch = grow(NULL, size ? size : 1, 1);
	o->got += size;
	o->matched = (size_t)size < o->limit;
	MPI_Request *r = add(o, scratch);
	added(o, MPI_Imrecv(at, size, MPI_BYTE, message, r));
}

// receive takes what came early, or waits for it among the posted.
static void receive(rg_order *o) {
	struct world *w = &worlds[o->world];
	for (early **at = &w->came; *at && !o->matched;) {
		early *e = *at;
		if (e->peer != o->peer || e->tag != o->tag) {
			at = &e->next;
			continue;
		}
		if (!(*at = e->next))
			w->came_end = at;
		accept(o, &e->message, e->size);
		free(e);
	}
	if (o->matched) {
		settle(o);
		return;
	}
	o->next = NULL;
	*w->posted_end = o;
	w->posted_end = &o->next;
}

// unpost takes the receive at *at off the list.
static rg_order *unpost(struct world *w, rg_order **at) {
	rg_order *o = *at;
	if (!(*at = o->next))
		w->posted_end = at;
	return o;
}

// arrive brings a piece to the oldest receive that it is for, or keeps it.
static void arrive(struct world *w, MPI_Message *message, MPI_Status *status) {
	int size = 0;
	MPI_Get_count(status, MPI_BYTE, &size);
	for (rg_order **at = &w->posted; *at; at = &(*at)->next) {
		rg_order *o = *at;
		if (o->peer != status->MPI_SOURCE || o->tag != status->MPI_TAG)
			continue;
		accept(o, message, size);
		if (o->matched) {
			unpost(w, at);
			settle(o);
		}
		return;
	}
	early *e = grow(NULL, 1, sizeof *e);
	*e = (early){.message = *message, .peer = status->MPI_SOURCE, .tag = status->MPI_TAG, .size = size};
	*w->came_end = e;
	w->came_end = &e->next;
}

// abandon ends the receives of a world that have not come: with MPI's error if there is one.
static void abandon(struct world *w, int code) {
	while (w->posted) {
		rg_order *o = unpost(w, &w->posted);
		fail(o, code);
		if (o->outcome == RG_OK)
			o->outcome = RG_CANCELLED;
		o->matched = 1;
		settle(o);
	}
}

// match takes the pieces that have come, where somebody waits for one: how many.
static int match(void) {
	int all = 0;
	for (struct world *w = worlds; w < worlds + world_count; w++)
		while (w->posted) {
			int came = 0;
			MPI_Message message;
			MPI_Status status;
			int code = MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, w->comm, &came, &message, &status);
			if (code != MPI_SUCCESS)
				abandon(w, code);
			else if (!came)
				break;
			else
				arrive(w, &message, &status);
			all++;
		}
	return all;
}

// agree asks all processes which world they want, without blocking: who waits for the others can still send, receive and abort. A process that
// wants to finalize votes for 0.
static void agree(rg_order *o) {
	o->ballot[0] = o->size;
	o->ballot[1] = -o->size;
	MPI_Request *r = add(o, NULL);
	added(o, MPI_Iallreduce(o->ballot, o->agreed, 2, MPI_INT, MPI_MAX, MPI_COMM_WORLD, r));
	if (o->pieces == 0)
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
	int i = 0;
	while (i < world_count && worlds[i].comm != MPI_COMM_NULL)
		i++;
	if (i == world_count) {
		worlds = grow(worlds, ++world_count, sizeof *worlds);
		for (int k = 0; k < i; k++) { // the ends of empty lists have moved
			if (!worlds[k].posted)
				worlds[k].posted_end = &worlds[k].posted;
			if (!worlds[k].came)
				worlds[k].came_end = &worlds[k].came;
		}
	}
	struct world *w = &worlds[o->world = i];
	*w = (struct world){.comm = comm, .posted_end = &w->posted, .came_end = &w->came};
}

static void finalize(rg_order *o) {
	fail(o, MPI_Finalize());
	o->last = finished = 1;
}

// decided goes on after an agreement.
static void decided(rg_order *o) {
	if (o->outcome == RG_OK && (o->agreed[0] != o->size || o->agreed[1] != -o->size))
		o->outcome = RG_DISAGREE;
	if (o->outcome == RG_OK && o->kind == RG_WORLD)
		make_world(o);
	else if (o->outcome == RG_OK)
		finalize(o);
	put(&done, o);
}

// test takes the requests that have ended: how many.
static int test(void) {
	int n = 0, class = MPI_SUCCESS;
	if (pending.count == 0)
		return 0;
	int code = MPI_Testsome(pending.count, pending.request, &n, pending.index, pending.status);
	if (code != MPI_SUCCESS)
		MPI_Error_class(code, &class);
	if (class != MPI_SUCCESS && class != MPI_ERR_IN_STATUS) { // MPI itself is broken: nothing will end any more
		n = pending.count;
		for (int i = 0; i < n; i++)
			pending.index[i] = i;
	}
	if (n == MPI_UNDEFINED || n == 0)
		return 0;
	rg_order *agreed = NULL;
	for (int k = 0; k < n; k++) {
		int i = pending.index[k];
		rg_order *o = pending.order[i];
		pending.order[i] = NULL;
		free(pending.scratch[i]);
		fail(o, class == MPI_ERR_IN_STATUS ? pending.status[k].MPI_ERROR : code);
		o->pieces--;
		if (o->kind == RG_SEND || o->kind == RG_RECEIVE)
			settle(o);
		else
			agreed = o; // there is one at a time
	}
	int kept = 0;
	for (int i = 0; i < pending.count; i++)
		if (pending.order[i]) {
			pending.request[kept] = pending.request[i];
			pending.order[kept] = pending.order[i];
			pending.scratch[kept++] = pending.scratch[i];
		}
	pending.count = kept;
	if (agreed)
		decided(agreed);
	return n;
}

// leave lets an RG_LEAVE or RG_FINALIZE wait until its messages have ended. World -1 is all worlds.
static void leave(rg_order *o) {
	for (int i = 0; i < world_count; i++)
		if (o->world < 0 || o->world == i)
			abandon(&worlds[i], MPI_SUCCESS);
	o->deadline = seconds(CLOCK_MONOTONIC) + o->patience;
	o->next = leaving;
	leaving = o;
}

static void left(rg_order *o, int under_way) {
	if (o->kind == RG_FINALIZE && !under_way) {
		agree(o);
		return;
	}
	if (o->kind == RG_FINALIZE) { // MPI_Finalize might never return
		o->outcome = RG_UNSENT;
		o->got = under_way;
	} else {
		struct world *w = &worlds[o->world];
		for (early *e = w->came, *next; e; e = next) { // to MPI they stay messages that nobody has received
			next = e->next;
			free(e);
		}
		w->came = NULL;
		MPI_Comm_free(&w->comm); // MPI keeps what messages need that are under way
		w->comm = MPI_COMM_NULL;
	}
	put(&done, o);
}

// leave_ended goes on with those that wait for nothing any more, or for too long.
static void leave_ended(void) {
	for (rg_order **at = &leaving; *at;) {
		rg_order *o = *at;
		int under_way = 0;
		for (int i = 0; i < pending.count; i++) {
			rg_order *p = pending.order[i];
			under_way += (p->kind == RG_SEND || p->kind == RG_RECEIVE) && (o->world < 0 || p->world == o->world);
		}
		if (under_way && seconds(CLOCK_MONOTONIC) < o->deadline) {
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
		send(o);
		break;
	case RG_RECEIVE:
		receive(o);
		break;
	case RG_WORLD:
		agree(o);
		break;
	case RG_LEAVE:
	case RG_FINALIZE:
		leave(o);
		break;
	case RG_ABORT:
		MPI_Abort(MPI_COMM_WORLD, o->size);
		put(&done, o);
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

// How the owner waits between polls, in seconds. It polls without a break for `spin` after an order or a result, and at once after a poll that
// took the processor for longer than `moving`: bytes have moved then, although no message has ended. (The time of the thread counts, not that of
// the clock, since other threads may have run meanwhile.) Else it sleeps for a share of the time in which nothing has moved: what
// comes is late by at most this share, and an idle owner costs little.
static const double spin = 100e-6, moving = 10e-6, share = 0.02, least = 50e-6, most = 1e-3;

// breathe lets MPI work and says whether an order or a message has ended, and whether bytes have moved.
static int breathe(int *moves) {
	double before = seconds(CLOCK_THREAD_CPUTIME_ID);
	int ended = match() + test(), came;
	if (!ended && pending.count == 0) // bytes of messages that have ended for us may still have to leave
		MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &came, MPI_STATUS_IGNORE);
	leave_ended();
	*moves = seconds(CLOCK_THREAD_CPUTIME_ID) - before > moving;
	return ended > 0;
}

void rg_run(void) {
	double acted = 0, moved = 0;
	long sleep = 1000000000;
	finished = 0;
	ask_for_short_turns();
	while (!finished) {
		rg_order *o = take(sleep);
		int active = o != NULL, moves;
		while (o) {
			rg_order *next = o->next;
			obey(o);
			o = next;
		}
		if (!initialised || finished)
			continue;
		active |= breathe(&moves);
		double now = seconds(CLOCK_MONOTONIC), nap;
		if (active)
			acted = now;
		if (active || moves)
			moved = now;
		nap = share * (now - moved);
		nap = nap < least ? least : nap > most ? most : nap;
		sleep = moves || now - acted < spin ? 0 : (long)(1e9 * nap);
		if (!sleep)
			sched_yield();
	}
}
