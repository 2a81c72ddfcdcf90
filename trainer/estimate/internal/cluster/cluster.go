// Package cluster runs the programs of ranks on hosts in simulated time: the ranks of a host share its processor, the hosts of a network
// send each other messages over one link each. It knows nothing of attention; package estimate writes the programs.
//
//	host 0                    host 1
//	rank 0 ─┐                ┌─ rank 2      a processor is shared equally by what is ready to run on it, as by cores under an
//	rank 1 ─┴─ processor     ┴─ rank 3      operating system; a link is full duplex, and serves messages in the order they begin
//	            │ link           │ link
//	            └── network ─────┘
//
// A message begins when its sender has given it away and its receiver waits for it, as large messages of MPI do. Between ranks of a
// host it takes no time.
package cluster

// Network is the hosts and what joins them. Zero is free: no time for bytes, messages or copies.
type Network struct {
	Hosts  int
	HostOf func(rank int) int

	ByteSeconds float64 // that a link takes for a byte, in each direction
	Latency     float64 // seconds from the end of a message's bytes to its arrival
	CopySeconds float64 // that a byte takes of the processor, at each of its two ends
}

// Message goes from rank to rank.
type Message struct {
	From, To int
	Bytes    int64
}

// Op is one instruction of a rank's program.
type Op struct {
	kind    opKind
	message int     // send, receive, await
	seconds float64 // compute: of the whole processor of the host
}

type opKind int8

const (
	send opKind = iota
	receive
	await
	compute
)

// Send gives a message away.
func Send(message int) Op { return Op{kind: send, message: message} }

// Receive makes room for a message.
func Receive(message int) Op { return Op{kind: receive, message: message} }

// Await waits until a message has arrived.
func Await(message int) Op { return Op{kind: await, message: message} }

// Compute works for so long as all of the host's processor would take.
func Compute(seconds float64) Op { return Op{kind: compute, seconds: seconds} }

// Result is what a run took.
type Result struct {
	Seconds float64 // until the last rank's end
	Stuck   bool    // some rank waits for what never comes: the programs are wrong
}

// Run runs one program a rank.
func Run(n Network, messages []Message, programs [][]Op) Result {
	s := newState(n, messages, programs)
	for rank := range programs {
		s.resume(rank)
	}
	for s.step() {
	}
	r := Result{Seconds: s.now}
	for rank, program := range programs {
		r.Stuck = r.Stuck || s.next[rank] < len(program)
	}
	return r
}
