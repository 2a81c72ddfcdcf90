// Package supervise keeps a training over several hosts going: it starts the command that launches it, and when that ends
// abnormally starts it again from the last complete checkpoint, on the hosts that answer.
//
//	┌─▶ probe all hosts at once ── fewer than MinHosts ──▶ pause, probe again ── Wait is over ──▶ ends
//	│        │
//	│   hostfile of the first MaxHosts that answer; {hostfile} and {hosts} are filled in
//	│        │
//	│   the command, in a process group of its own ── 0, 2 or 130, or an interrupt ──▶ ends
//	│        │ any other status, a signal, a stall
//	│   what is left of its processes is killed, and their lock of the output folder waited for
//	│        │
//	└── pause ── MaxRestarts restarts in a row without a newer checkpoint ──▶ ends
//
// There is no elastic world: a lost rank ends all ranks (dist's watchdog and the launcher's keep-alive see to that), and the next
// world reads the checkpoint. That is why a restart may have other hosts and another number of them.
//
// The command must take up the newest checkpoint by itself (resume_from_checkpoint: auto). Read finds out whether it does, from the
// flags of the training that stand in it.
//
// An interrupt is passed on once, as SIGUSR1 to the leader of the group alone: mpirun, mpiexec and srun pass that to their ranks, which
// end their step and save. A shell does not pass it on, so a script ends with `exec mpirun ...`. Nothing of the group outlives the command; on
// Linux nothing that inherited its environment does either, as ranks that their launcher gave a group of their own.
package supervise
