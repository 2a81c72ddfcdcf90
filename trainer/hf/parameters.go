package hf

import "fmt"

// Names of the parameters that are not of a layer.
const (
	EmbeddingName = "model.embed_tokens.weight"
	NormName      = "model.norm.weight"
	HeadName      = "lm_head.weight"
)

// Parameter is the name and shape of one weight; matrices are [out, in], those of experts [1, in, out].
type Parameter struct {
	Name  string
	Shape []int
}

// Len is the number of entries.
func (p Parameter) Len() int {
	n := 1
	for _, size := range p.Shape {
		n *= size
	}
	return n
}

// Parameters lists every weight in a fixed order: embedding, layers, final norm, and the head unless it is tied to the embedding.
func (c Config) Parameters() []Parameter {
	all := []Parameter{{EmbeddingName, []int{c.VocabSize, c.HiddenSize}}}
	for i := range c.NumLayers {
		all = append(all, c.LayerParameters(i)...)
	}
	all = append(all, Parameter{NormName, []int{c.HiddenSize}})
	if !c.TieWordEmbeddings {
		all = append(all, Parameter{HeadName, []int{c.VocabSize, c.HiddenSize}})
	}
	return all
}

// LayerParameters lists the weights of one layer in the order in which they are used.
func (c Config) LayerParameters(layer int) []Parameter {
	prefix := fmt.Sprintf("model.layers.%d.", layer)
	var all []Parameter
	linear := func(name string, out, in int, bias bool) {
		all = append(all, Parameter{prefix + name + ".weight", []int{out, in}})
		if bias {
			all = append(all, Parameter{prefix + name + ".bias", []int{out}})
		}
	}
	add := func(name string, shape ...int) { all = append(all, Parameter{prefix + name, shape}) }
	norm := func(name string, width int) { add(name+".weight", width) }
	q, kv := c.NumHeads*c.HeadDim, c.NumKVHeads*c.HeadDim
	norm("input_layernorm", c.HiddenSize)
	linear("self_attn.q_proj", q, c.HiddenSize, c.QKVBias)
	linear("self_attn.k_proj", kv, c.HiddenSize, c.QKVBias)
	linear("self_attn.v_proj", kv, c.HiddenSize, c.QKVBias)
	if c.QKNorm {
		norm("self_attn.q_norm", c.HeadDim)
		norm("self_attn.k_norm", c.HeadDim)
	}
	if c.Sinks {
		add("self_attn.sinks", c.NumHeads)
	}
	linear("self_attn.o_proj", c.HiddenSize, q, c.OutputBias)
	norm("post_attention_layernorm", c.HiddenSize)
	if c.SandwichNorms {
		norm("pre_feedforward_layernorm", c.HiddenSize)
	}
	if c.Gate == ClampedSwiGLU { // a router and one expert, whose matrices are [1, in, out]
		linear("mlp.router", 1, c.HiddenSize, true)
		add("mlp.experts.gate_up_proj", 1, c.HiddenSize, 2*c.IntermediateSize)
		add("mlp.experts.gate_up_proj_bias", 1, 2*c.IntermediateSize)
		add("mlp.experts.down_proj", 1, c.IntermediateSize, c.HiddenSize)
		add("mlp.experts.down_proj_bias", 1, c.HiddenSize)
	} else {
		linear("mlp.gate_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias)
		linear("mlp.up_proj", c.IntermediateSize, c.HiddenSize, c.MLPBias)
		linear("mlp.down_proj", c.HiddenSize, c.IntermediateSize, c.MLPBias)
	}
	if c.SandwichNorms {
		norm("post_feedforward_layernorm", c.HiddenSize)
	}
	return all
}

// NumParameters is the number of entries of all weights.
func (c Config) NumParameters() int {
	n := 0
	for _, p := range c.Parameters() {
		n += p.Len()
	}
	return n
}
