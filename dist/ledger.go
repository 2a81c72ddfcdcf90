package dist

import (
	"maps"
	"sync"
	"time"
)

// Kind names what travels, in the ledger and in errors. Kinds of your own are welcome; they share one tag per hop, so all ranks must
// start them in the same order.
type Kind string

// The kinds of this project.
const (
	ForwardKV   Kind = "forward_kv"   // K and V of the forward pass
	BackwardKV  Kind = "backward_kv"  // K and V of the backward pass
	BackwardDKV Kind = "backward_dkv" // dK and dV on their way home
	Collective  Kind = "collective"   // AllReduce, AllGather, Broadcast, Barrier, Split

	ForwardQ     Kind = "forward_q"     // Q on its way round, where it is Q that travels (pass-Q)
	ForwardCarry Kind = "forward_carry" // its O, m and l
	BackwardQ    Kind = "backward_q"    // Q, dO, LSE and delta
	BackwardDQ   Kind = "backward_dq"   // dQ on its way home
	Ulysses      Kind = "ulysses"       // rows against heads, by AllToAll
)

// The kinds that travel round a double ring, for its hops between the inner rings: those that cross from host to host.
const (
	ForwardKVOuter    = ForwardKV + outer
	BackwardKVOuter   = BackwardKV + outer
	BackwardDKVOuter  = BackwardDKV + outer
	ForwardQOuter     = ForwardQ + outer
	ForwardCarryOuter = ForwardCarry + outer
	BackwardQOuter    = BackwardQ + outer
	BackwardDQOuter   = BackwardDQ + outer
)

const outer = "_outer"

// Outer is the same kind on a hop between inner rings, as "forward_kv_outer" of ForwardKV: a ledger entry of its own. It has the tags
// of the inner kind, so the hops of both are numbered together.
func (k Kind) Outer() Kind { return k + outer }

// Entry is what one rank has sent of one kind.
type Entry struct {
	Hops    int           // messages sent by Shift, SendRecv and AllToAll, and calls of the other collectives
	Tensors int           // tensors in them, as told by Move.Tensors
	Bytes   int64         // bytes sent to other ranks
	Wait    time.Duration // time blocked: communication that compute did not hide
}

// Plus adds two entries.
func (e Entry) Plus(o Entry) Entry {
	return Entry{Hops: e.Hops + o.Hops, Tensors: e.Tensors + o.Tensors, Bytes: e.Bytes + o.Bytes, Wait: e.Wait + o.Wait}
}

// Ledger counts what one rank sends through one Comm, by kind. It is safe for concurrent use; the zero value is empty.
type Ledger struct {
	mu      sync.Mutex
	entries map[Kind]Entry
}

// Snapshot copies the entries. Kinds that never travelled are missing, and read as zero.
func (l *Ledger) Snapshot() map[Kind]Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		return map[Kind]Entry{}
	}
	return maps.Clone(l.entries)
}

// Total is the sum over all kinds.
func (l *Ledger) Total() Entry {
	var sum Entry
	for _, e := range l.Snapshot() {
		sum = sum.Plus(e)
	}
	return sum
}

// Reset forgets everything.
func (l *Ledger) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.entries)
}

func (l *Ledger) add(k Kind, e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		l.entries = map[Kind]Entry{}
	}
	l.entries[k] = l.entries[k].Plus(e)
}
