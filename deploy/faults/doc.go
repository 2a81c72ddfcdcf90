// Package faults breaks trainings over several hosts in the middle of a step, and checks what people are promised then.
//
//	host 1 ─┐  network namespaces (../netns), each with a network, a host name and a /tmp of its own
//	host 2 ─┤
//	host 3 ─┼─ switch        train, built with the tag mpi, a rank a host, started by ../mpirun.sh, often under train supervise
//	host 4 ─┘
//
// There are only tests, one or a few for each row of the table in docs/distributed.md, which says what they measured. Each logs its figure:
//
//	go test -tags mpi -v ./deploy/faults
//
// They take root, iproute2, Open MPI and a C compiler, and skip with the reason where something is missing. RINGGRAD_FAULTS is the number
// of faults of the long run (12), RINGGRAD_SEED their seed, and RINGGRAD_LONG=1 runs all of configs/long.yaml. Hosts of one kernel share
// its processes and its disk: leftovers are looked for everywhere, and output_dir lies on a file system that all hosts see.
package faults
