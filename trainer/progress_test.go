package trainer

import (
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/trainer/config"
)

// longStep is configs/million.yaml with a shorter sequence.
func longStep(t *testing.T, tokens int) config.Config {
	t.Helper()
	cfg, err := config.Load("../configs/million.yaml", nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg.SequenceLen, cfg.OutputDir = tokens, filepath.Join(dir, "out")
	cfg.TokenizerConfig = "../testdata/bytes"
	return cfg
}

func TestALongStepTellsHowFarItIs(t *testing.T) {
	cfg := longStep(t, 8192)
	run := prepared(t, cfg, Options{})
	if _, ok := run.Progress(); ok {
		t.Error("there is progress in a step before the run")
	}
	quit, ended := make(chan struct{}), make(chan []Progress)
	go func() {
		var seen []Progress
		for {
			select {
			case <-quit:
				ended <- seen
				return
			case <-time.After(time.Millisecond):
				if p, ok := run.Progress(); ok {
					seen = append(seen, p)
				}
			}
		}
	}()
	result, err := run.Run(t.Context())
	close(quit)
	seen := <-ended
	if err != nil {
		t.Fatal(err)
	}
	var parts strings.Builder
	for i, p := range seen {
		if p.Step != 1 || p.Steps != 1 || i > 0 && p.Done < seen[i-1].Done || p.Done < 0 || p.Done > 1 {
			t.Fatalf("%+v after %+v", p, seen[max(0, i-1)])
		}
		parts.WriteString(p.Part + "\n")
	}
	for _, part := range []string{"forward, layer 1 of 1, hop ", "backward, layer 1 of 1, hop ", " of 7\n"} {
		if !strings.Contains(parts.String(), part) {
			t.Errorf("no progress speaks of %q:\n%s", part, parts.String())
		}
	}
	done := slices.MaxFunc(seen, func(a, b Progress) int { return int(1e6 * (a.Done - b.Done)) }).Done
	if done < 0.8 {
		t.Errorf("the last progress of the step was %.2f", done)
	}
	if _, ok := run.Progress(); ok {
		t.Error("there is progress in a step after the run")
	}
	if run.run.state.flops == 0 || result.GFlops <= 0 {
		t.Errorf("the run did %v operations, %v Gflop a second", run.run.state.flops, result.GFlops)
	}
	if ratio := run.run.state.flops / run.Plan().Estimate.Flops.Total; math.Abs(ratio-1) > 0.03 {
		t.Errorf("the kernels counted %.3f of the operations that the step has", ratio)
	}
}

func TestARunOverItsMemoryLimitIsRefused(t *testing.T) {
	cfg := tinyRun(t)
	needed := config.Bytes(prepared(t, cfg, Options{}).Plan().Memory.Process)
	cfg.MemoryLimit = needed
	prepared(t, cfg, Options{})
	cfg.MemoryLimit = needed - 1
	_, err := New(cfg, Options{})
	wantError(t, err, "MiB", "over memory_limit "+cfg.MemoryLimit.String(), "lower sequence_len")
	if !errors.Is(err, ErrInput) {
		t.Errorf("%v is no error of the input", err)
	}
}
