// Package hosts joins processes to one world of ranks: every process has some ranks as goroutines, one process a host.
//
//	         host a                         host b
//	┌───────────────────────┐      ┌───────────────────────┐
//	│ rank 0 ──lent── rank 1 │      │ rank 2 ──lent── rank 3 │      in a process memory is handed over (package local)
//	└───────────┬───────────┘      └───────────┬───────────┘
//	            └───────────── wire ───────────┘                   between processes an engine carries messages (package mpi)
//
// The wire is any dist.Engine whose ranks are the processes. What engines between processes cannot do, this package does by messages of
// its own on that wire, under a tag that no rank uses:
//
//   - Abort is told to all processes with its cause. There it is an error of the same text that errors.Is and errors.As treat like the
//     cause itself (sentinels, *dist.Error, *dist.Late), and a *Remote.
//   - A rank that leaves says so, and what it has exchanged with whom, so that its last messages are not taken for missing.
//   - The watchdog asks all processes what their ranks wait for, and so finds the rank that all others wait for. A process that does not
//     answer is the one.
//
// A send ends when it was received, as in a process: the wire must see to that (MPI's synchronous sends do).
//
// Run is the way in. World is the same in pieces, for tests of engines.
package hosts
