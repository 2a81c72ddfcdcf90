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
