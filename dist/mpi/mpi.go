// Package mpi joins processes, on one host or on many, by MPI: an engine whose ranks are the processes of an MPI job.
//
// It needs the build tag mpi and cgo. The tag alone takes Open MPI (4.1 or 5) from pkg-config's ompi; the tags mpi and mpich together
// take MPICH. Without the tag the package builds everywhere, Start returns ErrNotBuilt, and Launched still works. Go's build cache does not see
// what pkg-config says: who builds for two Open MPIs, by PKG_CONFIG_PATH, needs -a or another CGO_CFLAGS for each.
//
//	        goroutines of the process                          one OS thread: the owner
//	┌────────────────────────────────────┐           ┌─────────────────────────────────────────┐
//	│ Isend, Irecv, World, Close ────────┼─ orders ─►│ MPI_Init_thread(FUNNELED)               │
//	│                                    │           │ loop: take orders: MPI_Issend           │
//	│ Handle.Wait ◄── reaper ◄───────────┼─ results ─┤       what has come: MPI_Improbe        │
//	└────────────────────────────────────┘           │       and is wanted: MPI_Imrecv         │
//	                                                 │       what has ended: MPI_Testsome      │
//	                                                 │       nothing moved? sleep: 50 µs … 1 ms│
//	                                                 │ MPI_Finalize                            │
//	                                                 └─────────────────────────────────────────┘
//
// MPI moves big messages only while somebody calls it. So the owner polls all the time; it is written in C (owner.c), since a thread
// in C needs no turn of Go's scheduler: it polls on while the goroutines of the process compute on all of GOMAXPROCS. Its sleep grows with
// the time in which nothing has moved, and an order wakes it at once. It takes well under a tenth of a core; where an engine trains on
// all cores, the operating system fits it in.
//
// A message meets its receive here, not in MPI: its size is known before a buffer is touched. (Given a buffer that is too small, Open MPI 4.1
// and 5.0 write a big message beyond its end.) Buffers of Go are pinned until MPI is done with them.
//
// # Errors end the job
//
// MPI_Finalize is collective, and so is the making of the next world: a process that has seen an error, or whose peers may have, must
// not call Process.Close, which would wait for peers that do not come. It calls Process.Abort, which ends all processes of the job. That goes
// through the launcher: without keep-alives of its own a launcher may take minutes to notice that a host is lost.
package mpi

import (
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
)

// Process is this process in an MPI job.
type Process interface {
	// Rank is the number of the process in the job, 0 to Size-1.
	Rank() int
	// Size is the number of processes of the job.
	Size() int
	// Library names the MPI that runs, as "Open MPI 4.1.4".
	Library() string
	// World gives an engine between the first n processes, and nil to the others. It is collective over all processes of the job,
	// and every call makes a world of its own: messages of two worlds never meet. The engine's Abort concerns this process alone:
	// the others are told by package dist/hosts.
	World(n int) (dist.Engine, error)
	// Abort ends all processes of the job with an exit code, this one included: it does not return. It may be called at any time.
	Abort(code int)
	// Close leaves MPI, together with all processes of the job; worlds must be closed before. After an error call Abort instead.
	Close() error
}

// ErrNotBuilt is what Start returns in a binary without MPI.
var ErrNotBuilt = errors.New("mpi: this binary was built without the tag mpi; build it with CGO_ENABLED=1 go build -tags mpi (or -tags mpi,mpich for MPICH) ./cmd/train")

// Error is what MPI has to say about an operation.
type Error struct {
	Op    string // "send", "receive", "init", "world", "finalize"
	Rank  int    // who saw it
	Peer  int    // the other side of a transfer, else -1
	Tag   int    // of a transfer, else -1
	Class int    // MPI's error class; the numbers differ between MPIs
	Text  string // MPI's description
	lost  bool   // the class says that the peer is gone
}

// Error reads as `mpi: rank 2: receive from rank 1, tag 1040: connection reset (class 16)`.
func (e *Error) Error() string {
	return fmt.Sprintf("mpi: rank %d: %s: %s (class %d)", e.Rank, e.what(), e.Text, e.Class)
}

func (e *Error) what() string {
	switch e.Op {
	case opSend:
		return fmt.Sprintf("send to rank %d, tag %d", e.Peer, e.Tag)
	case opReceive:
		return fmt.Sprintf("receive from rank %d, tag %d", e.Peer, e.Tag)
	}
	return e.Op
}

// Unwrap is dist.ErrPeerLost where the class says so.
func (e *Error) Unwrap() error {
	if e.lost {
		return dist.ErrPeerLost
	}
	return nil
}

// Operations of an Error.
const (
	opInit     = "init"
	opSend     = "send"
	opReceive  = "receive"
	opWorld    = "world"
	opFinalize = "finalize"
)
