//go:build mpi && cgo

// What the parts of the owner share. All but the mailboxes is touched by the owner's thread alone.

#ifndef RG_INNER_H
#define RG_INNER_H

#include "owner.h"

#include <mpi.h>
#include <time.h>

// mailbox.c

// rg_done gives an order back to Go, whose it is from then on.
void rg_done(rg_order *o);

// rg_take gives the orders that have come, after at most `sleep` nanoseconds.
rg_order *rg_take(long sleep);

// owner.c

// rg_seconds is what a clock shows.
double rg_seconds(clockid_t clock);

// rg_grow is realloc for n things of a size, or the end of the process.
void *rg_grow(void *p, size_t n, size_t size);

// rg_fail notes the first error of an order.
void rg_fail(rg_order *o, int code);

// rg_decided goes on after an agreement of all processes.
void rg_decided(rg_order *o);

// pieces.c

// rg_open gives a communicator a place among the worlds; rg_shut takes it away.
int rg_open(MPI_Comm comm);
void rg_shut(int world);

// rg_send and rg_receive start transfers.
void rg_send(rg_order *o);
void rg_receive(rg_order *o);

// rg_agree starts a vote of all processes on two numbers.
void rg_agree(rg_order *o);

// rg_match takes the pieces that have come, where somebody waits for one: how many.
int rg_match(void);

// rg_test takes the requests that have ended: how many.
int rg_test(void);

// rg_abandon ends the receives of a world (-1: of all) that have not come.
void rg_abandon(int world);

// rg_under_way counts the pieces of a world (-1: of all), rg_requests all that MPI has started.
int rg_under_way(int world);
int rg_requests(void);

#endif
