// Package dist is communication between ranks: a ring that shifts blocks, and collectives, over engines of six methods.
//
// # The ring
//
// Shift is a step round the ring. Every rank gives its block to the next one (Step +1) or to the previous one (Step -1) and gets
// the block of the other side; after s hops a rank holds the block that began s places behind it (shard.ForwardSource):
//
//	            hop 0              hop 1              hop 2
//	rank 0 ──a──▶ rank 1     ──d──▶            ──c──▶             forward: K, V
//	rank 1 ──b──▶ rank 2     ──a──▶            ──d──▶             after W-1 hops every
//	rank 2 ──c──▶ rank 3     ──b──▶            ──a──▶             rank has met every block
//	rank 3 ──d──▶ rank 0     ──c──▶            ──b──▶
//
// It is started before the block is used and waited for afterwards, so that the transfer hides behind the computation:
//
//	for hop := range c.Size() - 1 {
//		next := dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Tensors: 2, Hop: hop, Step: 1}, block, lengthOfNext)
//		attend(block) // reads only: the block is already on its way
//		if block, err = next.Wait(ctx); err != nil {
//			return err
//		}
//	}
//	attend(block)
//
// SendRecv is an exchange with any members; either side of it may be None, for blocks that go one way: those of ranks that have nothing
// to do with each other under the mask stay at home.
//
// # Whose memory it is
//
//   - What is given to Shift or SendRecv is never written again by the sender. Engines whose ranks share memory (Lender) hand the slice
//     itself over: the receiver reads, and if the kind allows it writes, the sender's memory.
//   - Blocks that all ranks only read (K and V) may still be read by the sender, and sent on by the receiver. Blocks that are written on
//     their way (dK and dV) have one holder at a time: the sender lets go.
//   - What Wait returns is the receiver's under the same rules. It is valid until its holder sends it on or drops it.
//   - Collectives leave the caller's slices to the caller when they return nil. AllGather returns copies. AllToAll, which is W-1
//     exchanges, follows the rules of Shift instead.
//   - After an error all slices in flight are lost, and the job with them: Abort, join, start again from a checkpoint.
//
// # Collectives
//
// AllReduce, AllGather, AllToAll, Any, Broadcast, Barrier and Split are written here once, over the engine's transfers. All members call them
// in the same order. AllReduce adds every element in the order of the ranks, so its bits are the same on every engine, whatever
// arrives first; they do depend on how the sum was divided among W ranks. Split makes groups that can be used side by
// side: the two axes of a mesh are Split(rank/cp, rank) and Split(rank%cp, rank). What is split may be split again.
//
// Values travel in the byte order of the machine: all ranks are of one kind.
//
// # When something fails
//
// Errors are *Error, which names the rank, its peer, the operation, the kind and the hop. errors.Is tells the reason apart: ErrAborted
// (another rank failed first, its cause is wrapped, too), ErrPeerLost, ErrTimeout, ErrSize, ErrCorrupt, or the cause of the context.
//
// Options.Timeout is a watchdog for every wait. When it fires it says who is late, and aborts the job. On engines that see the waits of
// all ranks (Witness) it walks from wait to wait to the rank that waits for nobody, whichever rank fired:
//
//	dist: rank 3: forward_kv hop 1: receive from rank 2: no message within 30s; rank 1 is late (it waits for nobody: computing or stuck;
//	rank 3 waits to receive forward_kv hop 1 from rank 2, rank 2 waits to receive forward_kv hop 1 from rank 1)
//
// The kind and the hop are part of the tag of a message, and so is the number of a collective call. A message that is lost, or a rank that is a call
// ahead, is therefore never taken for something else: the ranks wait for each other, and the watchdog tells the cycle.
//
// A program that fails must say so: return the error from the function given to local.Run, or call Comm.Abort. Else its peers
// wait for the watchdog, or for ever.
//
// # Ledger
//
// Every Comm counts what its rank sends, by kind: hops, tensors, bytes, and the time it was blocked (Wait). Tests assert that a forward pass takes W-1
// hops; the trainer reports the sum of Wait over the ring's kinds as a share of the step.
//
// # Writing an engine
//
// An Engine gives Rank, Size, Isend, Irecv, Abort and Close over []byte; the rules are at the interface. Messages match in order per
// (peer, tag), empty ones travel, a rank may send to itself, and starting never blocks on a peer: Comm starts a receive before the
// send that goes with it, so no buffering is needed. Wait must return when its context ends, with context.Cause(ctx) in the error.
// Abilities beyond that are interfaces of their own, found by type assertion: Lender, Witness, TagLimiter. Package disttest has the suite
// that every engine passes, and wrappers that inject faults; package local is the engine to read first.
package dist
