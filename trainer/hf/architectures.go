package hf

import (
	"slices"
	"strings"
)

// architecture is what the model type decides, beyond what config.json says: transformers' defaults and the presence of biases.
type architecture struct {
	name, modelType string

	vocab, intermediate, positions int
	hidden, layers, heads          int // 0: 4096, 32, 32
	kvHeads, headDim               int // 0: derived from the heads
	eps, theta                     float64
	bos, eos, pad                  []int
	tied                           bool

	window  int     // sliding_window; 0: the model has none
	windows pattern // which layers have it

	qkvBias           bool // always biased
	readsBias, biased bool // attention_bias puts biases on q, k, v and o; what it is where it is absent
	readsMLPBias      bool
	qkNorm, sinks     bool
}

var architectures = []architecture{
	{name: "LlamaForCausalLM", modelType: "llama", vocab: 32_000, intermediate: 11_008, positions: 2048, bos: []int{1}, eos: []int{2}, readsBias: true, readsMLPBias: true},
	{name: "MistralForCausalLM", modelType: "mistral", vocab: 32_000, intermediate: 14_336, positions: 131_072, kvHeads: 8, bos: []int{1}, eos: []int{2}, window: 4096, windows: everyLayer},
	{name: "Qwen2ForCausalLM", modelType: "qwen2", vocab: 151_936, intermediate: 22_016, positions: 32_768, kvHeads: 32, qkvBias: true, window: 4096, windows: upperLayers},
	{name: "Qwen3ForCausalLM", modelType: "qwen3", vocab: 151_936, intermediate: 22_016, positions: 32_768, kvHeads: 32, headDim: 128, readsBias: true, qkNorm: true, window: 4096, windows: upperLayers},
	{name: "Gemma2ForCausalLM", modelType: "gemma2", vocab: 256_000, hidden: 2304, intermediate: 9216, layers: 26, heads: 8, kvHeads: 4, headDim: 256, positions: 8192, bos: []int{2}, eos: []int{1}, pad: []int{0}, tied: true, readsBias: true, window: 4096, windows: evenLayers},
	{name: "GptOssForCausalLM", modelType: "gpt_oss", vocab: 201_088, hidden: 2880, intermediate: 2880, layers: 36, heads: 64, kvHeads: 8, headDim: 64, positions: 131_072, eps: 1e-5, theta: 150_000, readsBias: true, biased: true, sinks: true, window: 128, windows: evenLayers},
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
func (f *fields) refuse(a architecture) {
	if act := f.word(a.activationKey(), a.activation()); act != a.activation() {
		f.fail("%s %q is not supported; only %s is", a.activationKey(), act, a.activation())
	}
	if p := f.number("attention_dropout", 0); !(p >= 0 && p < 1) {
		f.fail("attention_dropout %v is not a share; give at least 0 and below 1", p)
	}
	if raw, ok := f.o.get("quantization_config"); ok {
		f.fail("quantization_config (%s) is not supported; give the model before quantization, in float32, bfloat16 or float16", excerpt(raw))
	}
	for _, key := range []string{"num_local_experts", "num_experts", "n_routed_experts"} {
		if n := f.integer(key, 0, 0, maxSize); n > 0 && a.modelType != "gpt_oss" {
			f.fail("%s %d is not supported: mixtures of experts are not; give a dense model", key, n)
		}
	}
}
