package hf

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const (
	gemmaKeys = `"model_type": "gemma2", "hidden_size": 24, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 32`
	ossKeys   = `"model_type": "gpt_oss", "hidden_size": 24, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 32, "num_local_experts": 1, "num_experts_per_tok": 1`
)

// TestWindowsFollowTheModelType holds the rules of transformers' config classes.
func TestWindowsFollowTheModelType(t *testing.T) {
	const shape = `, "num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 8`
	for text, want := range map[string][]int{
		`"model_type": "mistral"` + shape:                         {4096, 4096, 4096},
		`"model_type": "mistral", "sliding_window": 7` + shape:    {7, 7, 7},
		`"model_type": "mistral", "sliding_window": null` + shape: nil,
		`"model_type": "mistral", "sliding_window": null, "layer_types": ["full_attention","full_attention","full_attention"]` + shape:                                nil,
		`"model_type": "qwen2", "num_key_value_heads": 8, "sliding_window": 7` + shape:                                                                                nil,
		`"model_type": "qwen2", "num_key_value_heads": 8, "sliding_window": 7, "use_sliding_window": true` + shape:                                                    nil,
		`"model_type": "qwen3", "num_key_value_heads": 8, "sliding_window": 7, "use_sliding_window": true, "max_window_layers": 1` + shape:                            {0, 7, 7},
		`"model_type": "qwen2", "num_key_value_heads": 8, "use_sliding_window": true, "layer_types": ["sliding_attention","full_attention","full_attention"]` + shape: {4096, 0, 0},
		gemmaKeys: {4096, 0, 4096},
		gemmaKeys + `, "sliding_window": 5, "layer_types": ["full_attention","sliding_attention","full_attention"]`: {0, 5, 0},
		gemmaKeys + `, "sliding_window": null, "layer_types": ["full_attention","full_attention","full_attention"]`: nil,
		ossKeys: {128, 0, 128},
	} {
		c := mustParse(t, "{"+text+"}")
		if !slices.Equal(c.Windows, want) {
			t.Errorf("%s: windows %v, want %v", text, c.Windows, want)
		}
		if c.Windows != nil && c.Window(2) != want[2] {
			t.Errorf("%s: window %d of layer 2, want %d", text, c.Window(2), want[2])
		}
	}
}

// TestGemma2IsRead with its caps, which null turns off, and its scales.
func TestGemma2IsRead(t *testing.T) {
	c := mustParse(t, "{"+gemmaKeys+`, "query_pre_attn_scalar": 16, "final_logit_softcapping": null, "hidden_act": "gelu"}`)
	if c.SoftmaxScale != 0.25 || c.AttentionSoftcap != 50 || c.LogitSoftcap != 0 || c.Gate != GeGLU || !c.ZeroCenteredNorms || !c.SandwichNorms || !c.TieWordEmbeddings {
		t.Errorf("read %+v", c)
	}
	if c.EmbeddingScale != float64(float32(4.898979485566356)) {
		t.Errorf("the embedding is scaled by %v, want √24", c.EmbeddingScale)
	}
	names := namesOf(c)
	for _, want := range []string{"model.layers.2.pre_feedforward_layernorm.weight", "model.layers.2.post_feedforward_layernorm.weight"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in %v", want, names)
		}
	}
}

// TestPaddingFollowsTheModelType: null is none even where the type has some.
func TestPaddingFollowsTheModelType(t *testing.T) {
	for text, want := range map[string]int{
		gemmaKeys: 0, gemmaKeys + `, "pad_token_id": null`: -1, gemmaKeys + `, "pad_token_id": 3`: 3, ossKeys: -1, ossKeys + `, "pad_token_id": -1`: -1,
	} {
		if c := mustParse(t, "{"+text+"}"); c.Pad != want {
			t.Errorf("%s: padding %d, want %d", text, c.Pad, want)
		}
	}
}

// TestGPTOSSIsRead with the names and shapes of its expert.
func TestGPTOSSIsRead(t *testing.T) {
	c := mustParse(t, "{"+ossKeys+`}`)
	if c.Gate != ClampedSwiGLU || c.GateAlpha != 1.702 || c.GateLimit != 7 || !c.Sinks || !c.QKVBias || !c.OutputBias || c.RMSNormEps != 1e-5 {
		t.Errorf("read %+v", c)
	}
	if want := (RoPE{Type: RoPEYaRN, Theta: 150_000, Factor: 32, BetaFast: 32, BetaSlow: 1, NoTruncate: true, OriginalMaxPositions: 4096}); c.RoPE != want {
		t.Errorf("RoPE %+v, want %+v", c.RoPE, want)
	}
	shapes := map[string][]int{}
	for _, p := range c.LayerParameters(0) {
		shapes[strings.TrimPrefix(p.Name, "model.layers.0.")] = p.Shape
	}
	for name, want := range map[string][]int{
		"self_attn.sinks": {4}, "self_attn.o_proj.bias": {24}, "mlp.router.weight": {1, 24}, "mlp.router.bias": {1}, "mlp.experts.gate_up_proj": {1, 24, 24},
		"mlp.experts.gate_up_proj_bias": {1, 24}, "mlp.experts.down_proj": {1, 12, 24}, "mlp.experts.down_proj_bias": {1, 24},
	} {
		if !slices.Equal(shapes[name], want) {
			t.Errorf("%s has shape %v, want %v", name, shapes[name], want)
		}
	}
}

func namesOf(c Config) (names []string) {
	for _, p := range c.Parameters() {
		names = append(names, p.Name)
	}
	return names
}

// TestUnsupportedOptionsOfFamiliesAreRefusedByName wants key, value and remedy.
func TestUnsupportedOptionsOfFamiliesAreRefusedByName(t *testing.T) {
	oss := strings.Replace(ossKeys, `, "num_local_experts": 1, "num_experts_per_tok": 1`, "", 1)
	for text, want := range map[string]string{
		oss + `, "num_local_experts": 32`: `num_local_experts 32 is not supported: mixtures of experts are not, only 1 expert`,
		oss:                               `num_local_experts 128 is not supported`,
		oss + `, "num_local_experts": 1`:  `num_experts_per_tok 4 is more than num_local_experts 1; set it to 1`,
		ossKeys + `, "output_router_logits": true`:                                                                      `output_router_logits true`,
		ossKeys + `, "swiglu_limit": 0`:                                                                                 `swiglu_limit is 0; it must be positive`,
		ossKeys + `, "sliding_window": null`:                                                                            `sliding_window is null, but layer 0 is of type sliding_attention`,
		ossKeys + `, "hidden_act": "gelu"`:                                                                              `hidden_act "gelu" is not supported; only silu is`,
		gemmaKeys + `, "hidden_activation": "gelu"`:                                                                     `hidden_activation "gelu" is not supported; only gelu_pytorch_tanh is`,
		gemmaKeys + `, "attn_logit_softcapping": 0`:                                                                     `attn_logit_softcapping is 0; it must be positive, or null`,
		gemmaKeys + `, "final_logit_softcapping": "x"`:                                                                  `final_logit_softcapping is "x"; it must be a finite number`,
		gemmaKeys + `, "query_pre_attn_scalar": -1`:                                                                     `query_pre_attn_scalar is -1; it must lie between 1`,
		gemmaKeys + `, "use_bidirectional_attention": true`:                                                             `use_bidirectional_attention true`,
		gemmaKeys + `, "layer_types": ["full_attention"]`:                                                               `layer_types names 1 layers, but num_hidden_layers is 3`,
		gemmaKeys + `, "sliding_window": 0`:                                                                             `sliding_window is 0; it must lie between 1`,
		`"model_type": "mistral", "num_hidden_layers": 1, "layer_types": ["full_attention"]`:                            `layer_types[0] "full_attention" is not supported by model_type mistral`,
		`"model_type": "llama", "num_hidden_layers": 1, "layer_types": ["sliding_attention"]`:                           `layer_types[0] "sliding_attention" is not supported by model_type llama`,
		`"model_type": "mistral", "num_hidden_layers": 1, "sliding_window": null, "layer_types": ["sliding_attention"]`: `layer_types[0] "sliding_attention" is not supported by model_type mistral`,
	} {
		if _, err := parseConfig("config.json", []byte("{"+text+"}")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}

// TestFamiliesAreWrittenCompletely reads back what a model from scratch writes.
func TestFamiliesAreWrittenCompletely(t *testing.T) {
	const shape = `"hidden_size": 64, "num_attention_heads": 8, "num_key_value_heads": 8, "num_hidden_layers": 2, `
	for _, text := range []string{
		gemmaKeys, gemmaKeys + `, "attn_logit_softcapping": null, "sliding_window": 6`, ossKeys, ossKeys + `, "swiglu_limit": 5, "attention_bias": false`,
		shape + `"model_type": "mistral"`, shape + `"model_type": "mistral", "sliding_window": null`,
		shape + `"model_type": "qwen2", "use_sliding_window": true, "max_window_layers": 1`,
	} {
		o, err := parseObject([]byte("{" + text + "}"))
		if err != nil {
			t.Fatal(err)
		}
		c := mustParse(t, "{"+text+"}")
		c.raw = o
		c.complete()
		written, err := c.JSON()
		if err != nil {
			t.Fatal(err)
		}
		again := mustParse(t, string(written))
		again.raw, c.raw = nil, nil
		if !reflect.DeepEqual(again, c) {
			t.Errorf("%s\nwrote %+v\n read %+v\n%s", text, c, again, written)
		}
	}
}

// TestFloatsAreWrittenAsFloats, or transformers refuses the folder.
func TestFloatsAreWrittenAsFloats(t *testing.T) {
	c, err := ConfigFromMap(map[string]any{"model_type": "gemma2", "final_logit_softcapping": 3, "attn_logit_softcapping": nil})
	if err != nil {
		t.Fatal(err)
	}
	text, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"final_logit_softcapping": 3.0`, `"attn_logit_softcapping": null`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
}

// TestFamiliesAreSavedBitForBit writes tensors of every name and shape and reads them back.
func TestFamiliesAreSavedBitForBit(t *testing.T) {
	for _, text := range []string{gemmaKeys, ossKeys} {
		c := mustParse(t, "{"+text+"}")
		var tensors []Tensor
		for i, p := range c.Parameters() {
			data := make([]float32, p.Len())
			for j := range data {
				data[j] = float32(i) + 1/float32(j+3)
			}
			tensors = append(tensors, Tensor{p.Name, p.Shape, data})
		}
		dir := filepath.Join(t.TempDir(), "out")
		if err := Save(dir, Folder{Config: c, Tensors: tensors}); err != nil {
			t.Fatal(err)
		}
		again, err := ReadConfig(dir)
		if err != nil {
			t.Fatal(err)
		}
		got, err := LoadWeights(dir, again)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range tensors {
			if !reflect.DeepEqual(got[want.Name], want) {
				t.Errorf("%s came back otherwise", want.Name)
			}
		}
	}
}
