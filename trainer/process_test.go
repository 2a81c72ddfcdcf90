//go:build darwin || linux

package trainer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/trainer/checkpoint"
	"github.com/ringgrad/ringgrad/trainer/config"
)

func init() {
	programs = map[string]func(config.Config){
		"full disk": func(cfg config.Config) {
			runAfterFirstSave(cfg, func() error {
				signal.Ignore(syscall.SIGXFSZ)
				return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 8 << 10, Max: 8 << 10})
			})
		},
		"new model on a full disk": func(cfg config.Config) {
			signal.Ignore(syscall.SIGXFSZ)
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 8 << 10, Max: 8 << 10}); err != nil {
				panic(err)
			}
			_, err := CreateModel(context.Background(), cfg)
			fmt.Println(errors.Is(err, ErrInput), err)
		},
		"stuck save": func(cfg config.Config) {
			runAfterFirstSave(cfg, func() error { return syscall.Mkfifo(pipe(cfg), 0o600) })
		},
		"lock": func(cfg config.Config) {
			if _, err := checkpoint.Lock(cfg.OutputDir); err != nil {
				panic(err)
			}
			fmt.Println("locked")
			_, _ = io.Copy(io.Discard, os.Stdin)
		},
	}
}

// pipe is one of the tokenizer's files; as a named pipe that nobody writes to it stops a save that copies it, for ever.
func pipe(cfg config.Config) string {
	return filepath.Join(cfg.TokenizerConfig, "special_tokens_map.json")
}

// runAfterFirstSave trains, and calls f when the first checkpoint is written. It prints how the run ended.
func runAfterFirstSave(cfg config.Config, f func() error) {
	saved := func(step int, _ string) {
		if step != cfg.SaveSteps {
			return
		}
		if err := f(); err != nil {
			panic(err)
		}
	}
	trainer, err := New(cfg, Options{Observer: Observer{Saved: saved}})
	if err != nil {
		panic(err)
	}
	_, err = trainer.Run(context.Background())
	fmt.Println(err)
}

// program starts this test binary as one of programs.
func program(t *testing.T, name string, cfg config.Config) *exec.Cmd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	writeFile(t, file, string(cfg.YAML()))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), programVariable+"="+name+":"+file)
	cmd.Stderr = os.Stderr
	return cmd
}

// TestAFullDiskLeavesTheCheckpointBefore fills the disk, as far as a process can tell, after the first checkpoint.
func TestAFullDiskLeavesTheCheckpointBefore(t *testing.T) {
	cfg := tinyRun(t)
	cfg.SaveSteps = 2
	var out bytes.Buffer
	cmd := program(t, "full disk", cfg)
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	wantError(t, errors.New(out.String()), "checkpoint-4 could not be saved", "model.safetensors", "file too large", "free space", "checkpoint-2 is whole", "--resume latest")
	resumeAfterDisaster(t, cfg)
}

// TestAFullDiskLeavesNothingOfANewModel and is no mistake of the input.
func TestAFullDiskLeavesNothingOfANewModel(t *testing.T) {
	cfg := tinyRun(t)
	cmd := program(t, "new model on a full disk", cfg)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, errors.New(string(out)), "false trainer: the model could not be written", "model.safetensors", "file too large", "free space")
	wantNothingBeside(t, cfg.OutputDir)
}

// TestAKillInTheMiddleOfASaveLeavesTheCheckpointBefore kills a process whose second checkpoint has its weights but not all files.
func TestAKillInTheMiddleOfASaveLeavesTheCheckpointBefore(t *testing.T) {
	cfg := tinyRun(t)
	cfg.SaveSteps = 2
	cmd := program(t, "stuck save", cfg)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	half := waitFor(t, filepath.Join(cfg.OutputDir, ".tmp-checkpoint-4-*", "model.safetensors"))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if err := os.Remove(pipe(cfg)); err != nil {
		t.Fatal(err)
	}
	resumeAfterDisaster(t, cfg)
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there", half)
	}
}

func waitFor(t *testing.T, pattern string) string {
	t.Helper()
	for range 3000 {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[0]
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s did not appear", pattern)
	return ""
}

// resumeAfterDisaster wants checkpoint-2, and nothing newer, to give the rest of the curve of a run without one.
func resumeAfterDisaster(t *testing.T, cfg config.Config) {
	t.Helper()
	list, err := checkpoint.List(cfg.OutputDir)
	if err != nil || len(list) != 1 || list[0].Step != 2 {
		t.Fatalf("checkpoints %v, %v", list, err)
	}
	trained(t, cfg, Options{Resume: "latest"})
	whole := elsewhere(cfg, "whole")
	trained(t, whole, Options{})
	if got, want := curve(t, cfg.OutputDir), curve(t, whole.OutputDir); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestAFolderInUseIsRefused has another process hold the lock, and lets go.
func TestAFolderInUseIsRefused(t *testing.T) {
	cfg := tinyRun(t)
	if err := os.MkdirAll(cfg.OutputDir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := program(t, "lock", cfg)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("locked"))); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, cfg.OutputDir)
	_, err = prepared(t, cfg, Options{}).Run(t.Context())
	wantError(t, err, "another run", cfg.OutputDir, fmt.Sprint(cmd.Process.Pid))
	if !errors.Is(err, ErrInput) || fmt.Sprint(snapshot(t, cfg.OutputDir)) != fmt.Sprint(before) {
		t.Errorf("%v; the folder holds %v", err, snapshot(t, cfg.OutputDir))
	}
	if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil && !strings.Contains(err.Error(), "file already closed") {
		t.Fatal(err)
	}
	trained(t, cfg, Options{})
}
