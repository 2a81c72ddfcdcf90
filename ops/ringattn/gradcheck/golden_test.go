package gradcheck

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

const committed = "../../../testdata/golden"

func TestGoldenFilesAgreeForEveryRingAndLayout(t *testing.T) {
	for _, dtype := range []string{Float64, Float32} {
		r, err := CheckGolden(context.Background(), []string{committed}, Options{Rings: []int{1, 2, 3, 8}, DTypes: []string{dtype}})
		if err != nil {
			t.Fatal(err)
		}
		requireOK(t, r)
	}
}

func requireOK(t *testing.T, r Report) {
	t.Helper()
	if len(r.Cases) == 0 {
		t.Error("no case was checked")
	}
	for _, c := range r.Cases {
		if !c.OK {
			t.Errorf("%s ring %d %s %s: max_rel %v over %g %s", c.Case, c.Ring, c.Layout, c.DType, c.MaxRel, c.Limit, c.Error)
		}
	}
}

// dataFolder is the folder of files that are too large for the repository.
func dataFolder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("RINGGRAD_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("SKIPPED: needs the data folder (set RINGGRAD_DATA): %v", err)
	}
	return dir
}

func TestGoldenFilesOfOthersAgree(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(dataFolder(t), "golden", "f*.safetensors"))
	if err != nil || len(files) == 0 {
		t.Skipf("SKIPPED: no golden/f*.safetensors in the data folder: %v", err)
	}
	r, err := CheckGolden(context.Background(), files, Options{Rings: []int{1, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	requireOK(t, r)
}
