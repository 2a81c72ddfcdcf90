package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

const manifestFile = "files.json"

// manifest is files.json: what belongs to a checkpoint.
type manifest struct {
	Save  int             `json:"save"` // number of the save
	Files map[string]file `json:"files"`
}

type file struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// takeManifest lists every file of the folder, as JSON.
func takeManifest(dir string, save int) ([]byte, error) {
	items, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	m := manifest{Save: save, Files: map[string]file{}}
	for _, item := range items {
		if m.Files[item.Name()], err = measure(filepath.Join(dir, item.Name())); err != nil {
			return nil, err
		}
	}
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

func readManifest(path string) (manifest, error) {
	var m manifest
	text, err := os.ReadFile(filepath.Join(path, manifestFile))
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", manifestFile, err)
	}
	if len(m.Files) == 0 {
		return m, fmt.Errorf("%s lists no files", manifestFile)
	}
	return m, nil
}

// measure reads a file's size and checksum.
func measure(path string) (file, error) {
	f, err := os.Open(path)
	if err != nil {
		return file{}, err
	}
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	size, err := io.Copy(sum, f)
	if err != nil {
		return file{}, err
	}
	return file{Size: size, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}

// Verify reads a checkpoint's files and compares them with what was saved. The error names the folder, the file and a checkpoint
// beside it that may serve instead.
func Verify(path string) error {
	m, err := readManifest(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("checkpoint: %s is not a whole checkpoint of this program: it has no %s%s", path, manifestFile, instead(path))
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %s is damaged: %w%s", path, err, instead(path))
	}
	for _, name := range slices.Sorted(maps.Keys(m.Files)) {
		if err := compare(filepath.Join(path, name), m.Files[name]); err != nil {
			return fmt.Errorf("checkpoint: %s is damaged: %s %w%s", path, name, err, instead(path))
		}
	}
	return nil
}

// compare looks at the size first: a truncated file of many gigabytes is found at once.
func compare(path string, want file) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("is missing")
	}
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	if info.Size() != want.Size {
		return fmt.Errorf("has %d bytes and was saved with %d", info.Size(), want.Size)
	}
	got, err := measure(path)
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	if got != want {
		return errors.New("has other bytes than were saved (its SHA-256 differs)")
	}
	return nil
}

// instead names the remedy: the checkpoint that was saved before this one, where there is one.
func instead(path string) string {
	list, err := List(filepath.Dir(path))
	i := slices.IndexFunc(list, func(e Entry) bool { return filepath.Clean(e.Path) == filepath.Clean(path) })
	if err != nil || i < 1 {
		return "; resume from another checkpoint, or start anew in another output_dir"
	}
	return fmt.Sprintf("; resume from %s, the one before it", list[i-1].Path)
}
