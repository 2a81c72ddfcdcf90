package gradcheck

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nlpodyssey/safetensors"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
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

// ways are those that a ring of 2 and one of 4 can be walked.
var ways = []Way{{Travel: ring.Q}, {Travel: ring.Auto}, {Ulysses: 2}, {InnerRing: 2}, {Ulysses: 2, Travel: ring.Q}, {InnerRing: 2, Travel: ring.Q}}

func TestGoldenFilesAgreeForEveryWayThroughTheRing(t *testing.T) {
	files, err := filepath.Glob(committed + "/b*.safetensors")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		g, err := ReadGolden(f)
		if err != nil {
			t.Fatal(err)
		}
		ways := slices.DeleteFunc(slices.Clone(ways), func(w Way) bool { return g.KVHeads%max(w.Ulysses, 1) != 0 })
		r, err := CheckGolden(t.Context(), []string{f}, Options{Rings: []int{2, 4}, Layouts: shard.Layouts(), Ways: ways})
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
			t.Errorf("%s ring %d %s %s %s: max_rel %v over %g %s", c.Case, c.Ring, c.Layout, c.DType, c.Way, c.MaxRel, c.Limit, c.Error)
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
	files, err := filepath.Glob(filepath.Join(dataFolder(t), "golden", "[fm]*.safetensors"))
	if err != nil || len(files) == 0 {
		t.Skipf("SKIPPED: no golden/[fm]*.safetensors in the data folder: %v", err)
	}
	r, err := CheckGolden(context.Background(), files, Options{Rings: []int{1, 3, 8}, Layouts: shard.Layouts(), Ways: Ways(ring.Travels(), []int{1, 2}, []int{1, 2})})
	if err != nil {
		t.Fatal(err)
	}
	requireOK(t, r)
}

// TestGoldenFilesAreCheckedIn16Bits: within a limit that the rounding of the inputs does not reach, and that a wrong scale does.
func TestGoldenFilesAreCheckedIn16Bits(t *testing.T) {
	if err := ring.CheckArithmetic(ring.CPU, ring.BFloat16); err != nil {
		t.Skip(err)
	}
	o := Options{Rings: []int{1, 3}, Layouts: []shard.Layout{shard.Zigzag}, DTypes: []string{BFloat16}}
	r, err := CheckGolden(t.Context(), []string{committed}, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Cases {
		if !c.OK || c.Limit <= limit(Float32, false) {
			t.Errorf("%s, ring %d: %v, limit %g: %s", c.Case, c.Ring, c.MaxRel, c.Limit, c.Error)
		}
	}
	wrong := edit(t, func(_ map[string]safetensors.TensorView, meta map[string]string) { meta["scale"] = "0.28" }) // 0.25 is right
	if r, err = CheckGolden(t.Context(), []string{wrong}, o); err != nil || r.OK {
		t.Errorf("a scale off by an eighth passes: %+v, %v", r, err)
	}
	for name, refused := range map[string]error{
		"the suite": Options{DTypes: []string{Float32, BFloat16}}.RefuseNarrow(), "float16 on a CPU": Options{DTypes: []string{Float16}}.Validate(),
	} {
		if refused == nil {
			t.Errorf("%s is not refused", name)
		}
	}
}
