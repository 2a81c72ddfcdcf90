package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// files returns a writer of a checkpoint's files; content tells saves apart.
func files(content string) func(string) error {
	return func(dir string) error {
		return errors.Join(
			os.WriteFile(filepath.Join(dir, "model.safetensors"), []byte("weights "+content), 0o644),
			os.WriteFile(filepath.Join(dir, stateFile), []byte(`{"content": "`+content+`"}`), 0o444))
	}
}

// content reads back what files wrote, of a checkpoint that must be whole.
func content(t *testing.T, path string) string {
	t.Helper()
	if err := Verify(path); err != nil {
		t.Fatal(err)
	}
	var s struct{ Content string }
	if err := ReadState(path, &s); err != nil {
		t.Fatal(err)
	}
	return s.Content
}

func mustWrite(t *testing.T, root string, step int, what string) string {
	t.Helper()
	path, err := Write(root, step, files(what))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// steps lists the checkpoints of root, oldest first.
func steps(t *testing.T, root string) (list []int) {
	t.Helper()
	entries, err := List(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Step)
	}
	return list
}

// leftovers lists what is not a checkpoint.
func leftovers(t *testing.T, root string) (list []string) {
	t.Helper()
	items, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range items {
		if strings.HasPrefix(item.Name(), ".") {
			list = append(list, item.Name())
		}
	}
	return list
}

// brokenDisk fails at one operation, or at it and all later ones, as seen from a process that is killed there.
type brokenDisk struct {
	osDisk
	at    int // counted down; the operation that finds 0 fails
	dead  bool
	kills bool
}

var errFull = &os.PathError{Op: "write", Path: "disk", Err: syscall.ENOSPC}

func (d *brokenDisk) fails() bool {
	d.at--
	if d.at == -1 && d.kills {
		d.dead = true
	}
	return d.at == -1 || d.dead
}

func (d *brokenDisk) makeTemp(root, pattern string) (string, error) {
	if d.fails() {
		return "", errFull
	}
	return d.osDisk.makeTemp(root, pattern)
}

func (d *brokenDisk) write(path string, data []byte) error {
	if d.fails() {
		return errors.Join(d.osDisk.write(path, data[:len(data)/2]), errFull)
	}
	return d.osDisk.write(path, data)
}

func (d *brokenDisk) sync(path string) error {
	if d.fails() {
		return errFull
	}
	return d.osDisk.sync(path)
}

func (d *brokenDisk) rename(from, to string) error {
	if d.fails() {
		return errFull
	}
	return d.osDisk.rename(from, to)
}

// remove takes one file of the folder when it is cut short.
func (d *brokenDisk) remove(path string) error {
	if d.fails() {
		items, _ := os.ReadDir(path)
		for _, item := range items[:min(1, len(items))] {
			_ = os.Remove(filepath.Join(path, item.Name()))
		}
		return errFull
	}
	return d.osDisk.remove(path)
}

// TestASaveThatEndsAnywhereLeavesAWholeCheckpoint cuts the save of a new checkpoint, and that of one that replaces another, at every
// operation on the disk: by an error, and by the end of the process.
func TestASaveThatEndsAnywhereLeavesAWholeCheckpoint(t *testing.T) {
	for _, step := range []int{2, 1} {
		for _, kills := range []bool{false, true} {
			for at := 0; ; at++ {
				root := t.TempDir()
				mustWrite(t, root, 1, "old")
				d := &brokenDisk{at: at, kills: kills}
				_, err := save(d, root, step, files("new"))
				if d.at >= 0 { // it never came to the operation: the save is longer than all that were tried
					if err != nil || at < 6 {
						t.Fatalf("%d operations, then %v", at, err)
					}
					break
				}
				where := fmt.Sprintf("step %d, operation %d, killed: %v", step, at, kills)
				if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), filepath.Join(root, fmt.Sprint("checkpoint-", step))) {
					t.Errorf("%s: the error is %v", where, err)
				}
				if err := Clean(root); err != nil {
					t.Fatal(err)
				}
				latest, err := Latest(root)
				if err != nil {
					t.Fatalf("%s: %v", where, err)
				}
				if got := content(t, latest.Path); got != "old" && (got != "new" || latest.Step != step) {
					t.Errorf("%s: checkpoint-%d holds %q", where, latest.Step, got)
				}
				if left := leftovers(t, root); left != nil {
					t.Errorf("%s: %v is left", where, left)
				}
			}
		}
	}
}

func TestAFullDiskIsNamedWithTheRemedyAndCleanedUp(t *testing.T) {
	root := t.TempDir()
	full := func(dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "model.safetensors"), []byte("half"), 0o644), errFull)
	}
	_, err := Write(root, 1, full)
	if err == nil || !strings.Contains(err.Error(), "free space on the disk and start again") {
		t.Errorf("the first save: %v", err)
	}
	before := mustWrite(t, root, 20, "old")
	_, err = Write(root, 40, full)
	for _, want := range []string{filepath.Join(root, "checkpoint-40") + " could not be saved", "no space left", before + " is whole", "--resume latest"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if left := leftovers(t, root); left != nil {
		t.Errorf("%v is left on a disk that is full", left)
	}
	if got := content(t, before); got != "old" {
		t.Errorf("the earlier checkpoint holds %q", got)
	}
}

func TestACheckpointOfTheSameStepIsReplaced(t *testing.T) {
	root := t.TempDir()
	mustWrite(t, root, 3, "old")
	if got := content(t, mustWrite(t, root, 3, "new")); got != "new" {
		t.Errorf("it holds %q", got)
	}
	if list, left := steps(t, root), leftovers(t, root); len(list) != 1 || left != nil {
		t.Errorf("%v, %v", list, left)
	}
}

func TestPruneKeepsThoseSavedLast(t *testing.T) {
	root := t.TempDir()
	for _, step := range []int{20, 40, 60} {
		mustWrite(t, root, step, "first")
	}
	// The run goes on from 20 again: what it saves now is newer than 40 and 60 of the branch that was left.
	mustWrite(t, root, 30, "second")
	if latest, err := Latest(root); err != nil || latest.Step != 30 {
		t.Errorf("the latest is %+v, %v", latest, err)
	}
	if err := Prune(root, 0); err != nil || len(steps(t, root)) != 4 {
		t.Errorf("%v, %v: 0 keeps all", steps(t, root), err)
	}
	if err := Prune(root, 2); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(steps(t, root)); got != "[60 30]" {
		t.Errorf("%s are left, want 60 and 30", got)
	}
	if left := leftovers(t, root); left != nil {
		t.Errorf("%v is left", left)
	}
}

func TestAPruneThatEndsAnywhereLeavesWholeCheckpoints(t *testing.T) {
	for at := 0; ; at++ {
		root := t.TempDir()
		mustWrite(t, root, 1, "old")
		mustWrite(t, root, 2, "new")
		d := &brokenDisk{at: at, kills: true}
		err := prune(d, root, 1)
		if d.at >= 0 {
			if err != nil || at != 3 {
				t.Fatalf("%d operations, then %v", at, err)
			}
			return
		}
		if err == nil || !strings.Contains(err.Error(), "checkpoint-1") {
			t.Errorf("operation %d: %v", at, err)
		}
		if err := Clean(root); err != nil {
			t.Fatal(err)
		}
		list, err := List(root)
		if err != nil || len(list) == 0 || list[len(list)-1].Step != 2 {
			t.Fatalf("operation %d: %v, %v", at, list, err)
		}
		for _, e := range list {
			content(t, e.Path)
		}
	}
}

func TestOnlyFoldersOfCheckpointsAreListed(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"checkpoint-x", "checkpoint-", "checkpoint--3", "checkpoint-5.bak", "other-5", temporary + "7-123"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "checkpoint-9"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if list := steps(t, root); list != nil {
		t.Errorf("%v", list)
	}
	if _, err := Latest(root); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), root) {
		t.Errorf("%v", err)
	}
	if _, err := Latest(filepath.Join(root, "missing")); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
}

func ExampleWrite() {
	root, err := os.MkdirTemp("", "run")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(root) //nolint:errcheck // a temporary folder
	for _, step := range []int{20, 40, 60} {
		_, err := Write(root, step, func(dir string) error {
			return WriteState(dir, map[string]int{"global_step": step})
		})
		if err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := Prune(root, 2); err != nil {
		fmt.Println(err)
		return
	}
	list, _ := List(root)
	latest, _ := Latest(root)
	fmt.Println(len(list), latest.Step, Verify(latest.Path))
	// Output: 2 60 <nil>
}
