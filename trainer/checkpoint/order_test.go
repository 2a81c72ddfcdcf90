package checkpoint

import (
	"path/filepath"
	"slices"
	"testing"
)

// recordingDisk notes the operations on a disk that works.
type recordingDisk struct {
	osDisk
	done []string
}

func (d *recordingDisk) note(op, path string) {
	name := filepath.Base(path)
	if matched, _ := filepath.Match(temporary+"7-*", name); matched {
		name = "temporary"
	}
	d.done = append(d.done, op+" "+name)
}

func (d *recordingDisk) write(path string, data []byte) error {
	d.note("write", path)
	return d.osDisk.write(path, data)
}

func (d *recordingDisk) sync(path string) error {
	d.note("sync", path)
	return d.osDisk.sync(path)
}

func (d *recordingDisk) rename(from, to string) error {
	d.note("rename to", to)
	return d.osDisk.rename(from, to)
}

// A name that is on the disk before the bytes it stands for would be a checkpoint of zeros after a power failure.
func TestEveryByteIsOnTheDiskBeforeTheNameIs(t *testing.T) {
	root := t.TempDir()
	d := &recordingDisk{}
	if _, err := save(d, root, 7, files("x")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"write files.json", "sync files.json", "sync model.safetensors", "sync trainer_state.json", "sync temporary",
		"rename to checkpoint-7", "sync " + filepath.Base(root),
	}
	if !slices.Equal(d.done, want) {
		t.Errorf("%q\nwant %q", d.done, want)
	}
}
