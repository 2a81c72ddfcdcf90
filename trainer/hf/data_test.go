package hf

import (
	"os"
	"path/filepath"
	"testing"
)

// sharedData finds the folder of real models: RINGGRAD_DATA, or shared/data beside the repository. Tests that need it say so loudly
// where it is missing.
func sharedData(t testing.TB, path string) string {
	t.Helper()
	roots := []string{os.Getenv("RINGGRAD_DATA"), filepath.Join("..", "..", "..", "shared", "data")}
	for _, root := range roots {
		if root == "" {
			continue
		}
		full := filepath.Join(root, filepath.FromSlash(path))
		if _, err := os.Stat(full); err == nil {
			return full
		}
	}
	t.Skipf("SKIPPED: %s is neither under RINGGRAD_DATA nor under ../shared/data; this test compares with real model folders", path)
	return ""
}
