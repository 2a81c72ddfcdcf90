// Package nccl is the engine of ranks that have a GPU each, in processes of their own or in one: messages travel over what joins the
// GPUs (NVLink, InfiniBand, sockets), moved by NVIDIA's NCCL.
//
// It has not run on hardware: no machine with two GPUs was at hand. It is tested against a stand-in for NCCL and for the CUDA driver
// (package stub) that has their binary interface and notes what they punish, and NVIDIA's own library has been opened, without a GPU.
//
// With a process for each GPU, the CPU engine is package mpi's, and the result takes its place: package hosts runs over it, with one
// rank in each process, and tells the other processes of aborts and waits.
//
//	cpu, err := process.World(process.Size())                                // package mpi
//	wire, err := nccl.Open(ctx, cpu, nccl.Options{Device: rankOnThisHost})   // all ranks together
//	world, err := hosts.Join(ctx, wire, 1)
//
// Nothing of NVIDIA's is needed to build it, only a C compiler and the tag ringcuda; without them Open returns ErrNotBuilt. NCCL is
// looked for when Open is called: the library that RINGGRAD_NCCL_LIBRARY names, or libnccl.so.2; likewise RINGGRAD_CUDA_LIBRARY, or
// libcuda.so.1.
//
// # What travels where
//
// NCCL knows no tags, and what is started on a communicator runs in that order. So it carries only the bytes of big messages; a second
// engine between the same ranks, the CPU engine, carries the small ones and all that has to be agreed on:
//
//	sender                              receiver
//	Isend ──── header: size, id ──────▶ Irecv          CPU engine, under the tag of the message: it does the matching
//	           ◀──── grant: id ──────── its turn       CPU engine, under a tag of our own; a refusal if the sizes differ
//	host ▶ device ══ ncclSend ═══════▶ device ▶ host   NCCL, in chunks of 4 MiB, two of them under way
//	           ◀──── done: id ───────── has it all
//
// A rank receives one big message at a time and sends one at a time, each in a thread and a CUDA stream of its own. It grants a message
// only when its turn has come. So whatever the order in which ranks start things, a message that was granted waits for nothing but
// sends that were granted too: there is no cycle.
//
// Two ranks have a communicator for each direction, made at the first big message; its unique id comes with the grant. Communicators do
// not block: NCCL is polled, and a peer that leaves or an abort, which the CPU engine tells, ends what is under way by ncclCommAbort.
// What NCCL itself reports (a lost link, a dead process) aborts the job, with the rank, the peer, the tag and NCCL's words.
//
// # Limits
//
// Messages start and end in host memory, through page-locked buffers: 8 MiB for each direction, and as much on the device. A rank needs
// a GPU of its own, since NCCL wants that. The engine is no dist.Witness: a watchdog names the peer, not the end of the chain. Where the
// CPU engine cannot tell a sender of another size (MPI), a big send that meets a small receive waits until the job is aborted.
package nccl
