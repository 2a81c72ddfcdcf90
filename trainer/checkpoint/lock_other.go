//go:build !unix

package checkpoint

import (
	"fmt"
	"os"
	"path/filepath"
)

// Lock takes a run's folder for this process by holding a file open for writing. Systems without flock only guard against two
// runs that start at once by refusing to share the file where they do so themselves.
func Lock(root string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(root, ".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return func() { _ = f.Close() }, nil
}
