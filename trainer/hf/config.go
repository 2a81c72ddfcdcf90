package hf

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// Config is a decoder-only transformer as config.json describes it, with every default filled in.
type Config struct {
	ModelType    string // llama, mistral, qwen2, qwen3, gemma2 or gpt_oss
	Architecture string // LlamaForCausalLM, …

	HiddenSize, IntermediateSize    int
	NumLayers, NumHeads, NumKVHeads int
	HeadDim                         int // of queries, keys and values alike
	VocabSize                       int
	MaxPositionEmbeddings           int
	RMSNormEps, InitializerRange    float64

	TieWordEmbeddings bool // lm_head is the embedding
	QKVBias           bool // q_proj, k_proj and v_proj have biases
	OutputBias        bool // o_proj has one
	MLPBias           bool // gate_proj, up_proj and down_proj have them
	QKNorm            bool // q and k heads are RMS-normed before RoPE

	Windows          []int   // by layer: how many positions up to its own a query sees, 0 for all; nil: all layers see all
	Sinks            bool    // every query head has a score of no key, which the softmax counts
	SoftmaxScale     float64 // of q·k; 0: 1/√HeadDim
	AttentionSoftcap float64 // scores s become cap·tanh(s/cap); 0: they stay
	LogitSoftcap     float64 // the same of the vocabulary's logits
	AttentionDropout float64 // share of attention weights that training drops

	EmbeddingScale    float64 // of the embedding's rows, not of the head's; 0: 1
	ZeroCenteredNorms bool    // norms multiply by 1 + weight
	SandwichNorms     bool    // what attention and the feed-forward net add to the residual is normed, too

	Gate                 Gate
	GateAlpha, GateLimit float64 // of ClampedSwiGLU

	RoPE RoPE

	BOS   int    // −1: none
	Pad   int    // −1: none; as an input it gives its row of the embedding no gradient
	EOS   []int  // any of them ends a text
	DType string // type of the weights in the folder: float32, bfloat16, float16, float64

	raw object // the file, member by member
}

// Gate is the activation of the feed-forward net.
type Gate string

// The gates that are computed.
const (
	SwiGLU        Gate = ""
	GeGLU         Gate = "geglu"          // with the tanh form of gelu
	ClampedSwiGLU Gate = "clamped_swiglu" // of one expert of gpt-oss, whose weights are mlp.experts.*
)

// Window is how many positions up to its own a query of a layer sees; 0 is all.
func (c Config) Window(layer int) int {
	if c.Windows == nil {
		return 0
	}
	return c.Windows[layer]
}

// ReadConfig reads DIR/config.json. What this module cannot compute exactly is refused by name.
func ReadConfig(dir string) (Config, error) {
	path := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("hf: %s does not exist; give a Hugging Face model folder (config.json beside model.safetensors): %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return Config{}, fmt.Errorf("hf: %w", err)
	}
	return parseConfig(path, data)
}

// ConfigFromMap reads the keys of a config.json given as a map, for a model that is trained from scratch. model_type, or one
// architecture, must be there; everything else has transformers' defaults, which are written out when the model is saved.
func ConfigFromMap(m map[string]any) (Config, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return Config{}, fmt.Errorf("hf: model: %w", err)
	}
	c, err := parseConfig("model", data)
	if err != nil {
		return Config{}, err
	}
	c.complete()
	return c, nil
}

func parseConfig(where string, data []byte) (Config, error) {
	o, err := parseObject(data)
	if err != nil {
		return Config{}, fmt.Errorf("hf: %s: %w; repair the JSON", where, err)
	}
	f := &fields{where: where, o: o}
	a, ok := f.architecture()
	if !ok {
		return Config{}, f.err()
	}
	c := f.config(a)
	f.refuse(a)
	if err := f.err(); err != nil {
		return Config{}, err
	}
	c.raw = o
	return c, nil
}

// config reads all members with the defaults of the architecture, and checks what they must satisfy together.
func (f *fields) config(a architecture) Config {
	c := Config{
		ModelType:             a.modelType,
		Architecture:          a.name,
		HiddenSize:            f.size("hidden_size", cmp.Or(a.hidden, 4096)),
		IntermediateSize:      f.size("intermediate_size", a.intermediate),
		NumLayers:             f.integer("num_hidden_layers", cmp.Or(a.layers, 32), 1, 1<<14),
		NumHeads:              f.size("num_attention_heads", cmp.Or(a.heads, 32)),
		VocabSize:             f.size("vocab_size", a.vocab),
		MaxPositionEmbeddings: f.integer("max_position_embeddings", a.positions, 1, 1<<30),
		RMSNormEps:            f.number("rms_norm_eps", cmp.Or(a.eps, 1e-6)),
		InitializerRange:      f.number("initializer_range", 0.02),
		TieWordEmbeddings:     f.flag("tie_word_embeddings", a.tied),
		QKVBias:               a.qkvBias || a.readsBias && f.flag("attention_bias", a.biased),
		OutputBias:            a.readsBias && f.flag("attention_bias", a.biased),
		MLPBias:               a.readsMLPBias && f.flag("mlp_bias", false),
		QKNorm:                a.qkNorm,
		Sinks:                 a.sinks,
		AttentionDropout:      f.number("attention_dropout", 0),
		Gate:                  a.gate(),
		BOS:                   -1,
		Pad:                   f.pad(a),
		EOS:                   f.tokens("eos_token_id", a.eos),
		DType:                 f.word("dtype", f.word("torch_dtype", "")),
	}
	if bos := f.tokens("bos_token_id", a.bos); len(bos) > 0 {
		c.BOS = bos[0]
	}
	f.heads(&c, a)
	c.RoPE = f.rope(a, c.MaxPositionEmbeddings)
	c.Windows = f.windows(a, c.NumLayers)
	switch a.modelType {
	case "gemma2":
		f.gemma2(&c)
	case "gpt_oss":
		f.gptOSS(&c)
	}
	f.check(c)
	return c
}

// pad reads pad_token_id; null is none, whatever the model type's default.
func (f *fields) pad(a architecture) int {
	pad := f.tokens("pad_token_id", a.pad)
	if _, ok := f.o.get("pad_token_id"); !ok && f.o.has("pad_token_id") || len(pad) == 0 {
		return -1
	}
	return max(pad[0], -1)
}

// heads reads the shape of attention. A null num_key_value_heads means as many as query heads in every model; an absent one does so
// in llama only.
func (f *fields) heads(c *Config, a architecture) {
	kv := c.NumHeads
	if a.kvHeads > 0 && !f.o.has("num_key_value_heads") {
		kv = a.kvHeads
	}
	c.NumKVHeads = f.size("num_key_value_heads", kv)
	if _, ok := f.o.get("head_dim"); !ok && a.headDim == 0 && c.HiddenSize%c.NumHeads != 0 {
		f.fail("hidden_size %d is not a multiple of num_attention_heads %d; change one of them or give head_dim", c.HiddenSize, c.NumHeads)
	}
	headDim := a.headDim
	if headDim == 0 {
		headDim = max(1, c.HiddenSize/c.NumHeads)
	}
	c.HeadDim = f.size("head_dim", headDim)
}

// check tests what several members must satisfy together.
func (f *fields) check(c Config) {
	if c.NumHeads%c.NumKVHeads != 0 {
		f.fail("num_attention_heads %d is not a multiple of num_key_value_heads %d; every KV head serves the same number of query heads", c.NumHeads, c.NumKVHeads)
	}
	if c.HeadDim%2 != 0 {
		f.fail("head_dim %d is odd; RoPE rotates pairs of dimensions, so it must be even", c.HeadDim)
	}
	if c.RMSNormEps < 0 {
		f.fail("rms_norm_eps is %v; it must not be negative", c.RMSNormEps)
	}
	if c.InitializerRange < 0 {
		f.fail("initializer_range is %v; it must not be negative", c.InitializerRange)
	}
	if c.NumHeads*c.HeadDim > maxSize {
		f.fail("num_attention_heads %d times head_dim %d is more than %d; one of them is wrong", c.NumHeads, c.HeadDim, maxSize)
	}
	for _, token := range append([]int{c.BOS, c.Pad}, c.EOS...) {
		if token < -1 || token >= c.VocabSize {
			f.fail("token id %d of bos_token_id, eos_token_id or pad_token_id is outside the vocabulary of %d", token, c.VocabSize)
		}
	}
}

// Clone is a config that shares nothing with c.
func (c Config) Clone() Config {
	c.EOS, c.Windows, c.raw = slices.Clone(c.EOS), slices.Clone(c.Windows), slices.Clone(c.raw)
	return c
}

// SetRoPE changes the RoPE after checking it as if it had been read. An absent OriginalMaxPositions becomes the present
// MaxPositionEmbeddings, so call it before SetMaxPositions.
func (c *Config) SetRoPE(r RoPE) error {
	r = r.normal(c.MaxPositionEmbeddings)
	f := &fields{where: "RoPE", o: r.object()}
	f.o.set("rope_theta", float(r.Theta))
	r = f.ropeObject(r.Theta, c.MaxPositionEmbeddings)
	if err := f.err(); err != nil {
		return err
	}
	c.RoPE = r
	return nil
}

// SetMaxPositions changes the longest context the model claims to understand.
func (c *Config) SetMaxPositions(n int) { c.MaxPositionEmbeddings = n }

// RoPEFromMap reads a RoPE object (rope_scaling or rope_parameters) given as a map; nil is a default RoPE. theta is the base unless
// the object has its own; maxPositions is what an absent original_max_position_embeddings means.
func RoPEFromMap(m map[string]any, theta float64, maxPositions int) (RoPE, error) {
	f := &fields{where: "rope_scaling"}
	if m != nil {
		data, err := json.Marshal(m)
		if err != nil {
			return RoPE{}, fmt.Errorf("hf: rope_scaling: %w", err)
		}
		if f.o, err = parseObject(data); err != nil {
			return RoPE{}, fmt.Errorf("hf: rope_scaling: %w", err)
		}
	}
	r := f.ropeObject(orDefault(theta, defaultTheta), maxPositions)
	return r, f.err()
}

// JSON is the config as a file. What was read is written back member by member; only max_position_embeddings, the RoPE (in the
// file's own spelling) and the weights' type change, where they changed.
func (c Config) JSON() ([]byte, error) {
	o := slices.Clone(c.raw)
	if len(o) == 0 {
		c.complete()
		o = c.raw
	}
	f := &fields{where: "config.json", o: o}
	a, _ := findArchitecture(c.Architecture)
	if f.size("max_position_embeddings", a.positions) != c.MaxPositionEmbeddings {
		o.set("max_position_embeddings", integer(c.MaxPositionEmbeddings))
	}
	f.o = o
	if want := c.RoPE.normal(c.MaxPositionEmbeddings); f.rope(a, c.MaxPositionEmbeddings).normal(c.MaxPositionEmbeddings) != want {
		setRoPE(&o, want)
	}
	c.writeDType(&o)
	return o.text()
}

// writeDType names the type of the weights under the key that the file uses; transformers 5 writes dtype, older ones torch_dtype.
func (c Config) writeDType(o *object) {
	if c.DType == "" {
		return
	}
	key := "dtype"
	if o.has("torch_dtype") && !o.has("dtype") {
		key = "torch_dtype"
	}
	o.set(key, word(c.DType))
}

// complete writes every effective value into the raw members, for a config that does not come from a file.
func (c *Config) complete() {
	o := slices.Clone(c.raw)
	put := func(key string, value json.RawMessage) {
		if _, ok := o.get(key); !ok {
			o.set(key, value)
		}
	}
	put("architectures", json.RawMessage("["+strconv.Quote(c.Architecture)+"]"))
	put("model_type", word(c.ModelType))
	put("hidden_size", integer(c.HiddenSize))
	put("intermediate_size", integer(c.IntermediateSize))
	put("num_hidden_layers", integer(c.NumLayers))
	put("num_attention_heads", integer(c.NumHeads))
	put("num_key_value_heads", integer(c.NumKVHeads))
	put("head_dim", integer(c.HeadDim))
	a, _ := findArchitecture(c.Architecture)
	put(a.activationKey(), word(a.activation()))
	put("vocab_size", integer(c.VocabSize))
	put("max_position_embeddings", integer(c.MaxPositionEmbeddings))
	put("rms_norm_eps", float(c.RMSNormEps))
	put("initializer_range", float(c.InitializerRange))
	put("tie_word_embeddings", json.RawMessage(strconv.FormatBool(c.TieWordEmbeddings)))
	if a.readsBias {
		put("attention_bias", json.RawMessage(strconv.FormatBool(c.OutputBias)))
	}
	if c.ModelType == "llama" {
		put("mlp_bias", json.RawMessage(strconv.FormatBool(c.MLPBias)))
	}
	c.completeFamily(put, o.set)
	if !o.has("rope_parameters") && !o.has("rope_theta") && !o.has("rope_scaling") {
		setRoPE(&o, c.RoPE.normal(c.MaxPositionEmbeddings))
	}
	c.raw = o
}
