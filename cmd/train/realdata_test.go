package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// realData returns a path below the folder of real models and texts, which is not in the repository.
func realData(t *testing.T, elements ...string) string {
	t.Helper()
	name := filepath.Join(elements...)
	for _, root := range []string{os.Getenv("RINGGRAD_DATA"), filepath.Join("..", "..", "..", "shared", "data")} {
		if _, err := os.Stat(filepath.Join(root, name)); root != "" && err == nil {
			return filepath.Join(root, name)
		}
	}
	t.Skipf("SKIPPED: %s is neither under RINGGRAD_DATA nor under ../shared/data; this test compares with what other programs computed", name)
	return ""
}

func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// answer runs a command with --json and reads what it says.
func answer(t *testing.T, into any, args ...string) {
	t.Helper()
	status, stdout, stderr := command(t, append(args, "--json")...)
	if status != 0 {
		t.Fatalf("%v: status %d: %s", args, status, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), into); err != nil {
		t.Fatalf("%v: %v in %s", args, err, stdout)
	}
}

// TestEvalEqualsTransformers compares the losses of five speeches on a pretrained model, over a ring of three.
func TestEvalEqualsTransformers(t *testing.T) {
	folder, speeches := realData(t, "stories260k"), realData(t, "inaugural.jsonl")
	var reference struct {
		Documents []struct {
			Tokens int     `json:"tokens"`
			Loss   float64 `json:"mean_nll"`
		} `json:"eval_first_512_tokens_incl_bos"`
	}
	readJSON(t, filepath.Join(folder, "reference.json"), &reference)
	all, err := os.ReadFile(speeches)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Join(strings.SplitAfter(string(all), "\n")[:len(reference.Documents)], "")
	path := filepath.Join(t.TempDir(), "first.jsonl")
	if err := os.WriteFile(path, []byte(first), 0o644); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Documents []struct {
			Loss float64 `json:"loss"`
		} `json:"documents"`
	}
	answer(t, &got, "eval", "--model", folder, "--data", path, "--set", "sequence_len=512",
		"--set", "excess_length_strategy=truncate", "--set", "context_parallel_size=3")
	if len(got.Documents) != len(reference.Documents) || len(got.Documents) == 0 {
		t.Fatalf("%d documents, want %d", len(got.Documents), len(reference.Documents))
	}
	for i, want := range reference.Documents {
		if !(math.Abs(got.Documents[i].Loss-want.Loss) <= 1e-5) {
			t.Errorf("document %d: loss %.7f, want %.7f", i, got.Documents[i].Loss, want.Loss)
		}
	}
}

// TestGenerateTellsTheKnownStory from the empty prompt, greedily.
func TestGenerateTellsTheKnownStory(t *testing.T) {
	status, stdout, stderr := command(t, "generate", "--model", realData(t, "stories260k"), "--prompt", "", "--max-new-tokens", "200")
	const story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. " +
		"She wanted to play with it, but it was too high.\nLily's mom said, \"Lily, let's go to the park.\" " +
		"Lily was sad and didn't know what to do. She said, \"I want to play with your ball, but I can't find it.\"\n"
	if status != 0 || stderr != "" || !strings.HasPrefix(stdout, story) {
		t.Errorf("status %d, stderr %q, stdout\n%s\nwant it to begin\n%s", status, stderr, stdout, story)
	}
}

// TestTokenizeEqualsTokenizers on twenty strings.
func TestTokenizeEqualsTokenizers(t *testing.T) {
	folder := realData(t, "stories260k")
	var golden []struct {
		Text string  `json:"text"`
		IDs  []int32 `json:"ids"`
	}
	readJSON(t, filepath.Join(folder, "golden.json"), &golden)
	var lines strings.Builder
	for _, g := range golden {
		if err := json.NewEncoder(&lines).Encode(map[string]string{"text": g.Text}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "texts.jsonl")
	if err := os.WriteFile(path, []byte(lines.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	var got struct{ Documents []tokenized }
	answer(t, &got, "tokenize", "--model", folder, "--data", path)
	for i, g := range golden {
		if !slices.Equal(got.Documents[i].IDs, g.IDs) || len(got.Documents[i].Pieces) != len(g.IDs) {
			t.Errorf("%q: ids %v, want %v", g.Text, got.Documents[i].IDs, g.IDs)
		}
	}
}

// TestMasksOfOthersAgree in a double ring through which queries travel.
func TestMasksOfOthersAgree(t *testing.T) {
	var report struct {
		OK    bool  `json:"ok"`
		Cases []any `json:"cases"`
	}
	answer(t, &report, "gradcheck", "--golden", realData(t, "golden", "m10_everything.safetensors"), "--ring", "4", "--layout", "balanced", "--travel", "q", "--inner-ring", "1,2")
	if !report.OK || len(report.Cases) != 2 {
		t.Errorf("%+v", report)
	}
}

// TestModelEqualsTransformers checks one folder the way `train gradcheck --model` does.
func TestModelEqualsTransformers(t *testing.T) {
	dir := realData(t, "hf", "qwen3")
	var report struct {
		OK     bool
		Models []struct {
			Model  string
			Ring   int
			Layout string
			DType  string
			OK     bool
			MaxRel map[string]float64 `json:"max_rel"`
		}
	}
	answer(t, &report, "gradcheck", "--model", dir, "--ring", "1,3", "--layout", "zigzag", "--dtype", "float32")
	if !report.OK || len(report.Models) != 2 {
		t.Fatalf("%+v", report)
	}
	for _, m := range report.Models {
		for name, rel := range m.MaxRel {
			if !(rel <= 2e-5) {
				t.Errorf("ring %d: %s is off by %.1e", m.Ring, name, rel)
			}
		}
	}
}
