package trainer

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnEndedContextLeavesNothingOfANewModel and its cause is the error.
func TestAnEndedContextLeavesNothingOfANewModel(t *testing.T) {
	cfg := tinyRun(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrInterrupted)
	if _, err := CreateModel(ctx, cfg); !errors.Is(err, ErrInterrupted) || errors.Is(err, ErrInput) {
		t.Errorf("error %v", err)
	}
	wantNothingBeside(t, cfg.OutputDir)
}

// wantNothingBeside looks for a folder and for what was written on the way to it.
func wantNothingBeside(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*"+filepath.Base(dir)+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("%s is left, %v", strings.Join(left, ", "), err)
	}
}
