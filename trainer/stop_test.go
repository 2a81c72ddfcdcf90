package trainer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/trainer/config"
)

// lossByPosition asks for the table, on held-back documents that fill a sequence.
func lossByPosition(t *testing.T, cfg *config.Config) {
	t.Helper()
	long := filepath.Join(filepath.Dir(cfg.OutputDir), "long.jsonl")
	writeDocuments(t, long, 30, 24, 5, 40)
	cfg.TestDatasets = []config.Dataset{{Path: long, Field: "text", InvalidUTF8: "error"}}
	cfg.LossByPosition, cfg.LossByPositionWindow, cfg.LossByPositionDocuments = true, 8, 2
}

// TestAStopBeforeTheFirstStepLeavesACheckpoint stops while a run measures what its model can do before training, and before Run.
func TestAStopBeforeTheFirstStepLeavesACheckpoint(t *testing.T) {
	cfg := tinyRun(t)
	cfg.ContextParallelSize = 2
	lossByPosition(t, &cfg)
	trained(t, cfg, Options{})
	want := curve(t, cfg.OutputDir)
	for _, when := range []string{"before, full context", "before, window of 8", ""} {
		c := elsewhere(cfg, "stopped "+when)
		var stop func()
		trainer := prepared(t, c, Options{Observer: Observer{Measuring: func(what string, done, _ int) {
			if what == when && done == 1 {
				stop()
			}
		}}})
		stop = trainer.Stop
		if when == "" {
			stop()
		}
		_, err := trainer.Run(t.Context())
		wantInterrupted(t, c, 0, err)
		result := trained(t, c, Options{Resume: "latest"})
		if got := curve(t, c.OutputDir); !slices.Equal(got, want) || result.LossBy == nil {
			t.Errorf("stopped %q:\n%+v, want\n%+v", when, got, want)
		}
	}
}

// TestAStopDuringTheLastEvaluationKeepsTheTraining stops in the column after training: a checkpoint of the last step is left
// though save_steps asks for none.
func TestAStopDuringTheLastEvaluationKeepsTheTraining(t *testing.T) {
	cfg := tinyRun(t)
	lossByPosition(t, &cfg)
	want := trained(t, cfg, Options{})
	c := elsewhere(cfg, "stopped")
	var stop func()
	trainer := prepared(t, c, Options{Observer: Observer{Measuring: func(what string, _, _ int) {
		if what == "after, full context" {
			stop()
		}
	}}})
	stop = trainer.Stop
	_, err := trainer.Run(t.Context())
	wantInterrupted(t, c, 8, err)
	got := trained(t, c, Options{Resume: "latest"})
	if got.Loss != want.Loss || got.Tokens != want.Tokens || got.LossBy.After.Loss != want.LossBy.After.Loss {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestAStopDuringAnEvaluationPostponesIt counts evaluations: the one that was cut short is taken once, by the resumed run.
func TestAStopDuringAnEvaluationPostponesIt(t *testing.T) {
	cfg := withEvaluation(t)
	trained(t, cfg, Options{})
	want := curve(t, cfg.OutputDir)
	c := elsewhere(cfg, "stopped")
	trainer := prepared(t, c, Options{})
	trainer.run.observer.Advanced = func(step int) {
		if step == 3 { // the evaluation is next, and asks before each sequence
			trainer.Stop()
		}
	}
	_, err := trainer.Run(t.Context())
	wantInterrupted(t, c, 3, err)
	if last := curve(t, c.OutputDir); last[len(last)-1].EvalLoss != 0 {
		t.Errorf("the evaluation was taken: %+v", last)
	}
	trained(t, c, Options{Resume: "latest"})
	if got := curve(t, c.OutputDir); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestTheEndOfTheContextEndsARunAtOnce cancels in the middle; goleak watches over what is left.
func TestTheEndOfTheContextEndsARunAtOnce(t *testing.T) {
	cfg := tinyRun(t)
	cfg.ContextParallelSize, cfg.MaxSteps, cfg.SaveSteps = 3, 1_000_000, 2
	ctx, cancel := context.WithCancel(t.Context())
	trainer := prepared(t, cfg, Options{Observer: Observer{Advanced: func(step int) {
		if step == 3 {
			cancel()
		}
	}}})
	start := time.Now()
	_, err := trainer.Run(ctx)
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrInterrupted) {
		t.Errorf("error %v, want the context's", err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("the run went on for %v", took)
	}
	cfg.MaxSteps = 4
	trained(t, cfg, Options{Resume: "latest"})
}

// TestAFolderWithoutACheckpointCanBeBegunAnewByAuto leaves a run that failed at once.
func TestAFolderWithoutACheckpointCanBeBegunAnewByAuto(t *testing.T) {
	cfg := tinyRun(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := prepared(t, cfg, Options{}).Run(ctx); err == nil {
		t.Fatal("a run without time has succeeded")
	}
	_, err := prepared(t, cfg, Options{}).Run(t.Context())
	wantError(t, err, cfg.OutputDir, "before its first checkpoint", "remove the folder")
	cfg.ResumeFromCheckpoint = "auto"
	trained(t, cfg, Options{})
	if _, err := os.Stat(filepath.Join(cfg.OutputDir, "model.safetensors")); err != nil {
		t.Error(err)
	}
}
