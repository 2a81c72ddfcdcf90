//go:build mpi

package faults

import (
	"syscall"
	"testing"
)

// Either signal goes to mpirun.sh or mpirun, as from a scheduler; the training ends its step, saves and can go on.
func TestASignalSavesAndTheRunGoesOnWithTheSameBits(t *testing.T) {
	for _, sent := range []struct {
		name   string
		signal syscall.Signal
		to     func(j *job, r training)
	}{
		{"SIGTERM to mpirun.sh", syscall.SIGTERM, func(j *job, _ training) { j.send(syscall.SIGTERM) }},
		{"SIGUSR1 to mpirun", syscall.SIGUSR1, func(_ *job, r training) { r.lab.the(t, 1, isMpirun).send(syscall.SIGUSR1) }},
	} {
		t.Run(sent.name, func(t *testing.T) {
			r := newTraining(t)
			j := r.lab.start(t, r.mpirun())
			j.inStep(r, 12)
			sent.to(j, r)
			status, took := j.ends(slow)
			if status != 130 {
				t.Errorf("status %d, want 130", status)
			}
			list := r.wholeCheckpoints(t)
			saved := list[len(list)-1].Step
			if saved < 12 || saved != r.lastStep(t) {
				t.Errorf("the newest checkpoint is that of step %d, after step %d", saved, r.lastStep(t))
			}
			r.lab.must(t, 0, r.mpirun(r.command("--resume", "latest")...))
			if r.outcome(t).weights != r.undisturbed(t).weights {
				t.Error("the weights differ from an undisturbed run's")
			}
			t.Logf("%s: saved after step %d and gone after %.1f s, status %d; resumed: same bits", sent.name, saved, took.Seconds(), status)
		})
	}
}
