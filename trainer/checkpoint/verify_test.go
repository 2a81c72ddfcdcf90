package checkpoint

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/hf"
)

func TestADamagedCheckpointIsRefusedByName(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"missing file":   {func(dir string) error { return os.Remove(filepath.Join(dir, "model.safetensors")) }, "model.safetensors is missing"},
		"truncated file": {func(dir string) error { return os.Truncate(filepath.Join(dir, "model.safetensors"), 3) }, "model.safetensors has 3 bytes and was saved with 11"},
		"flipped byte": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "model.safetensors"), []byte("weights NEW"), 0o644)
		}, "model.safetensors has other bytes"},
		"no manifest":        {func(dir string) error { return os.Remove(filepath.Join(dir, manifestFile)) }, "is not a whole checkpoint of this program: it has no files.json"},
		"truncated manifest": {func(dir string) error { return os.Truncate(filepath.Join(dir, manifestFile), 20) }, "files.json: unexpected end"},
		"empty manifest":     {func(dir string) error { return os.WriteFile(filepath.Join(dir, manifestFile), []byte("{}"), 0o644) }, "files.json lists no files"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			before := mustWrite(t, root, 10, "old")
			path := mustWrite(t, root, 20, "new")
			if err := c.damage(path); err != nil {
				t.Fatal(err)
			}
			latest, err := Latest(root)
			if err != nil || latest.Path != path {
				t.Fatalf("the latest is %+v, %v: the damaged one must be found, to be named", latest, err)
			}
			err = Verify(path)
			for _, want := range []string{path, c.want, "resume from " + before} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in %v", want, err)
				}
			}
			if err := Verify(before); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestADamagedFirstCheckpointHasNoneBeforeIt(t *testing.T) {
	path := mustWrite(t, t.TempDir(), 10, "new")
	if err := os.Remove(filepath.Join(path, stateFile)); err != nil {
		t.Fatal(err)
	}
	if err := Verify(path); err == nil || !strings.Contains(err.Error(), "start anew in another output_dir") {
		t.Errorf("%v", err)
	}
}

func TestStateComesBackAsItWas(t *testing.T) {
	type state struct {
		Step int     `json:"global_step"`
		Loss float64 `json:"loss"`
	}
	dir, want := t.TempDir(), state{Step: 40, Loss: 1.0 / 3}
	if err := WriteState(dir, want); err != nil {
		t.Fatal(err)
	}
	var got state
	if err := ReadState(dir, &got); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if err := os.Truncate(filepath.Join(dir, stateFile), 9); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{dir, filepath.Join(dir, "missing")} {
		if err := ReadState(where, &got); err == nil || !strings.Contains(err.Error(), where) {
			t.Errorf("%v", err)
		}
	}
	if err := WriteState(dir, math.NaN()); err == nil || !strings.Contains(err.Error(), stateFile) {
		t.Errorf("a state that JSON cannot hold: %v", err)
	}
}

var parameters = []hf.Parameter{{Name: "model.norm.weight", Shape: []int{3}}, {Name: "lm_head.weight", Shape: []int{2, 3}}}

// room makes moments of the parameters' sizes.
func room(parameters []hf.Parameter) map[string]Moments {
	m := map[string]Moments{}
	for _, p := range parameters {
		m[p.Name] = Moments{M: make([]float32, p.Len()), V: make([]float32, p.Len())}
	}
	return m
}

func TestMomentsComeBackBitForBit(t *testing.T) {
	dir, saved := t.TempDir(), room(parameters)
	for _, m := range saved {
		for i := range m.M {
			m.M[i], m.V[i] = -1/float32(i+3), math.SmallestNonzeroFloat32*float32(i+1)
		}
	}
	if err := WriteOptimizer(dir, Share{}, parameters, saved); err != nil {
		t.Fatal(err)
	}
	got := room(parameters)
	if err := ReadOptimizer(dir, Share{}, parameters, got); err != nil {
		t.Fatal(err)
	}
	for name, want := range saved {
		if !slices.Equal(got[name].M, want.M) || !slices.Equal(got[name].V, want.V) {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
}

func TestMomentsOfAnotherModelAreRefused(t *testing.T) {
	dir := t.TempDir()
	if err := WriteOptimizer(dir, Share{}, parameters, room(parameters)); err != nil {
		t.Fatal(err)
	}
	for want, other := range map[string][]hf.Parameter{
		"it holds 4 tensors and the model needs 2":                     parameters[:1],
		"there is no exp_avg.lm.weight":                                {parameters[0], {Name: "lm.weight", Shape: []int{2, 3}}},
		"lm_head.weight has shape [2 3] and the model's is [3 2]":      {parameters[0], {Name: "lm_head.weight", Shape: []int{3, 2}}},
		"exp_avg.model.norm.weight has shape [3] and the model's is [": {{Name: "model.norm.weight", Shape: []int{4}}, parameters[1]},
	} {
		err := ReadOptimizer(dir, Share{}, other, room(other))
		if !errors.Is(err, ErrOtherModel) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Join(dir, optimizerFile)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestMomentsThatAreNoNumbersAreRefused(t *testing.T) {
	dir, bad := t.TempDir(), room(parameters)
	bad["lm_head.weight"].V[4] = float32(math.NaN())
	if err := WriteOptimizer(dir, Share{}, parameters, bad); err != nil {
		t.Fatal(err)
	}
	if err := ReadOptimizer(dir, Share{}, parameters, room(parameters)); err == nil || !strings.Contains(err.Error(), "exp_avg_sq.lm_head.weight holds NaN") {
		t.Errorf("%v", err)
	}
	if err := os.Truncate(filepath.Join(dir, optimizerFile), 30); err != nil {
		t.Fatal(err)
	}
	if err := ReadOptimizer(dir, Share{}, parameters, room(parameters)); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a truncated file: %v", err)
	}
	if err := ReadOptimizer(t.TempDir(), Share{}, parameters, room(parameters)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestAShareThatIsMissingIsNamed(t *testing.T) {
	dir := t.TempDir()
	for i, want := range []string{"optimizer-00001-of-00002.safetensors", "optimizer-00002-of-00002.safetensors", ""} {
		err := CheckShares(dir, 2)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("after %d shares: got %v, want %q", i, err, want)
		}
		if err := WriteOptimizer(dir, Share{Number: i, Of: 2}, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
}
