package generate

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
	"github.com/ringgrad/ringgrad/trainer/model"
	"github.com/ringgrad/ringgrad/trainer/tokenizer"
)

// storyBegins is what the model of the data folder is known to write from nothing; see that folder's README.
const storyBegins = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball."

func TestARealModelTellsItsStoryOnAnyRing(t *testing.T) {
	dir := realdata.Path(t, "stories260k")
	cfg, err := hf.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := hf.LoadWeights(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	params, err := model.FromHF[float32](cfg, weights)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	prompt, err := tok.Encode("", true)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 3} {
		ids := onRing(t, size, cfg, params, prompt, Options{MaxNewTokens: 48})
		if text := tok.Decode(ids, true); !strings.HasPrefix(strings.TrimSpace(text), storyBegins) {
			t.Errorf("ring of %d: %q", size, text)
		}
	}
}

func onRing(t *testing.T, size int, cfg hf.Config, params *model.Params[float32], prompt []int32, o Options) []int32 {
	t.Helper()
	results := make([][]int32, size)
	err := local.Run(t.Context(), size, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		m, err := model.New(cfg, params, comm, model.Options{Layout: shard.Zigzag})
		if err != nil {
			return err
		}
		results[comm.Rank()], err = Tokens(ctx, m, comm, prompt, o)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for rank, ids := range results {
		if !slices.Equal(ids, results[0]) {
			t.Errorf("rank %d has %v, rank 0 %v", rank, ids, results[0])
		}
	}
	return results[0]
}

func tiny(t *testing.T) (hf.Config, *model.Params[float32]) {
	t.Helper()
	cfg, err := hf.ConfigFromMap(map[string]any{
		"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24,
		"vocab_size": 11, "max_position_embeddings": 64, "initializer_range": 0.5,
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg, model.Init[float32](cfg, 1)
}

func TestSamplingRepeatsWithItsSeedAndStopsWhereTold(t *testing.T) {
	cfg, params := tiny(t)
	o := Options{MaxNewTokens: 30, Temperature: 1.5, Seed: 9}
	first := onRing(t, 2, cfg, params, []int32{1, 2}, o)
	if again := onRing(t, 1, cfg, params, []int32{1, 2}, o); len(first) != 30 || !slices.Equal(first, again) {
		t.Errorf("%v, then %v", first, again)
	}
	o.Stop = []int32{first[4]}
	stopped := onRing(t, 1, cfg, params, []int32{1, 2}, o)
	if want := first[:slices.Index(first, first[4])]; !slices.Equal(stopped, want) {
		t.Errorf("stopped with %v, want %v", stopped, want)
	}
	o.Stop, o.MaxLength = nil, 5
	if short := onRing(t, 1, cfg, params, []int32{1, 2}, o); len(short) != 3 {
		t.Errorf("%d new tokens for a text of 5 with a prompt of 2", len(short))
	}
}

func TestTopKAndTopPCutTheTail(t *testing.T) {
	logits := []float32{0, float32(math.Log(6)), float32(math.Log(3))} // shares 0.1, 0.6, 0.3
	random := rand.New(rand.NewPCG(1, 1))
	draw := func(o Options) []int {
		counts := make([]int, len(logits))
		for range 4000 {
			counts[sample(logits, float64(logits[1]), o, random)]++
		}
		return counts
	}
	all := draw(Options{Temperature: 1})
	for i, share := range []float64{0.1, 0.6, 0.3} {
		if math.Abs(float64(all[i])/4000-share) > 0.03 {
			t.Errorf("token %d was drawn %d times of 4000, want %.0f", i, all[i], share*4000)
		}
	}
	if c := draw(Options{Temperature: 1, TopK: 2}); c[0] != 0 || c[2] == 0 {
		t.Errorf("top-k 2 drew %v", c)
	}
	if c := draw(Options{Temperature: 1, TopP: 0.6}); c[0] != 0 || c[2] != 0 {
		t.Errorf("top-p 0.6 drew %v", c)
	}
}

func TestBadInputIsNamed(t *testing.T) {
	cfg, params := tiny(t)
	m, err := model.New(cfg, params, nil, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for want, c := range map[string]struct {
		prompt []int32
		o      Options
	}{
		"no tokens":                   {nil, Options{MaxNewTokens: 1}},
		"max new tokens -1":           {[]int32{1}, Options{MaxNewTokens: -1}},
		"temperature NaN":             {[]int32{1}, Options{MaxNewTokens: 1, Temperature: math.NaN()}},
		"top-p 2 is not between":      {[]int32{1}, Options{MaxNewTokens: 1, TopP: 2}},
		"top-k -3":                    {[]int32{1}, Options{MaxNewTokens: 1, TopK: -3}},
		"token 0 of sequence 0 is 99": {[]int32{99}, Options{MaxNewTokens: 1}},
	} {
		if _, err := Tokens(t.Context(), m, nil, c.prompt, c.o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	params.All()[0].Data[0] = float32(math.NaN())
	if _, err := Tokens(t.Context(), m, nil, []int32{0}, Options{MaxNewTokens: 1}); err == nil || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("a damaged model gave %v", err)
	}
}
