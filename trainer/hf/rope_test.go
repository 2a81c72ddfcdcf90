package hf

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
)

// TestInvFreqEqualsTransformers compares with testdata/rope.json, which transformers computed (testdata/rope.py). Powers differ by
// a unit in the last place between libraries, and blending subtracts nearly equal numbers, so the bound is a few units of float32.
func TestInvFreqEqualsTransformers(t *testing.T) {
	data, err := os.ReadFile("testdata/rope.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			Config           json.RawMessage `json:"config"`
			InvFreq          []float64       `json:"inv_freq"`
			AttentionScaling float64         `json:"attention_scaling"`
		} `json:"cases"`
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	for _, g := range golden.Cases {
		c, err := parseConfig("config.json", g.Config)
		if err != nil {
			t.Errorf("%s: %v", g.Config, err)
			continue
		}
		inv, scaling := c.RoPE.InvFreq(c.HeadDim, c.MaxPositionEmbeddings)
		if len(inv) != len(g.InvFreq) || math.Abs(scaling-g.AttentionScaling) > 1e-12 {
			t.Errorf("%s: %d frequencies, factor %v; want %d, %v", g.Config, len(inv), scaling, len(g.InvFreq), g.AttentionScaling)
			continue
		}
		for i, want := range g.InvFreq {
			if math.Abs(inv[i]-want) > 6e-7*want {
				t.Errorf("%s: frequency %d is %v, want %v", g.Config, i, inv[i], want)
			}
		}
	}
}

// TestRoPESurvivesBothSpellings sets every type in every spelling and wants the same frequencies after reading the file again.
func TestRoPESurvivesBothSpellings(t *testing.T) {
	spellings := map[string]string{
		"new":       `"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}`,
		"old":       `"rope_theta": 10000.0, "rope_scaling": null`,
		"old type":  `"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.0}`,
		"both":      `"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 2.0}`,
		"neither":   `"vocab_size": 100`,
		"conflict":  `"rope_parameters": {"rope_theta": 5.0, "rope_type": "default"}, "rope_scaling": {"rope_type": "linear", "factor": 2.0}`,
		"phi style": `"original_max_position_embeddings": 64, "rope_scaling": {"rope_type": "yarn", "factor": 2.0}`,
	}
	ropes := []RoPE{
		{Type: RoPEDefault, Theta: 500_000},
		{Type: RoPELinear, Theta: 10_000, Factor: 8},
		{Type: RoPELlama3, Theta: 500_000, Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: 128},
		{Type: RoPEYaRN, Factor: 8},
		{Type: RoPEYaRN, Theta: 1e6, Factor: 4, AttentionFactor: 1.1, BetaFast: 20, BetaSlow: 2, MScale: 0.7, MScaleAllDim: 0.3, NoTruncate: true, OriginalMaxPositions: 77},
	}
	for name, spelling := range spellings {
		for _, r := range ropes {
			c, err := parseConfig("config.json", []byte(`{"model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "max_position_embeddings": 512, `+spelling+`}`))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := c.SetRoPE(r); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			c.SetMaxPositions(4096)
			text, err := c.JSON()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			again, err := parseConfig("config.json", text)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, text)
			}
			if again.RoPE.normal(0) != c.RoPE.normal(0) || again.MaxPositionEmbeddings != 4096 {
				t.Errorf("%s: wrote %+v, read %+v\n%s", name, c.RoPE, again.RoPE, text)
			}
			if r.Type == RoPEYaRN && r.OriginalMaxPositions == 0 && again.RoPE.OriginalMaxPositions != 512 {
				t.Errorf("%s: the original length is %d, want the 512 before SetMaxPositions", name, again.RoPE.OriginalMaxPositions)
			}
		}
	}
}

// TestRoPEFromMapFallsBackToTheModel takes base and original length from the model where the map is silent.
func TestRoPEFromMapFallsBackToTheModel(t *testing.T) {
	r, err := RoPEFromMap(map[string]any{"rope_type": "yarn", "factor": 8}, 500_000, 512)
	if err != nil {
		t.Fatal(err)
	}
	if r.Theta != 500_000 || r.OriginalMaxPositions != 512 || r.Factor != 8 {
		t.Errorf("got %+v", r)
	}
	if r, err = RoPEFromMap(nil, 0, 512); err != nil || r != (RoPE{Type: RoPEDefault, Theta: 10_000}) {
		t.Errorf("no map: %+v, %v", r, err)
	}
}

// TestSetRoPEChecksWhatItIsGiven refuses what reading a file would refuse, and leaves the config as it was.
func TestSetRoPEChecksWhatItIsGiven(t *testing.T) {
	c := mustParse(t, `{"model_type": "llama"}`)
	for want, r := range map[string]RoPE{
		`RoPE type "ntk"`:   {Type: "ntk", Factor: 2},
		"factor is 0":       {Type: RoPELinear},
		"low_freq_factor 0": {Type: RoPELlama3, Factor: 2, HighFreqFactor: 4},
		"rope_theta is -1":  {Theta: -1},
		"beta_fast 1 and":   {Type: RoPEYaRN, Factor: 2, BetaFast: 1, BetaSlow: 3},
	} {
		if err := c.SetRoPE(r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", r, err, want)
		}
	}
	if c.RoPE != (RoPE{Type: RoPEDefault, Theta: 10_000}) {
		t.Errorf("changed to %+v", c.RoPE)
	}
}
