package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Write makes checkpoint-STEP in root: write fills a temporary folder, and only when it and everything after has succeeded does the
// checkpoint appear. One of the same step is replaced. On an error (a full disk, say) the temporary folder is removed and every
// earlier checkpoint is as it was.
func Write(root string, step int, write func(dir string) error) (path string, err error) {
	return save(osDisk{}, root, step, write)
}

func save(d disk, root string, step int, write func(dir string) error) (path string, err error) {
	path = filepath.Join(root, prefix+strconv.Itoa(step))
	list, err := List(root)
	if err != nil {
		return "", err
	}
	dir, err := d.makeTemp(root, temporary+strconv.Itoa(step)+"-")
	if err != nil {
		return "", fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	if err := fill(d, dir, number(list), write); err != nil {
		return "", failed(list, path, errors.Join(err, d.remove(dir)))
	}
	if err := replace(d, dir, path); err != nil {
		return "", failed(list, path, errors.Join(err, d.remove(dir)))
	}
	if err := d.sync(root); err != nil {
		return "", failed(list, path, err)
	}
	return path, nil
}

// number is that of the next save.
func number(list []Entry) int {
	if len(list) == 0 {
		return 1
	}
	return list[len(list)-1].Save + 1
}

// fill writes a checkpoint's files and makes them durable, all but the name of the folder.
func fill(d disk, dir string, save int, write func(dir string) error) error {
	if err := write(dir); err != nil {
		return err
	}
	m, err := takeManifest(dir, save)
	if err != nil {
		return err
	}
	if err := d.write(filepath.Join(dir, manifestFile), m); err != nil {
		return err
	}
	items, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := d.sync(filepath.Join(dir, item.Name())); err != nil {
			return err
		}
	}
	return d.sync(dir)
}

// replace renames dir to path. A checkpoint that is there steps aside first, and back if the rename fails; if this process ends
// between the two renames, Clean lets it step back.
func replace(d disk, dir, path string) error {
	aside := filepath.Join(filepath.Dir(path), replaced+filepath.Base(path))
	if !exists(path) {
		return d.rename(dir, path)
	}
	if err := d.remove(aside); err != nil {
		return err
	}
	if err := d.rename(path, aside); err != nil {
		return err
	}
	if err := d.rename(dir, path); err != nil {
		return errors.Join(err, d.rename(aside, path))
	}
	return d.remove(aside)
}

// failed says what a save that failed leaves behind.
func failed(list []Entry, path string, err error) error {
	rest := "; free space on the disk and start again"
	if len(list) > 0 {
		rest = fmt.Sprintf("; %s is whole: free space on the disk and go on with --resume latest", list[len(list)-1].Path)
	}
	return fmt.Errorf("checkpoint: %s could not be saved: %w%s", path, err, rest)
}

// Prune removes the oldest checkpoints until keep are left, those saved last; keep 0 keeps all. A checkpoint loses its name before
// it loses its files.
func Prune(root string, keep int) error { return prune(osDisk{}, root, keep) }

func prune(d disk, root string, keep int) error {
	list, err := List(root)
	if err != nil || keep <= 0 || len(list) <= keep {
		return err
	}
	for _, old := range list[:len(list)-keep] {
		aside := filepath.Join(root, pruned+filepath.Base(old.Path))
		if err := errors.Join(d.remove(aside), d.rename(old.Path, aside)); err != nil {
			return fmt.Errorf("checkpoint: %s is one too many and cannot be removed: %w", old.Path, err)
		}
		if err := d.remove(aside); err != nil {
			return fmt.Errorf("checkpoint: %s is one too many and cannot be removed: %w", old.Path, err)
		}
	}
	return nil
}

// Clean removes what killed saves have left behind. A checkpoint that had stepped aside for a replacement that never came steps
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
		if name, aside := strings.CutPrefix(item.Name(), replaced); aside {
			if home := filepath.Join(root, name); !exists(home) && Verify(path) == nil {
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
