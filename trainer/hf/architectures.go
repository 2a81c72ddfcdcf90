package hf

import (
	"slices"
	"strings"
)

// architecture is what the model type decides, beyond what config.json says: transformers' defaults and the presence of biases.
type architecture struct {
	name, modelType string

	vocab, intermediate, positions int
	kvHeads, headDim               int // 0: derived from the heads
	bos, eos                       []int

	qkvBias      bool // always biased
	readsBias    bool // attention_bias puts biases on q, k, v and o
	readsMLPBias bool
	qkNorm       bool
}

var architectures = []architecture{
	{name: "LlamaForCausalLM", modelType: "llama", vocab: 32_000, intermediate: 11_008, positions: 2048, bos: []int{1}, eos: []int{2}, readsBias: true, readsMLPBias: true},
	{name: "Qwen2ForCausalLM", modelType: "qwen2", vocab: 151_936, intermediate: 22_016, positions: 32_768, kvHeads: 32, qkvBias: true},
	{name: "Qwen3ForCausalLM", modelType: "qwen3", vocab: 151_936, intermediate: 22_016, positions: 32_768, kvHeads: 32, headDim: 128, readsBias: true, qkNorm: true},
}

func findArchitecture(nameOrType string) (architecture, bool) {
	i := slices.IndexFunc(architectures, func(a architecture) bool { return a.name == nameOrType || a.modelType == nameOrType })
	if i < 0 {
		return architecture{}, false
	}
	return architectures[i], true
}

func supported() string {
	names := make([]string, len(architectures))
	for i, a := range architectures {
		names[i] = a.name + " (model_type " + a.modelType + ")"
	}
	return strings.Join(names, ", ")
}

// architecture finds out which model this is from model_type and architectures, which must agree.
func (f *fields) architecture() (architecture, bool) {
	modelType, names := f.word("model_type", ""), f.words("architectures")
	if len(f.errs) > 0 {
		return architecture{}, false
	}
	if len(names) > 1 {
		f.fail("architectures names %d classes (%s); keep the one that is meant", len(names), strings.Join(names, ", "))
		return architecture{}, false
	}
	key := modelType
	if len(names) == 1 {
		key = names[0]
	}
	if key == "" {
		f.fail("model_type is missing; supported are %s", supported())
		return architecture{}, false
	}
	a, ok := findArchitecture(key)
	switch {
	case !ok:
		f.fail("architecture %q (model_type %q)%s is not supported; use a model of %s", key, modelType, f.extras(), supported())
	case modelType != "" && modelType != a.modelType:
		f.fail("model_type %q does not fit architecture %q; correct one of them", modelType, a.name)
	default:
		return a, true
	}
	return architecture{}, false
}

// extras names what makes an unsupported architecture different, where the config says so.
func (f *fields) extras() string {
	for _, key := range []string{"sliding_window", "num_local_experts", "num_experts", "n_routed_experts", "kv_lora_rank"} {
		if raw, ok := f.o.get(key); ok {
			return " with " + key + " " + excerpt(raw)
		}
	}
	return ""
}

// refuse names every option that changes what the model computes and that is not computed here.
func (f *fields) refuse(c Config) {
	if act := f.word("hidden_act", "silu"); act != "silu" {
		f.fail("hidden_act %q is not supported; only silu is", act)
	}
	if p := f.number("attention_dropout", 0); p != 0 {
		f.fail("attention_dropout %v is not supported; set it to 0", p)
	}
	if raw, ok := f.o.get("quantization_config"); ok {
		f.fail("quantization_config (%s) is not supported; give the model before quantization, in float32, bfloat16 or float16", excerpt(raw))
	}
	for _, key := range []string{"num_local_experts", "num_experts", "n_routed_experts"} {
		if n := f.integer(key, 0, 0, maxSize); n > 0 {
			f.fail("%s %d is not supported: mixtures of experts are not; give a dense model", key, n)
		}
	}
	f.refuseWindow(c)
}

// refuseWindow refuses sliding windows that are in force. Qwen's are in force with use_sliding_window from layer max_window_layers
// on, unless layer_types says which layers have one.
func (f *fields) refuseWindow(c Config) {
	window, has := f.o.get("sliding_window")
	if c.ModelType == "llama" {
		if has {
			f.fail("sliding_window %s is not supported; only full attention is (remove the key if the model was trained without a window)", excerpt(window))
		}
		return
	}
	uses := f.flag("use_sliding_window", false)
	if types := f.words("layer_types"); types != nil {
		f.refuseLayerTypes(c, types)
		return
	}
	if first := f.integer("max_window_layers", 28, 0, maxSize); uses && (has || !f.o.has("sliding_window")) && first < c.NumLayers {
		f.fail("use_sliding_window true with sliding_window %s from layer %d of %d is not supported; only full attention is", excerpt(window), first, c.NumLayers)
	}
}

func (f *fields) refuseLayerTypes(c Config, types []string) {
	if len(types) != c.NumLayers {
		f.fail("layer_types names %d layers, but num_hidden_layers is %d", len(types), c.NumLayers)
	}
	for i, t := range types {
		if t != "full_attention" {
			f.fail("layer_types[%d] %q is not supported; only full_attention is", i, t)
			return
		}
	}
}
