//go:build mpi && cgo

#include "inner.h"

#include <pthread.h>

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

void rg_done(rg_order *o) { put(&done, o); }

rg_order *rg_reap(void) {
	pthread_mutex_lock(&done.mutex);
	while (!done.first)
		pthread_cond_wait(&done.filled, &done.mutex);
	rg_order *list = take_locked(&done);
	pthread_mutex_unlock(&done.mutex);
	return list;
}

rg_order *rg_take(long sleep) {
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
