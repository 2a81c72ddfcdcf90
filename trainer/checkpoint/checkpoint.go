// Package checkpoint keeps the checkpoints of a run: folders checkpoint-N that appear whole or not at all.
//
// A checkpoint is written into a temporary folder beside its place, every file is synced to the disk, the folder is renamed, and
// the parent is synced. A process that is killed at any moment leaves the earlier checkpoints as they were, and at worst a
// temporary folder that the next run removes. Each checkpoint lists its files with sizes and checksums, so a damaged one is
// refused by name.
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
	prefix      = "checkpoint-"
	temporary   = ".tmp-checkpoint-"
	manifest    = "files.json"
	allReadable = 0o755
)

// ErrNone is returned by Latest when a folder holds no checkpoint.
var ErrNone = errors.New("no checkpoint")

// Entry is one checkpoint.
type Entry struct {
	Step int
	Path string
}

// List returns the complete checkpoints of a run's folder, oldest first. A folder that does not exist holds none.
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
		step, err := strconv.Atoi(strings.TrimPrefix(item.Name(), prefix))
		if err == nil && item.IsDir() && strings.HasPrefix(item.Name(), prefix) {
			list = append(list, Entry{step, filepath.Join(root, item.Name())})
		}
	}
	slices.SortFunc(list, func(a, b Entry) int { return cmp.Compare(a.Step, b.Step) })
	return list, nil
}

// Latest returns the newest checkpoint of a run's folder.
func Latest(root string) (Entry, error) {
	list, err := List(root)
	if err != nil {
		return Entry{}, err
	}
	if len(list) == 0 {
		return Entry{}, fmt.Errorf("checkpoint: %w in %s", ErrNone, root)
	}
	return list[len(list)-1], nil
}

// Write makes checkpoint-STEP in root: write fills a temporary folder, and only when it and everything after has succeeded does the
// checkpoint appear. One of the same step is replaced.
func Write(root string, step int, write func(dir string) error) (path string, err error) {
	path = filepath.Join(root, prefix+strconv.Itoa(step))
	dir, err := os.MkdirTemp(root, temporary+strconv.Itoa(step)+"-")
	if err != nil {
		return "", fmt.Errorf("checkpoint: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("checkpoint: step %d could not be saved; earlier checkpoints are untouched: %w", step, err)
			_ = os.RemoveAll(dir)
		}
	}()
	if err := os.Chmod(dir, allReadable); err != nil {
		return "", err
	}
	if err := write(dir); err != nil {
		return "", err
	}
	if err := writeManifest(dir); err != nil {
		return "", err
	}
	if err := syncAll(dir); err != nil {
		return "", err
	}
	if err := replace(dir, path); err != nil {
		return "", err
	}
	return path, syncDir(root)
}

// replace renames dir to path. An older folder there steps aside first, under a name that is cleaned up.
func replace(dir, path string) error {
	aside := filepath.Join(filepath.Dir(path), temporary+"old-"+filepath.Base(path))
	err := os.Rename(path, aside)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(dir, path); err != nil {
		return errors.Join(err, os.Rename(aside, path))
	}
	return os.RemoveAll(aside)
}

// Prune removes the oldest checkpoints until keep are left; keep 0 keeps all. A checkpoint loses its name before its files.
func Prune(root string, keep int) error {
	list, err := List(root)
	if err != nil || keep <= 0 || len(list) <= keep {
		return err
	}
	for _, old := range list[:len(list)-keep] {
		aside := filepath.Join(root, temporary+"old-"+filepath.Base(old.Path))
		if err := os.Rename(old.Path, aside); err != nil {
			return fmt.Errorf("checkpoint: remove %s: %w", old.Path, err)
		}
		if err := os.RemoveAll(aside); err != nil {
			return fmt.Errorf("checkpoint: remove %s: %w", old.Path, err)
		}
	}
	return nil
}

// Clean removes what killed saves have left behind. A checkpoint that had stepped aside when its replacement was cut short steps
// back. Call it with the run's folder locked.
func Clean(root string) error {
	items, err := os.ReadDir(root)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	for _, item := range items {
		if !strings.HasPrefix(item.Name(), temporary) {
			continue
		}
		path := filepath.Join(root, item.Name())
		if name, aside := strings.CutPrefix(item.Name(), temporary+"old-"); aside && Verify(path) == nil {
			if home := filepath.Join(root, name); !exists(home) {
				if err := os.Rename(path, home); err != nil {
					return fmt.Errorf("checkpoint: %w", err)
				}
				continue
			}
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// syncAll syncs every file below dir, then dir.
func syncAll(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
	if err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(ignoreUnsupported(f.Sync()), f.Close())
}

// ignoreUnsupported passes over systems whose folders cannot be synced (Windows).
func ignoreUnsupported(err error) error {
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrInvalid) {
		return nil
	}
	return err
}
