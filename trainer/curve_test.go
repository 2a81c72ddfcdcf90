package trainer

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/data"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
)

// repeated feeds the same micro-batches over and over.
type repeated struct {
	list []data.Batch
	next int
}

func (r *repeated) Next() (data.Batch, error) {
	b := r.list[r.next%len(r.list)]
	r.next++
	return b, nil
}

func (r *repeated) State() data.Cursor { return data.Cursor{Index: 0} }

// reference is the AdamW part of a reference.json, by PyTorch and transformers.
type reference struct {
	AdamW struct {
		LR          float64      `json:"lr"`
		Betas       [2]float64   `json:"betas"`
		Epsilon     float64      `json:"eps"`
		WeightDecay float64      `json:"weight_decay"`
		Clip        float64      `json:"clip"`
		Points      [][2]float64 `json:"loss_and_grad_norm"`
	} `json:"adamw"`
	Eval []struct {
		Tokens  int     `json:"tokens"`
		MeanNLL float64 `json:"mean_nll"`
	} `json:"eval_first_512_tokens_incl_bos"`
}

func readReference(t *testing.T, dir string) (r reference) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "reference.json"))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil || len(r.AdamW.Points) == 0 {
		t.Fatalf("%s: no curve: %v", dir, err)
	}
	return r
}

// follow sets a run up to take the reference's steps.
func (r reference) follow(cfg *config.Config) {
	cfg.MaxSteps = len(r.AdamW.Points)
	cfg.LearningRate, cfg.LrScheduler, cfg.WarmupSteps = r.AdamW.LR, "constant", 0
	cfg.AdamBeta1, cfg.AdamBeta2, cfg.AdamEpsilon = r.AdamW.Betas[0], r.AdamW.Betas[1], r.AdamW.Epsilon
	cfg.WeightDecay, cfg.WeightDecayOnNormAndBias = r.AdamW.WeightDecay, true
	cfg.MaxGradNorm = r.AdamW.Clip
	cfg.GradientAccumulationSteps = 1
}

// compare wants loss and gradient norm within the limits, relative.
func (r reference) compare(t *testing.T, what string, got []point, limits [2]float64) {
	t.Helper()
	if len(got) != len(r.AdamW.Points) {
		t.Fatalf("%s: %d steps, want %d", what, len(got), len(r.AdamW.Points))
	}
	for i, p := range got {
		want := r.AdamW.Points[i]
		if d := math.Abs(p.Loss-want[0]) / want[0]; !(d <= limits[0]) {
			t.Errorf("%s: step %d has loss %v, want %v (%.1e away)", what, i+1, p.Loss, want[0], d)
		}
		if d := math.Abs(p.GradNorm-want[1]) / want[1]; !(d <= limits[1]) {
			t.Errorf("%s: step %d has gradient norm %v, want %v (%.1e away)", what, i+1, p.GradNorm, want[1], d)
		}
	}
}

// TestTenStepsEqualTransformers runs the trainer on the batch of each reference folder. The limits of the gradient norm, and of
// qwen3's curve, are wider: PyTorch in float64 is as far from PyTorch in float32 there (see package gradcheck).
func TestTenStepsEqualTransformers(t *testing.T) {
	root := realdata.Path(t, "hf")
	for _, name := range []string{"llama", "llama_untied_bias", "llama3_rope", "linear_rope", "yarn_rope", "qwen2", "qwen3"} {
		dir := filepath.Join(root, name)
		want := readReference(t, dir)
		batch := referenceBatch(t, dir)
		limits := [2]float64{1e-4, 2e-4}
		if name == "qwen3" {
			limits = [2]float64{4e-4, 4e-3}
		}
		for _, ring := range []int{1, 3} {
			cfg := tinyRun(t)
			want.follow(&cfg)
			cfg.Model, cfg.BaseModel = nil, dir
			cfg.ContextParallelSize = ring
			trainer := prepared(t, cfg, Options{})
			trainer.run.feed = func(int) batches { return &repeated{list: []data.Batch{batch}} }
			if _, err := trainer.Run(t.Context()); err != nil {
				t.Fatalf("%s ring %d: %v", name, ring, err)
			}
			want.compare(t, fmt.Sprintf("%s ring %d", name, ring), curve(t, cfg.OutputDir), limits)
		}
	}
}

// referenceBatch shifts the labels of reference.safetensors.
func referenceBatch(t *testing.T, dir string) data.Batch {
	t.Helper()
	tensors, _, err := hf.ReadTensors(filepath.Join(dir, "reference.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	ids, labels := tensors["input_ids"], tensors["labels"]
	b := data.Batch{B: ids.Shape[0], T: ids.Shape[1]}
	for i, id := range ids.I64 {
		b.IDs = append(b.IDs, int32(id))
		next := int32(data.Ignored)
		if (i+1)%b.T != 0 {
			next = int32(labels.I64[i+1])
		}
		b.Labels = append(b.Labels, next)
	}
	return b
}

// TestFineTuningStories260kEqualsTransformers goes the whole way: folder, tokenizer, documents, twelve steps.
func TestFineTuningStories260kEqualsTransformers(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: several seconds of training")
	}
	dir := realdata.Path(t, "stories260k")
	want := readReference(t, dir)
	cfg := tinyRun(t)
	want.follow(&cfg)
	cfg.Model, cfg.TokenizerConfig, cfg.BaseModel = nil, "", dir
	cfg.SequenceLen, cfg.ShuffleMergedDatasets = 512, false
	cfg.ContextParallelSize = 3
	cfg.Datasets[0].Path = firstLines(t, realdata.Path(t, "inaugural.jsonl"), 3)
	trained(t, cfg, Options{})
	want.compare(t, "stories260k", curve(t, cfg.OutputDir), [2]float64{1e-4, 2e-4})
}

// firstLines copies the beginning of a file.
func firstLines(t *testing.T, path string, n int) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := 0
	for range n {
		end += 1 + slices.Index(text[end:], '\n')
	}
	short := filepath.Join(t.TempDir(), "first.jsonl")
	writeFile(t, short, string(text[:end]))
	return short
}

// TestEvaluateEqualsTransformers compares the documents of reference.json, cut to 512 tokens, on a ring of 3.
func TestEvaluateEqualsTransformers(t *testing.T) {
	dir := realdata.Path(t, "stories260k")
	want := readReference(t, dir).Eval
	got, err := Evaluate(t.Context(), EvalOptions{
		Model: dir, Data: firstLines(t, realdata.Path(t, "inaugural.jsonl"), len(want)),
		Set: []string{"sequence_len=512", "excess_length_strategy=truncate", "context_parallel_size=3"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		if d := got.Documents[i]; d.Tokens != w.Tokens-1 || math.Abs(d.Loss-w.MeanNLL) > 2e-5*w.MeanNLL {
			t.Errorf("document %d: loss %v over %d targets, want %v over %d", i, d.Loss, d.Tokens, w.MeanNLL, w.Tokens-1)
		}
	}
}

// TestAnyRingTrainsTheSameCurve takes twenty steps of two micro-batches of two documents each, of different lengths, so that a step's
// mean is over unequal numbers of targets and padding.
func TestAnyRingTrainsTheSameCurve(t *testing.T) {
	cfg := tinyRun(t)
	cfg.MaxSteps, cfg.MicroBatchSize = 20, 2
	run := func(ring int, layout string, round int) []point {
		c := cfg
		c.ContextParallelSize, c.RingAttnFunc = ring, layout
		c.OutputDir = filepath.Join(filepath.Dir(cfg.OutputDir), fmt.Sprint(ring, layout, round))
		trained(t, c, Options{})
		return curve(t, c.OutputDir)
	}
	want := run(1, "zigzag", 0)
	if first, last := want[0].Loss, want[len(want)-1].Loss; len(want) != 20 || !(last < first-0.3) {
		t.Fatalf("%d steps from loss %v to %v: nothing was learnt that a comparison could rest on", len(want), first, last)
	}
	for _, ring := range []int{2, 3, 4, 8} {
		for _, layout := range []string{"contiguous", "zigzag", "striped"} {
			nearlyEqual(t, fmt.Sprintf("ring %d %s", ring, layout), run(ring, layout, 0), want, 1e-5)
		}
	}
	if again := run(3, "zigzag", 1); !slices.Equal(again, run(3, "zigzag", 2)) {
		t.Error("two runs of a ring of 3 differ in their bits")
	}
}

// nearlyEqual compares losses and gradient norms, relative.
func nearlyEqual(t *testing.T, what string, got, want []point, limit float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d lines, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		for name, pair := range map[string][2]float64{"loss": {g.Loss, w.Loss}, "gradient norm": {g.GradNorm, w.GradNorm}, "eval loss": {g.EvalLoss, w.EvalLoss}} {
			if !(math.Abs(pair[0]-pair[1]) <= limit*math.Abs(pair[1])) {
				t.Errorf("%s: step %d has %s %v, want %v", what, w.Step, name, pair[0], pair[1])
			}
		}
		g.Loss, g.GradNorm, g.EvalLoss = w.Loss, w.GradNorm, w.EvalLoss
		if g != w {
			t.Errorf("%s: line %+v, want %+v", what, g, w)
		}
	}
}

// TestTheLossIsTheMeanOverAllTargetsOfAStep trains on micro-batches of very different lengths and compares with one that holds them
// all: a mean of means would be another number.
func TestTheLossIsTheMeanOverAllTargetsOfAStep(t *testing.T) {
	cfg := tinyRun(t)
	writeDocuments(t, cfg.Datasets[0].Path, 3, 24)
	cfg.ShuffleMergedDatasets, cfg.MaxSteps, cfg.WarmupSteps = false, 3, 0
	accumulated := cfg
	accumulated.OutputDir += "-accumulated"
	cfg.MicroBatchSize, cfg.GradientAccumulationSteps = 2, 1
	trained(t, cfg, Options{})
	trained(t, accumulated, Options{})
	got, want := curve(t, accumulated.OutputDir), curve(t, cfg.OutputDir)
	for i := range got {
		got[i].Tokens = want[i].Tokens // padding counts where documents share a batch
	}
	nearlyEqual(t, "accumulated", got, want, 1e-5)
}

// TestDecayLeavesNormsAloneUnlessAsked trains at learning rate with a gradient clipped to nothing, so that only decay moves weights.
func TestDecayLeavesNormsAloneUnlessAsked(t *testing.T) {
	for _, everything := range []bool{false, true} {
		cfg := tinyRun(t)
		cfg.MaxSteps, cfg.WarmupSteps, cfg.LrScheduler = 1, 0, "constant"
		cfg.WeightDecay, cfg.WeightDecayOnNormAndBias = 0.5, everything
		cfg.MaxGradNorm, cfg.AdamEpsilon = 1e-30, 1
		trainer := prepared(t, cfg, Options{})
		before := map[string]float32{}
		for _, p := range trainer.run.params.All() {
			before[p.Name] = p.Data[0]
		}
		if _, err := trainer.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, name := range slices.Sorted(maps.Keys(before)) {
			p, _ := trainer.run.params.Get(name)
			want := before[name]
			if len(p.Shape) == 2 || everything {
				want *= 1 - 0.5*1e-2
			}
			if math.Abs(float64(p.Data[0]-want)) > 1e-6*math.Abs(float64(want)) {
				t.Errorf("decay everywhere %v: %s went from %v to %v, want %v", everything, name, before[name], p.Data[0], want)
			}
		}
	}
}
