//go:build ringcuda && cgo

package nccl

import (
	"os"
	"testing"
)

// TestARealLibraryIsUnderstood as far as that can be told without a GPU: its functions are there, and an id comes back whole. Set
// RINGGRAD_TEST_NCCL to the path of NVIDIA's libnccl.so.2.
func TestARealLibraryIsUnderstood(t *testing.T) {
	path := os.Getenv("RINGGRAD_TEST_NCCL")
	if path == "" {
		t.Skip("SKIPPED: RINGGRAD_TEST_NCCL does not name NVIDIA's library")
	}
	l, err := openLibrary(path)
	if err != nil {
		t.Fatal(err)
	}
	if l.version < oldestLibrary || l.version > 100_000 {
		t.Errorf("the version is %d", l.version)
	}
	a, err := l.uniqueID()
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.uniqueID()
	if err != nil {
		t.Fatal(err)
	}
	if a == b || a == (uniqueID{}) {
		t.Errorf("the ids are %x and %x", a, b)
	}
	if c, err := l.begin(a, receiverRank); err != nil {
		wantText(t, err, "ncclCommInitRankConfig: unhandled cuda error (")
		t.Logf("NCCL %s without a GPU: %v", versionText(l.version), err)
	} else if err := c.abort(); err != nil {
		t.Error(err)
	}
}
