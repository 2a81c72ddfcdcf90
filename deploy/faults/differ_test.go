//go:build mpi

package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRanksThatDifferAreRefusedAtStart(t *testing.T) {
	for _, c := range []struct {
		name string
		// what returns what a host is to do differently, in the words of a shell
		what func(t *testing.T, r training) string
		want string // to be said
	}{
		{"configs", func(*testing.T, training) string { return `set -- "$@" --set learning_rate=2e-3` }, "config key learning_rate"},
		{"programs", otherProgram, "the program"},
		{"data", otherData, "training data"},
		{"weights", otherWeights, "weights"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newTraining(t)
			script := c.what(t, r)
			r.refused(t, r.mpirun(r.onHost(3, script, r.command())...), c.want, "on "+host(3), "on "+host(1))
		})
	}
}

// refused runs a command, which must end with 2, one error that says all of some words, and no output folder.
func (r training) refused(t *testing.T, command []string, words ...string) {
	t.Helper()
	began := time.Now()
	said := r.lab.must(t, 2, command)
	took := time.Since(began)
	at := strings.Index(said, "train: ")
	if strings.Count(said, "train: ") != 1 {
		t.Errorf("want one error:\n%s", said)
		return
	}
	message, _, _ := strings.Cut(said[at:], "\n")
	for _, word := range words {
		if !strings.Contains(message, word) {
			t.Errorf("%q is not in: %s", word, message)
		}
	}
	if _, err := os.Stat(r.out); err == nil {
		t.Error("output_dir was made")
	}
	t.Logf("refused after %.1f s: %s", took.Seconds(), message)
}

// otherProgram is a copy with some bytes more, which do nothing.
func otherProgram(t *testing.T, r training) string {
	other := filepath.Join(filepath.Dir(r.out), "train-other")
	text, err := os.ReadFile(r.lab.train)
	if err == nil {
		err = os.WriteFile(other, append(text, "more"...), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return `exec ` + other + ` "$@"`
}

func otherData(t *testing.T, r training) string {
	other := filepath.Join(filepath.Dir(r.out), "other")
	writeData(t, other, "about ")
	return "mount --bind " + other + " " + r.data
}

// otherWeights makes the run one of a model folder, which has one other bit on that host.
func otherWeights(t *testing.T, r training) string {
	model, other := filepath.Join(filepath.Dir(r.out), "model"), filepath.Join(filepath.Dir(r.out), "other")
	for _, dir := range []string{model, other} {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(r.lab.root, "configs/base"))); err != nil {
			t.Fatal(err)
		}
	}
	change(t, filepath.Join(other, "model.safetensors"), func(text []byte) []byte {
		text[len(text)-100] ^= 1
		return text
	})
	change(t, r.config, func(text []byte) []byte {
		_, rest, _ := strings.Cut(string(text), "datasets:")
		return []byte("base_model: " + model + "\ndatasets:" + rest)
	})
	return "mount --bind " + other + " " + model
}

func change(t *testing.T, path string, f func([]byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, f(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAProgramWithoutMPIIsRefusedUnderMpirun(t *testing.T) {
	r := newTraining(t)
	plain := filepath.Join(filepath.Dir(r.out), "train")
	if err := r.lab.build(plain, ""); err != nil {
		t.Fatal(err)
	}
	command := r.command()
	command[0] = plain
	r.refused(t, r.mpirun(command...), "the tag mpi")
}

func TestProcessesThatCannotShareTheRanksAreRefused(t *testing.T) {
	r := newTraining(t)
	r.refused(t, r.onFirst(t, 3, r.mpirun()), "context_parallel_size 4", "3 processes")
}

// Where processes have several ranks the ring is a double one by itself; one process is told so.
func TestTwoHostsOfTwoRanksHaveTheBitsOfOneProcess(t *testing.T) {
	r := newTraining(t, "max_steps=10", "ring_inner_size=2")
	said := r.lab.must(t, 0, r.onFirst(t, 2, r.mpirun(r.lab.train, "--config", r.config, "--set", "max_steps=10")))
	if !strings.Contains(said, "inner rings of 2") {
		t.Error("the ring is no double one")
	}
	if r.outcome(t).weights != r.undisturbed(t).weights {
		t.Error("the weights differ from one process's")
	}
	t.Log("two hosts of two ranks: the bits of one process with ring_inner_size 2")
}

// onFirst makes a command use the first n hosts only.
func (r training) onFirst(t *testing.T, n int, command []string) []string {
	t.Helper()
	path := filepath.Join(filepath.Dir(r.out), "hosts")
	text := ""
	for i := range n {
		text += host(i+1) + "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, word := range command {
		if word == r.lab.hostfile {
			command[i] = path
		}
	}
	return command
}
