//go:build unix

package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const lockFile = ".lock"

// Lock takes a run's folder for this process; the system releases it when the process ends, however it ends.
func Lock(root string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(root, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("checkpoint: another process is training in %s; wait for it or choose another output_dir", root)
		}
		return nil, fmt.Errorf("checkpoint: lock %s: %w", root, err)
	}
	return func() { _ = f.Close() }, nil
}
