package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// file is the manifest's line for one file.
type file struct {
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// writeManifest lists every file of the folder.
func writeManifest(dir string) error {
	items, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	files := map[string]file{}
	for _, item := range items {
		if files[item.Name()], err = describe(filepath.Join(dir, item.Name())); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(files, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, manifest), append(text, '\n'), 0o644)
}

func describe(path string) (file, error) {
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

// Verify reads a checkpoint's files and compares them with its manifest.
func Verify(path string) error {
	text, err := os.ReadFile(filepath.Join(path, manifest))
	if err != nil {
		return fmt.Errorf("checkpoint: %s is not a complete checkpoint of this program: %w", path, err)
	}
	var files map[string]file
	if err := json.Unmarshal(text, &files); err != nil {
		return fmt.Errorf("checkpoint: %s: %s: %w", path, manifest, err)
	}
	for name, want := range files {
		got, err := describe(filepath.Join(path, name))
		if err != nil {
			return fmt.Errorf("checkpoint: %s is damaged: %w; resume from an older checkpoint", path, err)
		}
		if got != want {
			return fmt.Errorf("checkpoint: %s is damaged: %s has %d bytes and another content than the %d that were written; resume from an older checkpoint", path, name, got.Size, want.Size)
		}
	}
	return nil
}
