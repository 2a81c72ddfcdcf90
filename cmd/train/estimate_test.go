package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const estimatedConfig = `
model: {model_type: llama, hidden_size: 128, intermediate_size: 384, num_hidden_layers: 6, num_attention_heads: 2,
  num_key_value_heads: 1, vocab_size: 256, tie_word_embeddings: true}
tokenizer_config: not-read
datasets: [{path: not-read.jsonl}]
sequence_len: 4096
context_parallel_size: 4
max_steps: 4
output_dir: not-written
`

// command runs one command line.
func command(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = run(args, &out, &err)
	return status, out.String(), err.String()
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEstimatePrintsOneJSONDocument(t *testing.T) {
	status, stdout, stderr := command(t, "estimate", "--config", writeConfig(t, estimatedConfig), "--json", "--gflops", "100", "--set", "context_parallel_size=2")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d, stderr %q", status, stderr)
	}
	var p prediction
	if err := json.Unmarshal([]byte(stdout), &p); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	// One hop, 6 layers, 4,096 tokens of 2·64 floats, three times; 1,214,080 parameters to the other rank and back.
	if want := int64(3*6*4096*128*4 + 2*1214080*4); p.WireBytes != want || p.Run.Ring != 2 {
		t.Errorf("%d bytes on the wire of a ring of %d, want %d of 2", p.WireBytes, p.Run.Ring, want)
	}
	if want := p.Flops.Total / 100e9; math.Abs(p.SecondsPerStep-want) > 1e-9 {
		t.Errorf("%v s a step, want %v", p.SecondsPerStep, want)
	}
}

func TestEstimateMeasuresThisMachine(t *testing.T) {
	status, stdout, stderr := command(t, "estimate", "--config", writeConfig(t, estimatedConfig))
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for line := range strings.Lines(stdout) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > tableWidth {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
	for _, part := range []string{"largest rank", "backward: dK, dV", "attention, backward", "s a step"} {
		if !strings.Contains(stdout, part) {
			t.Errorf("%q is missing in\n%s", part, stdout)
		}
	}
	if strings.Contains(stdout, "about 0.00 s") {
		t.Errorf("no time was estimated:\n%s", stdout)
	}
}

func TestEstimateRefusesWhatItCannotRead(t *testing.T) {
	good := writeConfig(t, estimatedConfig)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no config":        {[]string{"estimate"}, "config"},
		"missing file":     {[]string{"estimate", "--config", "nowhere.yaml"}, "nowhere.yaml"},
		"ring of none":     {[]string{"estimate", "--config", good, "--set", "context_parallel_size=0"}, "context_parallel_size"},
		"missing model":    {[]string{"estimate", "--config", good, "--set", "model=null", "--set", "base_model=nowhere"}, "nowhere"},
		"unknown model":    {[]string{"estimate", "--config", good, "--set", "model.model_type=mixtral"}, "mixtral"},
		"speed of nothing": {[]string{"estimate", "--config", good, "--gflops", "-1"}, "--gflops -1"},
	} {
		t.Run(name, func(t *testing.T) {
			status, stdout, stderr := command(t, c.args...)
			if status != exitUsage || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("status %d, stdout %q, stderr %q: want status 2 and %q", status, stdout, stderr, c.want)
			}
		})
	}
}
