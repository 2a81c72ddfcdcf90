package checkpoint

import (
	"errors"
	"os"
	"runtime"
)

// disk is what a save does to the disk besides its caller's writing. Tests make it fail, or end, at any operation.
type disk interface {
	makeTemp(root, pattern string) (string, error)
	write(path string, data []byte) error
	sync(path string) error // a file or a folder
	rename(from, to string) error
	remove(path string) error // all of it; nothing there is no error
}

type osDisk struct{}

var _ disk = osDisk{}

// makeTemp gives the folder the rights of one made with mkdir: others may read a model.
func (osDisk) makeTemp(root, pattern string) (string, error) {
	dir, err := os.MkdirTemp(root, pattern)
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

func (osDisk) write(path string, data []byte) error { return os.WriteFile(path, data, 0o644) }
func (osDisk) rename(from, to string) error         { return os.Rename(from, to) }
func (osDisk) remove(path string) error             { return os.RemoveAll(path) }

// sync opens files for writing, which some systems want, and folders and read-only files for reading. Windows cannot sync folders.
func (osDisk) sync(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() && runtime.GOOS == "windows" {
		return nil
	}
	mode := os.O_RDWR
	if info.IsDir() || info.Mode().Perm()&0o200 == 0 {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
