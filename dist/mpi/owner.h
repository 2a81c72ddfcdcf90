// The thread that owns MPI, as Go sees it: orders go in, the same orders come back with their results.

#include <stddef.h>
#include <stdint.h>

enum rg_kind { RG_INIT, RG_SEND, RG_RECEIVE, RG_WORLD, RG_LEAVE, RG_FINALIZE, RG_ABORT };

// RG_SIZE: got bytes came instead of length. RG_LOST: the class says that the peer is gone. RG_CANCELLED: the world was left before. RG_DISAGREE:
// processes want different worlds. RG_UNSENT: got messages are still under way.
enum rg_outcome { RG_OK, RG_FAILED, RG_SIZE, RG_LOST, RG_CANCELLED, RG_DISAGREE, RG_UNSENT };

// rg_order is one thing to do. Go allocates it with calloc, fills the first part, and frees it (and text, by free) when rg_reap gives it back.
typedef struct rg_order {
	uint64_t id;
	int kind;
	int world;     // of a transfer and of RG_LEAVE: which one; RG_WORLD gives it
	int peer, tag; // of a transfer
	void *buffer;
	size_t length, limit; // bytes; bytes of one piece, the same everywhere
	int size;             // RG_WORLD: processes of the world; RG_ABORT: exit code
	double patience;      // RG_LEAVE, RG_FINALIZE: seconds that started messages get

	int outcome;
	int class;  // MPI's, of RG_FAILED and RG_LOST
	char *text; // MPI's description of the error; of RG_INIT the library's version
	size_t got; // bytes of a receive
	int rank;   // RG_INIT, RG_WORLD: the own one, -1 outside
	int max_tag;
	int last; // the owner has ended: no further order will be obeyed

	struct rg_order *next; // the owner's own from here on
	int pieces;            // under way
	int matched;           // a receive's last piece has come
	int ballot[2], agreed[2];
	double deadline;
} rg_order;

// rg_prepare comes before all others.
void rg_prepare(void);

// rg_run makes all MPI calls of the process, from the first order, RG_INIT, to RG_FINALIZE or to an RG_INIT that failed.
void rg_run(void);

// rg_give hands an order to the owner and wakes it.
void rg_give(rg_order *order);

// rg_reap waits for results and gives them as a list, oldest first.
rg_order *rg_reap(void);
