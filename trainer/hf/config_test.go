package hf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
)

func mustParse(t testing.TB, text string) Config {
	t.Helper()
	c, err := parseConfig("config.json", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestDefaultsDependOnTheModelType holds the defaults of transformers 5.23's config classes.
func TestDefaultsDependOnTheModelType(t *testing.T) {
	for _, tt := range []struct {
		text string
		want Config
	}{
		{`{"model_type": "llama"}`, Config{ModelType: "llama", Architecture: "LlamaForCausalLM", IntermediateSize: 11_008, NumKVHeads: 32, HeadDim: 128, VocabSize: 32_000, MaxPositionEmbeddings: 2048, BOS: 1, EOS: []int{2}}},
		{`{"architectures": ["Qwen2ForCausalLM"]}`, Config{ModelType: "qwen2", Architecture: "Qwen2ForCausalLM", IntermediateSize: 22_016, NumKVHeads: 32, HeadDim: 128, VocabSize: 151_936, MaxPositionEmbeddings: 32_768, QKVBias: true, BOS: -1}},
		{`{"model_type": "mistral"}`, Config{ModelType: "mistral", Architecture: "MistralForCausalLM", IntermediateSize: 14_336, NumKVHeads: 8, HeadDim: 128, VocabSize: 32_000, MaxPositionEmbeddings: 131_072, BOS: 1, EOS: []int{2}, Windows: slices.Repeat([]int{4096}, 32)}},
		{`{"model_type": "qwen3"}`, Config{ModelType: "qwen3", Architecture: "Qwen3ForCausalLM", IntermediateSize: 22_016, NumKVHeads: 32, HeadDim: 128, VocabSize: 151_936, MaxPositionEmbeddings: 32_768, QKNorm: true, BOS: -1}},
	} {
		want := tt.want
		want.HiddenSize, want.NumLayers, want.NumHeads = 4096, 32, 32
		want.RMSNormEps, want.InitializerRange = 1e-6, 0.02
		want.RoPE = RoPE{Type: RoPEDefault, Theta: 10_000}
		want.Pad = -1
		got := mustParse(t, tt.text)
		got.raw = nil
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%s", tt.text, fmt.Sprintf("got  %+v\nwant %+v", got, want))
		}
	}
}

// TestHeadsFollowTheModelType covers what an absent and a null num_key_value_heads or head_dim mean.
func TestHeadsFollowTheModelType(t *testing.T) {
	for text, want := range map[string][2]int{ // KV heads, head dim
		`{"model_type": "llama", "hidden_size": 96, "num_attention_heads": 6}`:                                                {6, 16},
		`{"model_type": "llama", "hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": null, "head_dim": null}`: {6, 16},
		`{"model_type": "qwen2", "hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": null}`:                   {6, 16},
		`{"model_type": "qwen2", "hidden_size": 96, "num_attention_heads": 64}`:                                               {32, 0},
		`{"model_type": "qwen2", "hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 32}`:      {2, 32},
		`{"model_type": "qwen3", "hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 1}`:                      {1, 128},
		`{"model_type": "llama", "hidden_size": 96, "num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": 10}`:      {5, 10},
	} {
		if want[1] == 0 { // 96 is no multiple of 64
			if _, err := parseConfig("config.json", []byte(text)); err == nil {
				t.Errorf("%s: no error", text)
			}
			continue
		}
		c := mustParse(t, text)
		if c.NumKVHeads != want[0] || c.HeadDim != want[1] {
			t.Errorf("%s: %d KV heads of %d, want %v", text, c.NumKVHeads, c.HeadDim, want)
		}
	}
}

// TestBiasesFollowTheModelType lists the parameters that options add.
func TestBiasesFollowTheModelType(t *testing.T) {
	for text, want := range map[string]string{
		`"model_type": "llama"`:                                        "",
		`"model_type": "llama", "attention_bias": true`:                "q_proj.bias k_proj.bias v_proj.bias o_proj.bias",
		`"model_type": "llama", "mlp_bias": true`:                      "gate_proj.bias up_proj.bias down_proj.bias",
		`"model_type": "qwen2", "attention_bias": false`:               "q_proj.bias k_proj.bias v_proj.bias",
		`"model_type": "qwen3", "head_dim": 8`:                         "q_norm.weight k_norm.weight",
		`"model_type": "qwen3", "head_dim": 8, "attention_bias": true`: "q_proj.bias k_proj.bias v_proj.bias q_norm.weight k_norm.weight o_proj.bias",
	} {
		c := mustParse(t, `{"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "num_hidden_layers": 1, "vocab_size": 11, `+text+`}`)
		var extra []string
		for _, p := range c.LayerParameters(0) {
			if strings.HasSuffix(p.Name, ".bias") || strings.HasSuffix(p.Name, "_norm.weight") {
				parts := strings.Split(p.Name, ".")
				extra = append(extra, strings.Join(parts[len(parts)-2:], "."))
			}
		}
		if got := strings.Join(extra, " "); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestUnsupportedOptionsAreRefusedByName wants the option, its value and a remedy in each message.
func TestUnsupportedOptionsAreRefusedByName(t *testing.T) {
	const llama = `"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4`
	const qwen = `"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2`
	for text, want := range map[string]string{
		`{"model_type": "mixtral", "num_local_experts": 8}`:                            `"mixtral") with num_local_experts 8`,
		`{"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}`: `"LlamaForSequenceClassification"`,
		`{"model_type": "qwen2", "architectures": ["LlamaForCausalLM"]}`:               `model_type "qwen2" does not fit`,
		`{"architectures": ["LlamaForCausalLM", "X"]}`:                                 `2 classes`,
		`{}`:                                    `model_type is missing`,
		`[1]`:                                   `JSON object`,
		`{"model_type": "llama"} x`:             `follows`,
		`{"model_type": "llama"`:                `repair the JSON`,
		`{"model_type": 3}`:                     `model_type is 3; it must be a string`,
		`{` + llama + `, "hidden_act": "gelu"}`: `hidden_act "gelu" is not supported; only silu`,
		`{` + llama + `, "attention_dropout": 1.0}`:                                                                                                         `attention_dropout 1`,
		`{` + llama + `, "sliding_window": 4096}`:                                                                                                           `sliding_window 4096`,
		`{` + llama + `, "num_experts": 4}`:                                                                                                                 `num_experts 4`,
		`{` + llama + `, "quantization_config": {"quant_method": "gptq"}}`:                                                                                  `quantization_config ({"quant_method": "gptq"})`,
		`{` + llama + `, "partial_rotary_factor": 0.5}`:                                                                                                     `partial_rotary_factor 0.5`,
		`{` + llama + `, "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}`:                                                        `partial_rotary_factor 0.5`,
		`{` + llama + `, "rope_scaling": {"type": "dynamic", "factor": 2.0}}`:                                                                               `RoPE type "dynamic"`,
		`{` + llama + `, "rope_scaling": {"rope_type": "longrope", "short_factor": [1], "factor": 2}}`:                                                      `short_factor ([1]) is not supported`,
		`{` + llama + `, "rope_parameters": {"full_attention": {"rope_type": "default"}}}`:                                                                  `full_attention`,
		`{` + llama + `, "rope_scaling": {"type": "linear"}}`:                                                                                               `factor is missing`,
		`{` + llama + `, "rope_scaling": {"type": "linear", "factor": -1}}`:                                                                                 `factor is -1`,
		`{` + llama + `, "rope_scaling": {"rope_type": "llama3", "factor": 2}}`:                                                                             `low_freq_factor is missing`,
		`{` + llama + `, "rope_scaling": {"rope_type": "yarn", "factor": 2, "attention_factor": -1}}`:                                                       `attention_factor is -1`,
		`{` + llama + `, "rope_scaling": {"rope_type": "yarn", "factor": 2, "beta_fast": 1, "beta_slow": 2}}`:                                               `beta_fast 1 and beta_slow 2`,
		`{` + llama + `, "original_max_position_embeddings": 5, "rope_scaling": {"rope_type": "yarn", "factor": 2, "original_max_position_embeddings": 6}}`: `is 5 here and 6 within`,
		`{` + llama + `, "rope_scaling": 4}`:                                                                                                                `rope_scaling: it must hold a JSON object`,
		`{` + llama + `, "rope_theta": 0}`:                                                                                                                  `rope_theta is 0`,
		`{` + llama + `, "num_key_value_heads": 3}`:                                                                                                         `num_attention_heads 4 is not a multiple of num_key_value_heads 3`,
		`{` + llama + `, "head_dim": 7}`:                                                                                                                    `head_dim 7 is odd`,
		`{` + llama + `, "vocab_size": 0}`:                                                                                                                  `vocab_size is 0; it must lie between 1`,
		`{` + llama + `, "vocab_size": 12.5}`:                                                                                                               `vocab_size is 12.5; it must be a whole number`,
		`{` + llama + `, "vocab_size": 5, "eos_token_id": [2, 7]}`:                                                                                          `token id 7`,
		`{` + llama + `, "rms_norm_eps": "x"}`:                                                                                                              `rms_norm_eps is "x"; it must be a finite number`,
		`{` + llama + `, "tie_word_embeddings": 1}`:                                                                                                         `tie_word_embeddings is 1; it must be true or false`,
		`{"model_type": "llama", "hidden_size": 65, "num_attention_heads": 4}`:                                                                              `hidden_size 65 is not a multiple`,
		`{` + qwen + `, "layer_types": ["full_attention", "sliding_attention"]}`:                                                                            `layer_types[1] "sliding_attention" needs a window; set use_sliding_window`,
		`{` + qwen + `, "layer_types": ["full_attention", "chunked_attention"]}`:                                                                            `layer_types[1] "chunked_attention"`,
		`{` + qwen + `, "layer_types": ["full_attention"]}`:                                                                                                 `layer_types names 1 layers`,
	} {
		_, err := parseConfig("config.json", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "hf: config.json: ") {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestHarmlessOptionsAreAccepted lists what transformers ignores or what is not in force.
func TestHarmlessOptionsAreAccepted(t *testing.T) {
	for _, text := range []string{
		`"model_type": "qwen2", "use_sliding_window": true, "sliding_window": null`,
		`"model_type": "qwen2", "use_sliding_window": true, "max_window_layers": 2`,
		`"model_type": "qwen2", "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 0`,
		`"model_type": "qwen3", "layer_types": ["full_attention", "full_attention"]`,
		`"model_type": "llama", "pretraining_tp": 1, "made_up": {"a": [1, 2]}, "sliding_window": null`,
		`"model_type": "llama", "rope_scaling": {"type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096, "finetuned": true}`,
		`"model_type": "llama", "partial_rotary_factor": 1.0, "quantization_config": null, "attention_dropout": 0.1`,
	} {
		mustParse(t, `{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, `+text+`}`)
	}
}

// TestAllProblemsAreToldAtOnce joins independent mistakes.
func TestAllProblemsAreToldAtOnce(t *testing.T) {
	_, err := parseConfig("config.json", []byte(`{"model_type": "llama", "hidden_act": "relu", "attention_dropout": -0.5, "vocab_size": -1, "rope_scaling": {"type": "ntk"}}`))
	for _, want := range []string{"hidden_act", "attention_dropout", "vocab_size", `"ntk"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
}

// TestUnchangedConfigIsWrittenBackAsItWas compares member by member, in order.
func TestUnchangedConfigIsWrittenBackAsItWas(t *testing.T) {
	for _, folder := range []string{"hf/llama", "hf/yarn_rope", "hf/qwen3", "stories260k"} {
		dir := realdata.Path(t, folder)
		before, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ReadConfig(dir)
		if err != nil {
			t.Fatal(err)
		}
		after, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		if err := json.Indent(&want, before, "", "  "); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSpace(want.String()), strings.TrimSpace(string(after))); diff != "" {
			t.Errorf("%s changed:\n%s", folder, diff)
		}
	}
}

// TestWritingChangesOnlyWhatTrainingChanged keeps spelling, order and foreign members.
func TestWritingChangesOnlyWhatTrainingChanged(t *testing.T) {
	c := mustParse(t, `{"zeta": 1, "model_type": "llama", "hidden_size": 64, "rope_theta": 10000.0, "num_attention_heads": 4, "torch_dtype": "bfloat16", "max_position_embeddings": 512, "rope_scaling": null, "alpha": [1]}`)
	if err := c.SetRoPE(RoPE{Type: RoPEYaRN, Theta: 20_000, Factor: 8}); err != nil {
		t.Fatal(err)
	}
	c.SetMaxPositions(4096)
	c.DType = Float32
	got, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "zeta": 1,
  "model_type": "llama",
  "hidden_size": 64,
  "rope_theta": 20000.0,
  "num_attention_heads": 4,
  "torch_dtype": "float32",
  "max_position_embeddings": 4096,
  "rope_scaling": {
    "rope_type": "yarn",
    "factor": 8.0,
    "original_max_position_embeddings": 512
  },
  "alpha": [
    1
  ]
}
`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// TestStretchingKeepsAnImpliedOriginalLength pins the length that a yarn without original_max_position_embeddings was made for.
func TestStretchingKeepsAnImpliedOriginalLength(t *testing.T) {
	c := mustParse(t, `{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 512, "rope_scaling": {"type": "yarn", "factor": 4.0}}`)
	c.SetMaxPositions(2048)
	text, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if again := mustParse(t, string(text)); again.RoPE != c.RoPE {
		t.Errorf("wrote %+v, read %+v", c.RoPE, again.RoPE)
	}
}

// TestModelFromScratchIsComplete writes every size out, so that no reader's defaults matter.
func TestModelFromScratchIsComplete(t *testing.T) {
	c, err := ConfigFromMap(map[string]any{"model_type": "llama", "hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1,
		"intermediate_size": 384, "num_hidden_layers": 6, "vocab_size": 260, "max_position_embeddings": 512, "tie_word_embeddings": true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"LlamaForCausalLM"`, `"head_dim": 64`, `"rms_norm_eps": 1e-06`, `"rope_theta": 10000.0`, `"hidden_act": "silu"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	again := mustParse(t, string(text))
	again.raw, c.raw = nil, nil
	if !reflect.DeepEqual(again, c) {
		t.Errorf("wrote %+v, read %+v", c, again)
	}
	if _, err := ConfigFromMap(map[string]any{"model_type": "gpt2"}); err == nil || !strings.Contains(err.Error(), `hf: model: architecture "gpt2"`) {
		t.Errorf("gpt2: %v", err)
	}
}

// TestMissingFolderIsNamed tells what to give instead.
func TestMissingFolderIsNamed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nothing")
	if _, err := ReadConfig(dir); err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "model folder") {
		t.Error(err)
	}
}

// FuzzConfig wants every accepted config to survive being written and read.
func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		`{"model_type": "llama"}`,
		`{"architectures": ["Qwen3ForCausalLM"], "rope_parameters": {"rope_type": "yarn", "factor": null, "original_max_position_embeddings": 7}}`,
		`{"model_type": "llama", "rope_theta": 5e5, "rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}, "eos_token_id": [1, 2]}`,
		`{"model_type": "qwen2", "layer_types": ["full_attention"], "num_hidden_layers": 1, "x": {"y": [1, {"z": null}]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig("config.json", data)
		if err != nil {
			return
		}
		c.SetMaxPositions(c.MaxPositionEmbeddings + 1)
		text, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseConfig("config.json", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if again.RoPE.normal(1) != c.RoPE.normal(1) || again.MaxPositionEmbeddings != c.MaxPositionEmbeddings {
			t.Fatalf("wrote %+v, read %+v", c, again)
		}
	})
}
