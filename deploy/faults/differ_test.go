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
	three := filepath.Join(filepath.Dir(r.out), "three")
	if err := os.WriteFile(three, []byte("flt1\nflt2\nflt3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	command := r.mpirun()
	for i, word := range command {
		if word == r.lab.hostfile {
			command[i] = three
		}
	}
	r.refused(t, command, "context_parallel_size 4", "3 processes")
}
