// Package checkpoint keeps the checkpoints of a run: folders checkpoint-N that appear whole or not at all.
//
//	out/.tmp-checkpoint-40-123/   1. everything is written here: the model, optimizer.safetensors, trainer_state.json
//	                              2. files.json lists the files with sizes and SHA-256
//	                              3. every file and the folder are synced to the disk
//	out/checkpoint-40/            4. the folder is renamed, and out/ is synced
//
// A process that is killed at any moment, or that runs out of disk, leaves the earlier checkpoints as they were, and at worst a
// folder .tmp-checkpoint-* that the next run removes (Clean). A checkpoint that was damaged later is refused by name (Verify).
package checkpoint

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	prefix    = "checkpoint-"
	temporary = ".tmp-checkpoint-"   // a save that is not complete
	replaced  = temporary + "old-"   // a whole checkpoint that makes room for one of the same step
	pruned    = temporary + "prune-" // one on its way out
)

// ErrNone is returned by Latest when a folder holds no checkpoint.
var ErrNone = errors.New("no checkpoint")

// Entry is one checkpoint.
type Entry struct {
	Step int
	Path string
	Save int // its number among the saves into this folder; the newest has the largest
}

// List returns the checkpoints of a run's folder in the order they were saved, oldest first. That is the order of their steps,
// unless a run was resumed from an older checkpoint than the newest. A folder that does not exist holds none.
func List(root string) ([]Entry, error) {
	items, err := os.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	var list []Entry
	for _, item := range items {
		digits, named := strings.CutPrefix(item.Name(), prefix)
		step, err := strconv.Atoi(digits)
		if named && err == nil && step >= 0 && item.IsDir() {
			list = append(list, Entry{Step: step, Path: filepath.Join(root, item.Name())})
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.Step, b.Step) })
	last := 0
	for i := range list {
		// One whose manifest cannot be read stands behind the one of the step before it, so that Latest may find it and Verify
		// tell what is wrong with it.
		if m, err := readManifest(list[i].Path); err == nil {
			last = m.Save
		}
		list[i].Save = last
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return cmp.Compare(a.Save, b.Save) })
	return list, nil
}

// Latest returns the checkpoint that was saved last into a run's folder, or ErrNone.
func Latest(root string) (Entry, error) {
	list, err := List(root)
	if err != nil {
		return Entry{}, err
	}
	if len(list) == 0 {
		return Entry{}, fmt.Errorf("checkpoint: %w in %s; start without resuming, or give the folder of a checkpoint", ErrNone, root)
	}
	return list[len(list)-1], nil
}
