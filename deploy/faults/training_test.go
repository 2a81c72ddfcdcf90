//go:build mpi

package faults

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/checkpoint"
)

// runFile is a config of a small model whose steps take some 50 ms on hosts, with a checkpoint every few of them.
const runFile = `
model: {model_type: llama, hidden_size: 64, intermediate_size: 128, num_hidden_layers: 2, num_attention_heads: 2,
  num_key_value_heads: 1, vocab_size: 256, max_position_embeddings: 512, tie_word_embeddings: true}
tokenizer_config: ROOT/testdata/bytes
datasets: [{path: DATA}]
val_set_size: 0.1
concatenate: true
sequence_len: 512
context_parallel_size: 4
max_steps: 40
learning_rate: 1e-3
eval_steps: 40
eval_batches: 2
save_steps: 5
save_total_limit: 3
ring_timeout: 20s
output_dir: OUT
`

// training is a run: its config, and where it writes.
type training struct {
	lab    *laboratory
	config string
	data   string
	out    string
	sets   []string // "key=value"
}

// newTraining makes the config in a folder of its own, and the data.
func newTraining(t *testing.T, sets ...string) training {
	t.Helper()
	l := inLab(t)
	dir, err := os.MkdirTemp(l.folder, "run-")
	if err != nil {
		t.Fatal(err)
	}
	r := training{lab: l, config: filepath.Join(dir, "run.yaml"), data: filepath.Join(dir, "data"), out: filepath.Join(dir, "out"), sets: sets}
	text := strings.NewReplacer("ROOT", l.root, "DATA", r.data, "OUT", r.out).Replace(runFile)
	if err := os.WriteFile(r.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	writeData(t, r.data, "")
	return r
}

// writeData writes documents of numbers, every one different, in words that begin with a mark.
func writeData(t *testing.T, dir, mark string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 24 {
		var b bytes.Buffer
		for j := range 400 {
			fmt.Fprintf(&b, "%s%d times %d is %d. ", mark, i+2, j, (i+2)*j)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.txt", i)), b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// command is that of a rank.
func (r training) command(more ...string) []string {
	list := []string{r.lab.train, "--config", r.config}
	for _, s := range r.sets {
		list = append(list, "--set", s)
	}
	return append(list, more...)
}

// mpirun is the command that starts the ranks on all hosts; the command of a rank is given by itself where it is special.
func (r training) mpirun(rank ...string) []string {
	if rank == nil {
		rank = r.command()
	}
	return append([]string{filepath.Join(r.lab.root, "deploy/mpirun.sh"), "--net", network, "--quiet", r.lab.hostfile}, rank...)
}

// supervised is the command of a supervisor on host 1. The hosts are those that a ping reaches. Supervise would find ranks on all hosts
// of this kernel by their environment, as it cannot where hosts are machines: their environment lacks what it looks for.
func (r training) supervised(minHosts int, rank ...string) []string {
	if rank == nil {
		rank = r.command("--set", "resume_from_checkpoint=auto")
	}
	list := []string{
		r.lab.train, "supervise", "--hostfile", r.lab.hostfile, "--min-hosts", fmt.Sprint(minHosts), "--probe", "ping -c 1 -W 1 {host}", "--wait", "30s",
		"--", filepath.Join(r.lab.root, "deploy/mpirun.sh"), "--net", network, "--quiet", "{hostfile}", "env", "-u", "RINGGRAD_SUPERVISED",
	}
	return append(list, rank...)
}

// outcome is what a run leaves.
type outcome struct {
	weights [sha256.Size]byte
	losses  map[int]float64 // by step
}

// line is one of metrics.jsonl.
type line struct {
	Step    int      `json:"step"`
	Loss    *float64 `json:"loss"`
	Seconds float64  `json:"seconds"`
}

// lines reads metrics.jsonl as far as it is written.
func (r training) lines(t *testing.T) []line {
	t.Helper()
	text, _ := os.ReadFile(filepath.Join(r.out, "metrics.jsonl"))
	var list []line
	for part := range bytes.Lines(text) {
		var l line
		if !bytes.HasSuffix(part, []byte("\n")) {
			break // being written
		}
		if err := json.Unmarshal(part, &l); err != nil {
			t.Fatalf("metrics.jsonl: %v: %s", err, part)
		}
		list = append(list, l)
	}
	return list
}

// outcome reads what a finished run has left: every step once, and checkpoints that are whole.
func (r training) outcome(t *testing.T) outcome {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.out, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	o := outcome{weights: sha256.Sum256(text), losses: map[int]float64{}}
	last := 0
	for _, l := range r.lines(t) {
		if l.Loss == nil {
			continue
		}
		if l.Step != last+1 {
			t.Errorf("metrics.jsonl has step %d behind step %d", l.Step, last)
		}
		last = l.Step
		o.losses[l.Step] = *l.Loss
	}
	r.wholeCheckpoints(t)
	return o
}

// wholeCheckpoints verifies all checkpoints, of which there must be one, and refuses what is left of others.
func (r training) wholeCheckpoints(t *testing.T) []checkpoint.Entry {
	t.Helper()
	list, err := checkpoint.List(r.out)
	if err != nil || len(list) == 0 {
		t.Errorf("%d checkpoints (%v), want some", len(list), err)
	}
	for _, entry := range list {
		if err := checkpoint.Verify(entry.Path); err != nil {
			t.Error(err)
		}
	}
	return list
}

// unfinished are the folders of saves that have not ended.
func (r training) unfinished() []string {
	list, _ := filepath.Glob(filepath.Join(r.out, ".tmp-checkpoint-*"))
	return list
}

// undisturbed is the outcome of the same training in one process, whose ranks are goroutines.
func (r training) undisturbed(t *testing.T) outcome {
	t.Helper()
	key := strings.Join(r.sets, " ")
	if o, done := r.lab.solo[key]; done {
		return o
	}
	alone := newTraining(t, r.sets...)
	args := alone.command()
	if text, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("one process: %v\n%s", err, text)
	}
	r.lab.solo[key] = alone.outcome(t)
	return r.lab.solo[key]
}
