package model

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/hf"
)

// TestInitDrawsAsTransformersDoes looks at deviations, norms and biases, and at what the seed decides.
func TestInitDrawsAsTransformersDoes(t *testing.T) {
	cfg := testConfig(t, map[string]any{"hidden_size": 64, "num_attention_heads": 4, "attention_bias": true, "initializer_range": 0.02})
	p, again, other := Init[float32](cfg, 7), Init[float32](cfg, 7), Init[float32](cfg, 8)
	for i, tensor := range p.All() {
		if !slices.Equal(tensor.Data, again.All()[i].Data) {
			t.Errorf("%s differs between two draws of one seed", tensor.Name)
		}
		if len(tensor.Shape) > 1 && slices.Equal(tensor.Data, other.All()[i].Data) {
			t.Errorf("%s does not depend on the seed", tensor.Name)
		}
		sum, squares := 0.0, 0.0
		for _, v := range tensor.Data {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		n := float64(len(tensor.Data))
		switch {
		case strings.HasSuffix(tensor.Name, ".bias"):
			if squares != 0 {
				t.Errorf("%s is not zero", tensor.Name)
			}
		case len(tensor.Shape) == 1:
			if sum != n || squares != n {
				t.Errorf("%s is not one", tensor.Name)
			}
		default:
			if deviation := math.Sqrt(squares / n); math.Abs(deviation-0.02) > 0.02*4/math.Sqrt(2*n) || math.Abs(sum/n) > 0.02*4.5/math.Sqrt(n) {
				t.Errorf("%s has mean %v and deviation %v", tensor.Name, sum/n, deviation)
			}
		}
	}
	if a, b := p.All()[1].Data, p.All()[2].Data; slices.Equal(a, b[:min(len(a), len(b))]) {
		t.Error("two tensors hold the same draws")
	}
}

// TestFloat32WeightsAreShared with the folder that is read and the one that is written; float64 ones are copies.
func TestFloat32WeightsAreShared(t *testing.T) {
	cfg := testConfig(t, nil)
	tensors := map[string]hf.Tensor{}
	for _, tensor := range Init[float32](cfg, 1).HF() {
		tensors[tensor.Name] = tensor
	}
	p, err := FromHF[float32](cfg, tensors)
	if err != nil {
		t.Fatal(err)
	}
	if &p.HF()[0].Data[0] != &tensors[hf.EmbeddingName].Data[0] {
		t.Error("float32 weights were copied")
	}
	wide, err := FromHF[float64](cfg, tensors)
	if err != nil {
		t.Fatal(err)
	}
	for i, tensor := range wide.HF() {
		if !slices.Equal(tensor.Data, p.All()[i].Data) || tensor.Name != p.All()[i].Name {
			t.Errorf("%s does not survive float64", tensor.Name)
		}
	}
}

// TestInitOfFamilies: what is multiplied as 1 + weight begins at 0, an expert's biases too, and sinks are drawn.
func TestInitOfFamilies(t *testing.T) {
	oss := map[string]any{"model_type": "gpt_oss", "num_local_experts": 1, "num_experts_per_tok": 1}
	for _, c := range []struct {
		change map[string]any
		name   string
		want   string
	}{
		{gemma, "model.norm.weight", "zero"},
		{gemma, "model.layers.1.post_feedforward_layernorm.weight", "zero"},
		{gemma, "model.layers.1.mlp.up_proj.weight", "drawn"},
		{oss, "model.layers.1.mlp.experts.gate_up_proj_bias", "zero"},
		{oss, "model.layers.1.mlp.experts.down_proj", "drawn"},
		{oss, "model.layers.1.self_attn.q_proj.bias", "zero"},
		{oss, "model.layers.1.self_attn.sinks", "drawn"},
		{oss, "model.layers.1.mlp.router.bias", "drawn"},
		{oss, "model.layers.1.input_layernorm.weight", "one"},
	} {
		parameter, ok := Init[float32](testConfig(t, c.change), 1).Get(c.name)
		if !ok {
			t.Fatalf("no %s", c.name)
		}
		got := "drawn"
		if zero := make([]float32, len(parameter.Data)); slices.Equal(parameter.Data, zero) {
			got = "zero"
		} else if slices.Equal(parameter.Data, slices.Repeat([]float32{1}, len(zero))) {
			got = "one"
		}
		if got != c.want {
			t.Errorf("%s is %s, want %s", c.name, got, c.want)
		}
	}
}
