package mapped

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestForgottenPartsCanBeReadAgain at any alignment, down to nothing.
func TestForgottenPartsCanBeReadAgain(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcde"), 5000)
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range [][2]int{{0, 0}, {1, 2}, {0, len(want)}, {4095, 4097}, {4096, 8192}, {1, 70000}, {len(want) - 1, len(want)}} {
		Forget(f.Bytes()[part[0]:part[1]])
		if !bytes.Equal(f.Bytes(), want) {
			t.Fatalf("after forgetting %v the file reads otherwise", part)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// TestAFileThatIsNotThereIsAnError of the system's.
func TestAFileThatIsNotThereIsAnError(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Error(err)
	}
}
