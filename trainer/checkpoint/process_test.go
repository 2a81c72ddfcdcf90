//go:build linux || darwin

package checkpoint_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/checkpoint"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// helperRole and helperRoot are the environment of a process that TestProcess is run in for another test.
const (
	helperRole = "RINGGRAD_CHECKPOINT_ROLE"
	helperRoot = "RINGGRAD_CHECKPOINT_ROOT"
)

// TestProcess is the other process of the tests in this file; by itself it does nothing.
func TestProcess(t *testing.T) {
	root := os.Getenv(helperRoot)
	switch os.Getenv(helperRole) {
	case "killed":
		if _, err := checkpoint.Lock(root); err != nil {
			t.Fatal(err)
		}
		_, err := checkpoint.Write(root, 2, func(dir string) error {
			if err := writeModel(dir, 2); err != nil {
				return err
			}
			fmt.Println("ready") // the parent kills us here
			_, err := io.Copy(io.Discard, os.Stdin)
			return err
		})
		t.Fatalf("the save went on: %v", err)
	case "full":
		signal.Ignore(syscall.SIGXFSZ) // writes beyond the limit fail with EFBIG then, as they fail with ENOSPC on a full disk
		limit := syscall.Rlimit{Cur: 1 << 16, Max: 1 << 16}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
		_, err := checkpoint.Write(root, 2, func(dir string) error { return writeModel(dir, 1<<16) })
		if !errors.Is(err, syscall.EFBIG) {
			t.Fatalf("error %v, want EFBIG", err)
		}
		fmt.Println("error:", err)
	}
}

// process starts the other process of a test in a role.
func process(t *testing.T, role, root string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), helperRole+"="+role, helperRoot+"="+root)
	return cmd
}

// writeModel writes moments of n entries, which stand for a whole model.
func writeModel(dir string, n int) error {
	p := []hf.Parameter{{Name: "w", Shape: []int{n}}}
	moments := map[string]checkpoint.Moments{"w": {M: make([]float32, n), V: make([]float32, n)}}
	return errors.Join(checkpoint.WriteOptimizer(dir, checkpoint.Share{}, p, moments), checkpoint.WriteState(dir, map[string]int{"global_step": n}))
}

// rootWithOne is a run's folder with checkpoint-1.
func rootWithOne(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	if _, err := checkpoint.Write(root, 1, func(dir string) error { return writeModel(dir, 1) }); err != nil {
		t.Fatal(err)
	}
	return root
}

// onlyOne wants checkpoint-1 whole, the newest, and nothing else but the lock.
func onlyOne(t *testing.T, root string) {
	t.Helper()
	latest, err := checkpoint.Latest(root)
	if err != nil || latest.Step != 1 {
		t.Fatalf("latest is %+v, %v; want step 1", latest, err)
	}
	if err := checkpoint.Verify(latest.Path); err != nil {
		t.Error(err)
	}
	items, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		if name := item.Name(); name != "checkpoint-1" && name != ".lock" {
			t.Errorf("%s is left", name)
		}
	}
}

func TestKilledSaveLeavesThePreviousCheckpointAndFreesTheLock(t *testing.T) {
	root := rootWithOne(t)
	cmd := process(t, "killed", root)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}

	_, err = checkpoint.Lock(root)
	if err == nil {
		t.Fatal("two processes hold the lock")
	}
	for _, part := range []string{root, strconv.Itoa(cmd.Process.Pid), "another output_dir"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not name %q", err, part)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(root, ".tmp-checkpoint-2-*", "optimizer.safetensors")); len(left) != 1 {
		t.Errorf("the save is not under way: %v", left)
	}

	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
	unlock, err := checkpoint.Lock(root)
	if err != nil {
		t.Fatalf("the lock outlives its process: %v", err)
	}
	defer unlock()
	if latest, err := checkpoint.Latest(root); err != nil || latest.Step != 1 {
		t.Errorf("before cleaning the latest is %+v, %v; want step 1", latest, err)
	}
	if err := checkpoint.Clean(root); err != nil {
		t.Fatal(err)
	}
	onlyOne(t, root)
}

func TestFullDiskLeavesThePreviousCheckpoint(t *testing.T) {
	root := rootWithOne(t)
	said, err := process(t, "full", root).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	for _, part := range []string{"checkpoint-2 could not be saved", "optimizer.safetensors", filepath.Join(root, "checkpoint-1") + " is whole", "free space"} {
		if !strings.Contains(string(said), part) {
			t.Errorf("%q does not name %q", said, part)
		}
	}
	onlyOne(t, root)
}
