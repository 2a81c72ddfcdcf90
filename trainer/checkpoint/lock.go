package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const lockFile = ".lock"

// errLocked is what lock returns when another process has the file.
var errLocked = errors.New("locked")

// Lock takes a run's folder for this process, so that two runs cannot write into one. The system releases it when the process
// ends, however it ends; the file .lock stays and means nothing by itself.
func Lock(root string) (unlock func(), err error) {
	path := filepath.Join(root, lockFile)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: output_dir cannot be written to: %w; choose another output_dir", err)
	}
	if err := lock(f); err != nil {
		_ = f.Close()
		if errors.Is(err, errLocked) {
			return nil, fmt.Errorf("checkpoint: another run%s is training in %s; wait for it or choose another output_dir", holder(path), root)
		}
		return nil, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	if err := errors.Join(f.Truncate(0), writeHolder(f)); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("checkpoint: output_dir cannot be written to: %w; free space or choose another output_dir", err)
	}
	return func() { _ = f.Close() }, nil
}

func writeHolder(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "this machine" // only for a message
	}
	_, err = fmt.Fprintf(f, "process %d on %s\n", os.Getpid(), host)
	return err
}

// holder tells who has the lock, as far as can be read.
func holder(path string) string {
	text, err := os.ReadFile(path)
	line, _, _ := strings.Cut(string(text), "\n")
	if err != nil || line == "" {
		return ""
	}
	return " (" + line + ")"
}
