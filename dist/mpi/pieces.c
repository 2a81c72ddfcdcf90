//go:build mpi && cgo

#include "inner.h"

#include <stdlib.h>

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

int rg_open(MPI_Comm comm) {
	int i = 0;
	while (i < world_count && worlds[i].comm != MPI_COMM_NULL)
		i++;
	if (i == world_count) {
		worlds = rg_grow(worlds, ++world_count, sizeof *worlds);
		for (int k = 0; k < i; k++) { // the ends of empty lists have moved
			if (!worlds[k].posted)
				worlds[k].posted_end = &worlds[k].posted;
			if (!worlds[k].came)
				worlds[k].came_end = &worlds[k].came;
		}
	}
	struct world *w = &worlds[i];
	*w = (struct world){.comm = comm, .posted_end = &w->posted, .came_end = &w->came};
	return i;
}

// left_behind is the world of transfers whose world was left. MPI_Finalize goes without the small ones, which are on their way in any case; it
// would wait for the others.
enum { left_behind = -2, small = 4096 };

static int is_transfer(const rg_order *o) { return o->kind == RG_SEND || o->kind == RG_RECEIVE; }

// rg_shut keeps the communicator where sends have met no receive: a later one of its number would get what they sent.
void rg_shut(int world) {
	struct world *w = &worlds[world];
	int unmet = w->came != NULL;
	for (int i = 0; i < pending.count; i++)
		if (is_transfer(pending.order[i]) && pending.order[i]->world == world) {
			pending.order[i]->world = left_behind;
			unmet = 1;
		}
	for (early *e = w->came, *next; e; e = next) { // to MPI they stay messages that nobody has received
		next = e->next;
		free(e);
	}
	w->came = NULL;
	if (!unmet)
		MPI_Comm_free(&w->comm);
	w->comm = MPI_COMM_NULL;
}

// add gives room for the next request of an order.
static MPI_Request *add(rg_order *o, void *scratch) {
	if (pending.count == pending.room) {
		int n = pending.room = 2 * pending.room + 64;
		pending.request = rg_grow(pending.request, n, sizeof *pending.request);
		pending.order = rg_grow(pending.order, n, sizeof *pending.order);
		pending.scratch = rg_grow(pending.scratch, n, sizeof *pending.scratch);
		pending.index = rg_grow(pending.index, n, sizeof *pending.index);
		pending.status = rg_grow(pending.status, n, sizeof *pending.status);
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
	rg_fail(o, code);
	free(pending.scratch[--pending.count]);
	o->pieces--;
}

// settle gives a transfer back once nothing of it is under way.
static void settle(rg_order *o) {
	if (o->pieces > 0 || (o->kind == RG_RECEIVE && !o->matched))
		return;
	if (o->kind == RG_RECEIVE && o->outcome == RG_OK && o->got != o->length)
		o->outcome = RG_SIZE;
	rg_done(o);
}

// rg_send posts the pieces of a message: full ones, and a shorter one, perhaps empty, that ends it. MPI keeps their order.
void rg_send(rg_order *o) {
	char *at = o->buffer;
	size_t n, left = o->length;
	do {
		n = left < o->limit ? left : o->limit;
		MPI_Request *r = add(o, NULL);
		added(o, MPI_Issend(at, (int)n, MPI_BYTE, o->peer, o->tag, worlds[o->world].comm, r));
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
		at = scratch = rg_grow(NULL, size ? size : 1, 1);
	o->got += size;
	o->matched = (size_t)size < o->limit;
	MPI_Request *r = add(o, scratch);
	added(o, MPI_Imrecv(at, size, MPI_BYTE, message, r));
}

// rg_receive takes what came early, or waits for it among the posted.
void rg_receive(rg_order *o) {
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
	early *e = rg_grow(NULL, 1, sizeof *e);
	*e = (early){.message = *message, .peer = status->MPI_SOURCE, .tag = status->MPI_TAG, .size = size};
	*w->came_end = e;
	w->came_end = &e->next;
}

// abandon ends the receives of a world that have not come: with MPI's error if there is one.
static void abandon(struct world *w, int code) {
	while (w->posted) {
		rg_order *o = unpost(w, &w->posted);
		rg_fail(o, code);
		if (o->outcome == RG_OK)
			o->outcome = RG_CANCELLED;
		o->matched = 1;
		settle(o);
	}
}

int rg_match(void) {
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

// rg_agree asks all processes which world they want, without blocking: who waits for the others can still send, receive and abort. A process that
// wants to finalize votes for 0.
void rg_agree(rg_order *o) {
	o->ballot[0] = o->size;
	o->ballot[1] = -o->size;
	MPI_Request *r = add(o, NULL);
	added(o, MPI_Iallreduce(o->ballot, o->agreed, 2, MPI_INT, MPI_MAX, MPI_COMM_WORLD, r));
	if (o->pieces == 0)
		rg_decided(o);
}

int rg_test(void) {
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
		rg_fail(o, class == MPI_ERR_IN_STATUS ? pending.status[k].MPI_ERROR : code);
		o->pieces--;
		if (is_transfer(o))
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
		rg_decided(agreed);
	return n;
}

void rg_abandon(int world) {
	for (int i = 0; i < world_count; i++)
		if (world < 0 || world == i)
			abandon(&worlds[i], MPI_SUCCESS);
}

int rg_under_way(int world) {
	int n = 0;
	for (int i = 0; i < pending.count; i++) {
		rg_order *o = pending.order[i];
		n += is_transfer(o) && (world < 0 ? o->world != left_behind || o->length > small : o->world == world);
	}
	return n;
}

int rg_requests(void) { return pending.count; }
