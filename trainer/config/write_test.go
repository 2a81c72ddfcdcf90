package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// full gives every kind of key a value other than its default.
const full = `
model: {model_type: llama, rope_theta: 10000.0, hidden_size: 8, eos_token_id: [1, 2], tie_word_embeddings: true, rope_scaling: null, name: "on"}
tokenizer_config: "12"
datasets: [{path: "a: b/**/*.go", field: "#x", type: jsonl, invalid_utf8: skip, min_document_tokens: 4}]
test_datasets: [{path: t.txt}]
rope_theta: 1e6
rope_scaling: {rope_type: llama3, factor: 8.5, original_max_position_embeddings: 64, low_freq_factor: 1, high_freq_factor: 4}
max_grad_norm: 0
ring_timeout: 0s
learning_rate: 3e-5
num_epochs: 1.5
warmup_ratio: 0.05
loss_by_position: true
shuffle_merged_datasets: false
resume_from_checkpoint: auto
seed: 0
`

func TestTheResolvedConfigReadsBackEqual(t *testing.T) {
	texts := map[string]string{"minimal": minimal, "full": full}
	for _, name := range []string{"base.yaml", "long.yaml"} {
		text, err := os.ReadFile(filepath.Join(configs, name))
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	for name, text := range texts {
		before := parse(t, text)
		after := parse(t, string(before.YAML()))
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTheResolvedConfigNamesEveryDefault(t *testing.T) {
	text := string(parse(t, minimal).YAML())
	for _, want := range []string{"sequence_len: 2048\n", "ring_timeout: 10m0s\n", "adam_epsilon: 1e-08\n", "num_epochs: 1.0\n", "output_dir: model-out\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "max_steps") {
		t.Errorf("keys that are not given are written:\n%s", text)
	}
}

func TestJSONHasTheKeysOfYAML(t *testing.T) {
	text, err := json.Marshal(parse(t, full))
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	if m["ring_timeout"] != "0s" || m["rope_theta"] != 1e6 || m["model"].(map[string]any)["hidden_size"] != 8.0 {
		t.Errorf("%s", text)
	}
}

func TestTheSchemaHasEveryKeyWithRangeAndDefault(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		AdditionalProperties bool
		Properties           map[string]struct {
			Type, Description string
			Minimum           *float64
			Enum              []string
			Default           any
		}
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	if n := len(schema.Properties); n != len(keysOf(configType)) || schema.AdditionalProperties {
		t.Errorf("%d properties, others allowed: %v", n, schema.AdditionalProperties)
	}
	size := schema.Properties["context_parallel_size"]
	if size.Type != "integer" || size.Minimum == nil || *size.Minimum != 1 || size.Default != 1.0 || size.Description == "" {
		t.Errorf("context_parallel_size: %+v", size)
	}
	if e := schema.Properties["ring_attn_func"].Enum; strings.Join(e, " ") != "contiguous zigzag striped balanced" {
		t.Errorf("ring_attn_func: %v", e)
	}
	if d := schema.Properties["ring_timeout"]; d.Type != "string" || d.Default != "10m0s" {
		t.Errorf("ring_timeout: %+v", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal), "seed=3")
	f.Add([]byte(full), "rope_scaling.factor=2")
	f.Add([]byte("model: {a: {b: [1, {c: .nan}]}}\n"), "datasets.0.path=x")
	f.Add([]byte("a: &a [*a]\n<<: *a\n"), "model.x.0.y={z: 1}")
	f.Fuzz(func(t *testing.T, text []byte, set string) {
		c, err := Parse("f.yaml", text, []string{set})
		if err != nil {
			if c.OutputDir != "" || !strings.HasPrefix(err.Error(), "config: ") {
				t.Fatalf("%+v with %v", c, err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("Parse allows what Validate does not: %v", err)
		}
		again, err := Parse("again.yaml", c.YAML(), nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, c.YAML())
		}
		if diff := cmp.Diff(c, again); diff != "" {
			t.Fatalf("%s", diff)
		}
	})
}

func ExampleLoad() {
	cfg, err := Load("../../configs/long.yaml", []string{"context_parallel_size=2", "rope_scaling.factor=16"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cfg.SequenceLen, cfg.ContextParallelSize, cfg.RingAttnFunc, cfg.RopeScaling.Factor)
	// Output: 16384 2 zigzag 16
}

func ExampleParse_errors() {
	_, err := Parse("run.yaml", []byte("base_model: m\ncutoff_len: 4096\ndatasets: []\nlearning_rate: fast\n"), []string{"context_parallel_size=0"})
	fmt.Println(err)
	// Output:
	// config: 4 problems
	//   run.yaml:2:1: unknown key "cutoff_len"; here it is called sequence_len
	//   run.yaml:3:11: datasets is empty; give at least one, such as [{path: "data/*.jsonl", field: text}]
	//   run.yaml:4:16: learning_rate must be a number, not the text "fast"
	//   --set context_parallel_size=0: context_parallel_size is 0; it must be at least 1
}
