//go:build mpi

package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The command is the README's for several hosts. By default it is cut down: RINGGRAD_LONG=1 runs all of it.
func TestFourHostsTrainLongToTheBitsOfOneProcess(t *testing.T) {
	l := inLab(t)
	short := []string{"--set", "max_steps=3", "--set", "sequence_len=2048", "--set", "loss_by_position=false"}
	if os.Getenv("RINGGRAD_LONG") != "" {
		short = nil
	}
	dir, err := os.MkdirTemp(l.folder, "long-")
	if err != nil {
		t.Fatal(err)
	}
	one, four := filepath.Join(dir, "one"), filepath.Join(dir, "four")
	train := func(out string) []string {
		return append([]string{l.train, "--config", "configs/long.yaml", "--set", "output_dir=" + out}, short...)
	}
	alone := train(one)
	cmd := exec.Command(alone[0], alone[1:]...)
	cmd.Dir = l.root
	began := time.Now()
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("one process: %v\n%s", err, text)
	}
	inOne := time.Since(began)
	began = time.Now()
	j := l.start(t, append([]string{filepath.Join(l.root, "deploy/mpirun.sh"), "--net", network, l.hostfile}, train(four)...))
	<-j.ended
	if j.status() != 0 {
		t.Fatalf("four hosts: status %d", j.status())
	}
	inFour := time.Since(began)
	a, b := training{lab: l, out: one}, training{lab: l, out: four}
	first, second := a.outcome(t), b.outcome(t)
	if off := apart(t, first, second); off != 0 || first.weights != second.weights {
		t.Errorf("losses are up to %.1e apart; weights %x and %x", off, first.weights[:4], second.weights[:4])
	}
	steps := len(first.losses)
	t.Logf("configs/long.yaml, %d steps: the last loss is %.6f on four hosts and in one process, all losses and weights bit by bit; %.0f s and %.0f s",
		steps, second.losses[steps], inFour.Seconds(), inOne.Seconds())
}
