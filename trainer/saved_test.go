package trainer

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// toLonger is a run that stretches the tiny model with YaRN, from 64 positions to 128.
func toLonger(t *testing.T) config.Config {
	cfg := tinyRun(t)
	writeFile(t, filepath.Join(cfg.TokenizerConfig, "tokenizer_config.json"), `{"model_max_length": 64}`)
	writeDocuments(t, cfg.Datasets[0].Path, 100, 40, 120)
	cfg.SequenceLen, cfg.MaxSteps = 128, 3
	cfg.RopeScaling = &config.RopeScaling{RopeType: "yarn", Factor: 2}
	return cfg
}

// TestTheSavedFolderIsTheTrainedModel reads the final folder with the reader of models: weights, positions, RoPE, tokenizer; and
// trains and evaluates it as a base model.
func TestTheSavedFolderIsTheTrainedModel(t *testing.T) {
	cfg := toLonger(t)
	trainer := prepared(t, cfg, Options{})
	if _, err := trainer.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	saved, err := hf.ReadConfig(cfg.OutputDir)
	if err != nil {
		t.Fatal(err)
	}
	if rope := saved.RoPE; saved.MaxPositionEmbeddings != 128 || rope.Type != "yarn" || rope.Factor != 2 || rope.OriginalMaxPositions != 64 || saved.DType != "float32" {
		t.Errorf("config.json says %d positions, %+v, %s", saved.MaxPositionEmbeddings, rope, saved.DType)
	}
	weights, err := hf.LoadWeights(cfg.OutputDir, saved)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range trainer.run.params.All() {
		if !slices.Equal(weights[p.Name].Data, p.Data) {
			t.Errorf("%s is not what was trained", p.Name)
		}
	}
	for _, name := range []string{"tokenizer.json", "tokenizer_config.json"} {
		got, _ := os.ReadFile(filepath.Join(cfg.OutputDir, name))
		want, _ := os.ReadFile(filepath.Join(cfg.TokenizerConfig, name))
		if len(want) == 0 || string(got) != string(want) {
			t.Errorf("%s was not copied", name)
		}
	}
	continuesFrom(t, cfg)
}

// continuesFrom wants the loss of the folder's model on the first sequences to be the same for training and for evaluation.
func continuesFrom(t *testing.T, cfg config.Config) {
	t.Helper()
	evaluated, err := Evaluate(t.Context(), EvalOptions{Model: cfg.OutputDir, Data: cfg.Datasets[0].Path, Set: []string{"context_parallel_size=2"}})
	if err != nil {
		t.Fatal(err)
	}
	next := elsewhere(cfg, "next")
	next.Model, next.TokenizerConfig, next.BaseModel, next.RopeScaling = nil, "", cfg.OutputDir, nil
	next.MicroBatchSize, next.GradientAccumulationSteps, next.MaxSteps = 3, 1, 1 // all documents
	trained(t, next, Options{})
	if got := curve(t, next.OutputDir)[0].Loss; math.Abs(got-evaluated.Loss) > 1e-5*got {
		t.Errorf("training begins at %v, evaluation says %v", got, evaluated.Loss)
	}
}

// TestWeightsAreRoundedToTheNearestOfTheSavedType compares with rounding written by hand, ties to even.
func TestWeightsAreRoundedToTheNearestOfTheSavedType(t *testing.T) {
	cfg := tinyRun(t)
	cfg.SaveDtype, cfg.SaveSteps, cfg.MaxSteps = "bfloat16", 1, 1
	trainer := prepared(t, cfg, Options{})
	embedding, _ := trainer.run.params.Get(hf.EmbeddingName)
	trainer.run.observer.Advanced = func(int) {
		copy(embedding.Data, []float32{1, 1 + 1.0/256, 1 + 3.0/256, 1 + 1.0/256 + 1.0/1024, -3.3})
	}
	if _, err := trainer.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	saved, err := hf.ReadConfig(cfg.OutputDir)
	if err != nil || saved.DType != "bfloat16" {
		t.Fatal(saved.DType, err)
	}
	weights, err := hf.LoadWeights(cfg.OutputDir, saved)
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{1, 1, 1 + 4.0/256, 1 + 2.0/256, -3.296875}
	if got := weights[hf.EmbeddingName].Data[:5]; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	exact, err := hf.LoadWeights(filepath.Join(cfg.OutputDir, "checkpoint-1"), saved)
	if err != nil || exact[hf.EmbeddingName].Data[1] != 1+1.0/256 {
		t.Errorf("the checkpoint has %v, not the float32 weights; %v", exact[hf.EmbeddingName].Data[:5], err)
	}
}

// TestAModelThatCannotBeSavedAsAskedIsSavedAsACheckpoint has a weight beyond float16.
func TestAModelThatCannotBeSavedAsAskedIsSavedAsACheckpoint(t *testing.T) {
	cfg := tinyRun(t)
	cfg.SaveDtype, cfg.MaxSteps = "float16", 1
	trainer := prepared(t, cfg, Options{})
	trainer.run.observer.Advanced = func(int) { trainer.run.params.All()[0].Data[3] = 1e6 }
	_, err := trainer.Run(t.Context())
	wantError(t, err, "final model could not be saved", hf.EmbeddingName, "bfloat16")
	cfg.SaveDtype = "bfloat16"
	trained(t, cfg, Options{Resume: "latest"})
	if !holds(cfg.OutputDir, "model.safetensors") {
		t.Error("there is no model")
	}
}

// TestTheTableOfLossByPositionComparesThreeModels checks the columns against evaluations of the folders before and after, and that a
// resumed run keeps what was measured at the start.
func TestTheTableOfLossByPositionComparesThreeModels(t *testing.T) {
	cfg := toLonger(t)
	cfg.MaxSteps, cfg.ContextParallelSize, cfg.SequenceLen = 6, 2, 24
	lossByPosition(t, &cfg)
	table := *trained(t, cfg, Options{}).LossBy
	if table.Documents != 2 || table.Tokens != 46 || table.Window != 8 || len(table.After.ByPosition) != 6 {
		t.Errorf("%+v", table)
	}
	if table.Before.Loss == table.After.Loss || table.Before.Loss == table.Windowed.Loss || table.Windowed.Loss == 0 {
		t.Errorf("losses %v, %v, %v: three models cannot agree", table.Before.Loss, table.Windowed.Loss, table.After.Loss)
	}
	short, long := table.Before.ByPosition[0], table.Windowed.ByPosition[0]
	if short.Loss == long.Loss {
		t.Error("the window is measured with the run's RoPE, not with the base model's")
	}
	after, err := Evaluate(t.Context(), EvalOptions{Model: cfg.OutputDir, Data: cfg.TestDatasets[0].Path, BinSize: 4, Set: []string{"sequence_len=24"}})
	if err != nil {
		t.Fatal(err)
	}
	if got := table.After.Documents[0].Loss; math.Abs(got-after.Documents[0].Loss) > 1e-5*got {
		t.Errorf("after: %v, an evaluation of the saved model says %v", got, after.Documents[0].Loss)
	}
	if info, err := os.Stat(table.Plot); err != nil || info.Size() < 1000 || filepath.Dir(table.Plot) != cfg.OutputDir {
		t.Errorf("plot %s: %v", table.Plot, err)
	}
	resumed := elsewhere(cfg, "resumed")
	interrupted(t, resumed, 4, "")
	again := *trained(t, resumed, Options{Resume: "latest"}).LossBy
	again.Plot = table.Plot
	if fmt.Sprint(again) != fmt.Sprint(table) {
		t.Errorf("resumed: %+v, want %+v", again, table)
	}
}

// TestATableThatBeganOtherwiseIsNotContinued changes the table's settings between a run and its continuation.
func TestATableThatBeganOtherwiseIsNotContinued(t *testing.T) {
	cfg := tinyRun(t)
	lossByPosition(t, &cfg)
	with, without := cfg, elsewhere(cfg, "without")
	without.LossByPosition = false
	interrupted(t, with, 2, "")
	interrupted(t, without, 2, "")
	without.LossByPosition = true
	_, err := New(without, Options{Resume: "latest"})
	wantError(t, err, "loss_by_position", "the model has changed since", "loss_by_position=false")
	with.LossByPositionWindow = 12
	_, err = New(with, Options{Resume: "latest"})
	wantError(t, err, "window of 8", "loss_by_position_window=8")
	with.LossByPositionWindow, with.LossByPositionDocuments = 8, 1
	_, err = New(with, Options{Resume: "latest"})
	wantError(t, err, "on 2 documents", "loss_by_position_documents=2")
	with.LossByPosition = false
	trained(t, with, Options{Resume: "latest"})
}

// metered counts the bytes of all messages.
type metered struct {
	dist.Engine
	bytes *atomic.Int64
}

func (m metered) Isend(b []byte, to, tag int) dist.Handle {
	m.bytes.Add(int64(len(b)))
	return m.Engine.Isend(b, to, tag)
}

// TestThePlanIsWhatHappens counts tokens, parameters and bytes on the wire of a run of full sequences. The plan leaves out the few
// numbers of a step that are no tensors.
func TestThePlanIsWhatHappens(t *testing.T) {
	cfg := tinyRun(t)
	writeDocuments(t, cfg.Datasets[0].Path, 24, 24, 24, 24, 24)
	cfg.ContextParallelSize, cfg.MicroBatchSize, cfg.MaxSteps = 3, 2, 2
	trainer := prepared(t, cfg, Options{})
	plan := trainer.Plan()
	var sent atomic.Int64
	trainer.run.wrap = func(e dist.Engine) dist.Engine { return metered{e, &sent} }
	result, err := trainer.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := sent.Load(); got < 2*plan.WireBytes || float64(got) > 1.01*float64(2*plan.WireBytes)+1000 {
		t.Errorf("two steps sent %d bytes, the plan says %d each", got, plan.WireBytes)
	}
	if plan.TokensPerStep != 96 || result.Tokens != 2*plan.TokensPerStep || plan.TrainTokens != 120 || plan.Steps != 2 {
		t.Errorf("plan %+v, result %+v", plan, result)
	}
	total := 0
	for _, p := range trainer.run.params.All() {
		total += len(p.Data)
	}
	if plan.Parameters != int64(total) {
		t.Errorf("the plan has %d parameters, the model %d", plan.Parameters, total)
	}
}

// TestEpochsCountEverySequence turns epochs into steps: enough for the last sequence.
func TestEpochsCountEverySequence(t *testing.T) {
	for _, c := range []struct {
		epochs       float64
		micro, steps int
	}{{1, 1, 4}, {2, 1, 7}, {0.5, 1, 2}, {0.1, 1, 1}, {1, 7, 1}, {1, 20, 1}, {3, 2, 6}} {
		cfg := tinyRun(t) // seven sequences, two micro-batches a step
		cfg.MaxSteps, cfg.NumEpochs, cfg.MicroBatchSize = 0, c.epochs, c.micro
		cfg.WarmupSteps, cfg.WarmupRatio = 0, 0.3
		trainer := prepared(t, cfg, Options{})
		if got := trainer.Plan().Steps; got != c.steps {
			t.Errorf("%v epochs in batches of 2 x %d: %d steps, want %d", c.epochs, c.micro, got, c.steps)
		}
		if got, want := trainer.run.schedule.Warmup, int(math.Ceil(0.3*float64(c.steps))); got != want {
			t.Errorf("warm-up of %d of %d steps, want %d", got, c.steps, want)
		}
	}
}

// TestMetricsSayWhatTheContractNames reads the keys of a step and of an evaluation.
func TestMetricsSayWhatTheContractNames(t *testing.T) {
	cfg := withEvaluation(t)
	cfg.MaxSteps, cfg.MicroBatchSize, cfg.LoggingSteps = 3, 9, 2 // more sequences in a batch than there are
	trained(t, cfg, Options{})
	text, err := os.ReadFile(filepath.Join(cfg.OutputDir, metricsFile))
	if err != nil {
		t.Fatal(err)
	}
	var steps, evals int
	for line := range strings.Lines(string(text)) {
		var values map[string]float64
		if err := json.Unmarshal([]byte(line), &values); err != nil {
			t.Fatal(err)
		}
		keys := []string{"step", "loss", "grad_norm", "learning_rate", "tokens", "tokens_per_second", "memory_bytes", "seconds", "epoch"}
		if _, eval := values["eval_loss"]; eval {
			keys = []string{"step", "eval_loss", "eval_tokens", "eval_seconds"}
			evals++
		} else {
			steps++
		}
		for _, key := range keys {
			if !(values[key] > 0) {
				t.Errorf("%s has %s %v", line, key, values[key])
			}
		}
	}
	if steps != 2 || evals != 1 { // steps 2 and 3: the last is always there
		t.Errorf("%d steps and %d evaluations in\n%s", steps, evals, text)
	}
}
