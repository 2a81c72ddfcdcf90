package hf

import (
	"encoding/json"
	"math"
)

// gate is the activation of a model type's feed-forward net.
func (a architecture) gate() Gate {
	switch a.modelType {
	case "gemma2":
		return GeGLU
	case "gpt_oss":
		return ClampedSwiGLU
	}
	return SwiGLU
}

// activationKey is the member that names the activation, activation its only value.
func (a architecture) activationKey() string {
	if a.modelType == "gemma2" {
		return "hidden_activation" // hidden_act, which older files have beside it, is not read
	}
	return "hidden_act"
}

func (a architecture) activation() string {
	if a.modelType == "gemma2" {
		return "gelu_pytorch_tanh"
	}
	return "silu"
}

// gemma2 reads what only Gemma 2 has (arXiv 2408.00118).
func (f *fields) gemma2(c *Config) {
	c.ZeroCenteredNorms, c.SandwichNorms = true, true
	c.EmbeddingScale = float64(float32(math.Sqrt(float64(c.HiddenSize)))) // rounded to the type of the weights
	c.SoftmaxScale = math.Pow(float64(f.size("query_pre_attn_scalar", 256)), -0.5)
	c.AttentionSoftcap = f.optional("attn_logit_softcapping", 50)
	c.LogitSoftcap = f.optional("final_logit_softcapping", 30)
	if f.flag("use_bidirectional_attention", false) {
		f.fail("use_bidirectional_attention true is not supported; only causal attention is: set it to false")
	}
}

// gptOSS reads what only gpt-oss has. Of its mixtures of experts there is the one of a single expert, whose weight is always 1.
func (f *fields) gptOSS(c *Config) {
	key := "num_local_experts"
	if !f.o.has(key) && f.o.has("num_experts") {
		key = "num_experts"
	}
	if n := f.integer(key, 128, 1, maxSize); n != 1 {
		f.fail("%s %d is not supported: mixtures of experts are not, only 1 expert, which is a dense layer, is; give such a model", key, n)
	} else if k := f.integer("num_experts_per_tok", 4, 1, maxSize); k != 1 {
		f.fail("num_experts_per_tok %d is more than num_local_experts 1; set it to 1", k)
	}
	if f.flag("output_router_logits", false) {
		f.fail("output_router_logits true is not supported: it adds a loss of the router; set it to false")
	}
	c.GateAlpha, c.GateLimit = f.number("swiglu_alpha", 1.702), f.number("swiglu_limit", 7)
	if c.GateLimit <= 0 {
		f.fail("swiglu_limit is %v; it must be positive", c.GateLimit)
	}
}

// gptOSSRoPE is what a gpt-oss config without any RoPE means.
func gptOSSRoPE(theta float64) RoPE {
	return RoPE{Type: RoPEYaRN, Theta: theta, Factor: 32, BetaFast: 32, BetaSlow: 1, NoTruncate: true, OriginalMaxPositions: 4096}
}

// completeFamily writes the effective values of what not every model type has. What transformers wants as a float is written as one,
// also where it was given as a whole number.
func (c Config) completeFamily(put, set func(key string, value json.RawMessage)) {
	c.writeWindows(put)
	switch c.ModelType {
	case "gemma2":
		if c.Pad < 0 {
			put("pad_token_id", json.RawMessage("null"))
		} else {
			put("pad_token_id", integer(c.Pad))
		}
		put("query_pre_attn_scalar", integer(int(math.Round(1/(c.SoftmaxScale*c.SoftmaxScale)))))
		set("attn_logit_softcapping", orNull(c.AttentionSoftcap))
		set("final_logit_softcapping", orNull(c.LogitSoftcap))
	case "gpt_oss":
		put("num_local_experts", integer(1))
		put("num_experts_per_tok", integer(1))
		set("swiglu_alpha", float(c.GateAlpha))
		set("swiglu_limit", float(c.GateLimit))
	}
}

// orNull writes a number whose 0 stands for none.
func orNull(x float64) json.RawMessage {
	if x == 0 {
		return json.RawMessage("null")
	}
	return float(x)
}
