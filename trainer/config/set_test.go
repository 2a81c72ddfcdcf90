package config

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSetOverridesTheFileInOrder(t *testing.T) {
	c := parse(t, minimal+"max_steps: 40\nwarmup_ratio: 0.1\nrope_scaling: {rope_type: linear, factor: 2}\n",
		"max_steps=3", "max_steps=4", "rope_scaling.factor=16", "warmup_ratio=null", "warmup_steps=2", "learning_rate=2e-5",
		"datasets.0.path=*.md", "datasets.1.path=b.jsonl", "datasets.1.field=body", "output_dir=2026", "ring_timeout=90s",
		"shuffle_merged_datasets=false", "test_datasets=[{path: c.txt}]", "resume_from_checkpoint=", "model=null", "seed=1e6")
	want := Default()
	want.BaseModel, want.MaxSteps, want.WarmupSteps, want.LearningRate, want.OutputDir = "m", 4, 2, 2e-5, "2026"
	want.RopeScaling = &RopeScaling{RopeType: "linear", Factor: 16}
	want.RingTimeout, want.ShuffleMergedDatasets, want.Seed = Duration(90*time.Second), false, 1_000_000
	want.Datasets = []Dataset{{Path: "*.md", Field: "text", InvalidUTF8: "error"}, {Path: "b.jsonl", Field: "body", InvalidUTF8: "error"}}
	want.TestDatasets = []Dataset{{Path: "c.txt", Field: "text", InvalidUTF8: "error"}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
}

func TestSetBuildsSectionsThatTheFileLacks(t *testing.T) {
	c := parse(t, "datasets: [{path: a}]\n", "model.hidden_size=64", "model.model_type=llama", "tokenizer_config=tok", "rope_scaling.rope_type=yarn", "rope_scaling.factor=8")
	if c.Model["hidden_size"] != 64 || c.Model["model_type"] != "llama" || c.RopeScaling.Factor != 8 {
		t.Errorf("%+v", c)
	}
}

func TestAProblemOfSetNamesTheArgument(t *testing.T) {
	for argument, want := range map[string]string{
		"context_parallel_size=0":           "--set context_parallel_size=0: context_parallel_size is 0; it must be at least 1",
		"context_parallel_size=4096":        "--set context_parallel_size=4096: context_parallel_size is 4096 but a sequence has 2048 tokens",
		"micro_batch_size=3000000000":       "micro_batch_size 3000000000 times sequence_len 2048 is more than 2,147,483,647 tokens",
		"rope_scaling.faktor=2":             `--set rope_scaling.faktor=2: unknown key "rope_scaling.faktor"; did you mean "factor"?`,
		"datasets.x.path=b":                 `datasets is a list with 1 entries; use a number from 0 to 1 in place of "x"`,
		"output_dir.x=1":                    `output_dir must be text, not a mapping`,
		"base_model.x=1":                    `base_model is the text "m", which has nothing called "x" below it`,
		"learning_rate=fast":                `learning_rate must be a number, not the text "fast"`,
		"rope_scaling={rope_type: dynamic}": `rope_scaling.rope_type is "dynamic"; it must be one of default, linear, llama3, yarn`,
		"ulysses_size=2":                    "--set ulysses_size=2: ulysses_size is 2, which does not divide context_parallel_size, which is 1; use 1",
		"=3":                                "write it as key=value",
		"seed":                              "write it as key=value",
	} {
		_, err := Parse("run.yaml", []byte(minimal), []string{argument})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: %v, want %q", argument, err, want)
		}
	}
}

func TestProblemsOfFileAndSetComeTogetherInOrder(t *testing.T) {
	_, err := Parse("run.yaml", []byte(minimal+"zzz: 1\nseed: x\n"), []string{"micro_batch_size=0"})
	var all *Error
	if !errors.As(err, &all) || len(all.Problems) != 3 {
		t.Fatalf("%v", err)
	}
	for i, want := range []Problem{{Key: "zzz", File: "run.yaml", Line: 3, Column: 1}, {Key: "seed", File: "run.yaml", Line: 4, Column: 7}, {Key: "micro_batch_size", Set: "micro_batch_size=0"}} {
		got := all.Problems[i]
		got.Message = ""
		if got != want {
			t.Errorf("problem %d is %+v, want %+v", i, got, want)
		}
	}
	var first Problem
	if !errors.As(err, &first) || first.Key != "zzz" {
		t.Errorf("errors.As gives %+v", first)
	}
}

func TestForModelTakesDocumentsWholeUnlessTold(t *testing.T) {
	c, err := ForModel("folder", nil)
	if err != nil || c.BaseModel != "folder" || c.SequenceLen != 0 || c.ContextParallelSize != 1 {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = ForModel("folder", []string{"sequence_len=512", "excess_length_strategy=truncate", "context_parallel_size=3"})
	if err != nil || c.SequenceLen != 512 || c.ContextParallelSize != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err = ForModel("folder", []string{"context_parallel_size=0", "sequence_len=-1", "sequence_length=3"}); err == nil || !strings.Contains(err.Error(), "3 problems") {
		t.Errorf("%v", err)
	}
}
