package metrics

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// record writes n steps, with an evaluation after every second one.
func record(t *testing.T, path string, from, to, after int) {
	t.Helper()
	r, err := Open(path, after)
	if err != nil {
		t.Fatal(err)
	}
	for i := from; i <= to; i++ {
		if err := r.Step(Step{Step: i, Loss: 1 / float64(i)}); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := r.Eval(Eval{Step: i, EvalLoss: 2 / float64(i)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestLinesHaveTheKeysOfTheContract(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	r, err := Open(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	step := Step{Step: 1, Loss: 2.31, GradNorm: 0.81, LearningRate: 2e-5, Tokens: 16384, TokensPerSecond: 1024, RingWait: 0.02, Epoch: 0.5, Seconds: 16, GFlops: 190.5, MemoryBytes: 1 << 20,
		PeakMemoryBytes: 1 << 21}
	if err := r.Step(step); err != nil {
		t.Fatal(err)
	}
	// The line is in the file before Close: readers follow a run.
	want := `{"step":1,"loss":2.31,"grad_norm":0.81,"learning_rate":0.00002,"tokens":16384,"tokens_per_second":1024,"ring_wait":0.02,` +
		`"epoch":0.5,"seconds":16,"gflops":190.5,"memory_bytes":1048576,"peak_memory_bytes":2097152}` + "\n"
	if got := read(t, path); got != want {
		t.Errorf("step line\n%s want\n%s", got, want)
	}
	if err := r.Eval(Eval{Step: 1, EvalLoss: 1.5, Tokens: 12, Seconds: 2}); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimPrefix(read(t, path), want), `{"step":1,"eval_loss":1.5,"eval_tokens":12,"eval_seconds":2}`+"\n"; got != want {
		t.Errorf("eval line %q, want %q", got, want)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestResumedRunHasEveryStepOnce(t *testing.T) {
	whole, resumed := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	record(t, whole, 1, 8, 0)
	record(t, resumed, 1, 6, 0) // two steps past the checkpoint of step 4
	record(t, resumed, 5, 8, 4)
	if a, b := read(t, whole), read(t, resumed); a != b {
		t.Errorf("uninterrupted\n%sresumed\n%s", a, b)
	}
}

func TestHalfWrittenLastLineIsDropped(t *testing.T) {
	line := `{"step":3,"loss":0.25}`
	for n := 1; n < len(line); n++ {
		path := filepath.Join(t.TempDir(), "m")
		record(t, path, 1, 2, 0)
		want := read(t, path)
		if err := os.WriteFile(path, []byte(want+line[:n]), 0o644); err != nil {
			t.Fatal(err)
		}
		record(t, path, 1, 0, 3)
		if got := read(t, path); got != want {
			t.Fatalf("after a line cut at %d: %q, want %q", n, got, want)
		}
	}
}

func TestWholeLastLineWithoutNewlineIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	if err := os.WriteFile(path, []byte(`{"step":1}`), 0o644); err != nil {
		t.Fatal(err)
	}
	record(t, path, 1, 0, 1)
	if got, want := read(t, path), "{\"step\":1}\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCuttingKeepsTheFileWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	record(t, path, 1, 4, 0)
	open, err := os.Open(path) // a reader from before the cut
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	before := read(t, path)
	if err := os.WriteFile(temporary(path), []byte("of a killed run"), 0o644); err != nil {
		t.Fatal(err)
	}
	record(t, path, 1, 0, 2)
	old := make([]byte, len(before)+1)
	if n, _ := open.Read(old); string(old[:n]) != before {
		t.Errorf("the old file was written in place: %q", old[:n])
	}
	if got := strings.Count(read(t, path), "\n"); got != 3 {
		t.Errorf("%d lines kept, want steps 1 and 2 and an evaluation", got)
	}
	items, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(items) != 1 {
		t.Errorf("temporary files are left: %v, %v", items, err)
	}
}

func TestForeignFileIsRefusedByLine(t *testing.T) {
	for name, second := range map[string]string{"no JSON": "hello", "no step": `{"loss":1}`, "a list": "[1]"} {
		path := filepath.Join(t.TempDir(), "m")
		text := `{"step":1}` + "\n" + second + "\n" + `{"step":2}` + "\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path, 5)
		if err == nil || !strings.Contains(err.Error(), path+": line 2") || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("%s: error %v, want it to name the file, line 2 and the remedy", name, err)
		}
		if read(t, path) != text {
			t.Errorf("%s: the refused file was changed", name)
		}
	}
}

func TestNotFiniteIsAnErrorAndNoLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m")
	r, err := Open(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := r.Step(Step{Step: 7, Loss: math.NaN()}); err == nil || !strings.Contains(err.Error(), "step 7") {
		t.Errorf("error %v, want one that names step 7", err)
	}
	if got := read(t, path); got != "" {
		t.Errorf("the file holds %q", got)
	}
}

func TestClosedFolderIsNamed(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "missing", "m"), 0)
	if err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("error %v, want one that names the folder", err)
	}
	var none *Recorder
	if err := none.Close(); err != nil {
		t.Errorf("closing no recorder: %v", err)
	}
}

func FuzzKeptLinesAreWhole(f *testing.F) {
	f.Add([]byte("{\"step\":1}\n{\"step\":9}\n{\"st"), 3)
	f.Fuzz(func(t *testing.T, text []byte, last int) {
		kept, err := keep(text, last)
		if err != nil {
			return
		}
		for _, line := range strings.SplitAfter(string(kept), "\n") {
			if line != "" && !json.Valid([]byte(line)) {
				t.Errorf("kept %q of %q", line, text)
			}
		}
		if again, err := keep(kept, last); err != nil || string(again) != string(kept) {
			t.Errorf("a second cut gives %q, %v, the first %q", again, err, kept)
		}
	})
}
