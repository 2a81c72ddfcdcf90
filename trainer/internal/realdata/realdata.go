// Package realdata finds test data that is not in the repository: real models and what other programs computed for them.
package realdata

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// Path returns a file or folder below the environment variable RINGGRAD_DATA or, without it, below shared/data beside the
// repository. A test that needs one that is not there is skipped, loudly.
func Path(t testing.TB, elements ...string) string {
	t.Helper()
	name := filepath.Join(elements...)
	_, here, _, _ := runtime.Caller(0)
	beside := filepath.Join(filepath.Dir(here), "..", "..", "..", "..", "shared", "data")
	for _, root := range []string{os.Getenv("RINGGRAD_DATA"), beside} {
		if root == "" {
			continue
		}
		if path := filepath.Join(root, name); exists(path) {
			return path
		}
	}
	t.Skipf("SKIPPED: %s is neither under RINGGRAD_DATA nor under ../shared/data; this test compares with what other programs computed", name)
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
