package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"train": main, "crashing": crashing, "asked": asked})
}

// TestStories runs the scripts under testdata/script: each tells what a user does, what is printed, and what lies on the disk then.
// Every script starts with the files of testdata/world, the byte tokenizer in bytes, and a small model of random weights in model.
func TestStories(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	world := t.TempDir()
	tokenizer := filepath.Join(root, "testdata", "bytes")
	copyTree(t, filepath.Join(world, "bytes"), tokenizer)
	copyTree(t, world, filepath.Join("testdata", "world"))
	writeModel(t, filepath.Join(world, "model"), tokenizer)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("ROOT", root)
			return os.CopyFS(env.WorkDir, os.DirFS(world))
		},
		Condition: func(name string) (bool, error) { return name == "root" && os.Geteuid() == 0, nil },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ends": ends, "refuses": refuses, "interrupt": interrupt, "damage": damage, "edit": edit, "shape": shape, "copy": copyFolder, "plain": plain, "binary": binary,
		},
	})
}

// smallModel is a model that runs in no time.
var smallModel = map[string]any{
	"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
	"num_key_value_heads": 2, "vocab_size": 256, "max_position_embeddings": 64, "tie_word_embeddings": true,
}

func writeModel(t *testing.T, dir, tokenizer string) {
	t.Helper()
	cfg, err := hf.ConfigFromMap(smallModel)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	weights := model.Init[float32](cfg, 1).HF()
	if err := hf.Save(dir, hf.Folder{Config: cfg, Tensors: weights, SourceDir: tokenizer}); err != nil {
		t.Fatal(err)
	}
}

func copyTree(t *testing.T, to, from string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// ends STATUS COMMAND...: the command ends with exactly this exit status.
func ends(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := status(ts, ts.Exec(args[1], args[2:]...)); got != want {
		ts.Fatalf("exit status %d, want %d\n%s", got, want, ts.ReadFile("stderr"))
	}
}

func status(ts *testscript.TestScript, err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}
