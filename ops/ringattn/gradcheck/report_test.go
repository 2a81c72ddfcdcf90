package gradcheck

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/safetensors"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

func TestReportHasTheFieldsOfTheContract(t *testing.T) {
	r, err := CheckGolden(t.Context(), []string{committed + "/a02_causal_7.safetensors"}, Options{Rings: []int{3}, Layouts: []shard.Layout{shard.Zigzag}})
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		OK    bool `json:"ok"`
		Cases []struct {
			Case, Layout, DType string
			Ring                int
			OK                  bool
			MaxAbs              map[string]float64 `json:"max_abs"`
			MaxRel              map[string]float64 `json:"max_rel"`
			Sends               map[string]int64
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Cases) != 1 || !doc.OK {
		t.Fatalf("%s", b)
	}
	c := doc.Cases[0]
	// 7 tokens of 2 heads of K and V with 8 numbers of 8 bytes, twice round in three kinds
	wantBytes := int64(7 * 2 * 2 * 8 * 8 * 2 * 3)
	if c.Case != "a02_causal_7" || c.Layout != "zigzag" || c.DType != "float64" || c.Ring != 3 || !c.OK || len(c.MaxAbs) != 5 || len(c.MaxRel) != 5 ||
		c.Sends["forward_kv"] != 2 || c.Sends["backward_kv"] != 2 || c.Sends["backward_dkv"] != 2 || c.Sends["bytes"] != wantBytes {
		t.Errorf("want %d bytes: %s", wantBytes, b)
	}
}

func TestNaNAndInfinitiesAreCompared(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		got, want []float64
		diff      float64
	}{
		{[]float64{1, inf, -inf}, []float64{1, inf, -inf}, 0},
		{[]float64{1.5}, []float64{1}, 0.5},
		{[]float64{inf}, []float64{-inf}, incomparable},
		{[]float64{1}, []float64{inf}, incomparable},
		{[]float64{nan}, []float64{nan}, incomparable},
		{[]float64{0, nan}, []float64{0, 1}, incomparable},
		{[]float64{0}, []float64{nan}, incomparable},
		{[]float64{1}, []float64{1, 2}, incomparable},
	} {
		if d := difference(c.got, c.want); d != c.diff {
			t.Errorf("difference of %v and %v is %g, want %g", c.got, c.want, d, c.diff)
		}
	}
	one := ringattn.DenseResult{Out: []float64{nan}, LSE: []float64{0}, DQ: []float64{0}, DK: []float64{0}, DV: []float64{1}}
	if _, rel := compare(one, one); !(rel.Worst() > 1) {
		t.Errorf("NaN equals NaN: %v", rel)
	}
	if b, err := json.Marshal(Errors{"out": incomparable}); err != nil {
		t.Errorf("%v %s", err, b)
	}
}

func TestHotLogitsAreToldByTheirScores(t *testing.T) {
	for name, hot := range map[string]bool{"a04_causal_33_gqa": false, "a07_causal_hot": true, "a08_full_hot": true, "a11_causal_d256": false, "a13_causal_scale": false} {
		g, err := ReadGolden(committed + "/" + name + ".safetensors")
		if err != nil {
			t.Fatal(err)
		}
		if hotLogits(g.DenseInputs) != hot {
			t.Errorf("%s: hot is %t", name, !hot)
		}
	}
}

// edit writes a golden case with its tensors and metadata changed.
func edit(t *testing.T, change func(tensors map[string]safetensors.TensorView, meta map[string]string)) string {
	t.Helper()
	data, err := os.ReadFile(committed + "/a04_causal_33_gqa.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	st, err := safetensors.Deserialize(data)
	if err != nil {
		t.Fatal(err)
	}
	_, header, err := safetensors.ReadMetadata(data)
	if err != nil {
		t.Fatal(err)
	}
	tensors := map[string]safetensors.TensorView{}
	for _, n := range st.Names() {
		tensors[n], _ = st.Tensor(n)
	}
	meta := header.Metadata()
	change(tensors, meta)
	out, err := safetensors.Serialize(tensors, meta)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "case.safetensors")
	if err := os.WriteFile(path, out, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func view(t testing.TB, dtype safetensors.DType, shape ...uint64) safetensors.TensorView {
	n := dtype.Size()
	for _, s := range shape {
		n *= s
	}
	v, err := safetensors.NewTensorView(dtype, shape, make([]byte, n))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestBadOptionsOfAGoldenFileAreErrorsThatNameFileKeyAndValue(t *testing.T) {
	meta := func(key, value string) func(map[string]safetensors.TensorView, map[string]string) {
		return func(_ map[string]safetensors.TensorView, m map[string]string) { m[key] = value }
	}
	tensor := func(name string, shape ...uint64) func(map[string]safetensors.TensorView, map[string]string) {
		return func(x map[string]safetensors.TensorView, _ map[string]string) {
			x[name] = view(t, safetensors.F64, shape...)
		}
	}
	for want, change := range map[string]func(map[string]safetensors.TensorView, map[string]string){
		"cu_seqlens [0 20 7 33] is not sorted: 7 comes behind 20":          meta("cu_seqlens", "[0, 20, 7, 33]"),
		"cu_seqlens [1 33] does not begin with 0":                          meta("cu_seqlens", "[1, 33]"),
		"cu_seqlens [] does not begin with 0":                              meta("cu_seqlens", "[]"),
		"cu_seqlens [0 7 32] ends at 32, the sequence has 33 tokens":       meta("cu_seqlens", "[0, 7, 32]"),
		`cu_seqlens is "33", want an array of whole numbers: [0, ..., 33]`: meta("cu_seqlens", "33"),
		`cu_seqlens is "null", want an array`:                              meta("cu_seqlens", "null"),
		`cu_seqlens is "[0, 1.5, 33]", want an array`:                      meta("cu_seqlens", "[0, 1.5, 33]"),
		`window_left is "-2", want a number of keys, -1 for no bound`:      meta("window_left", "-2"),
		`window_right is "-7", want a number of keys, -1 for no bound`:     meta("window_right", "-7"),
		`window_right is "2.5", want a number`:                             meta("window_right", "2.5"),
		`softcap is "-30.0", want a number above 0, or 0 for none`:         meta("softcap", "-30.0"),
		`softcap is "Inf", want a finite number`:                           meta("softcap", "Inf"),
		`metadata key "window" is unknown`:                                 meta("window", "7"),
		"tensor sinks has shape [2], want [4]":                             tensor("sinks", 2),
		"tensor d_sinks is missing":                                        tensor("sinks", 4),
		"tensor d_sinks comes without sinks":                               tensor("d_sinks", 4),
		"tensor alibi_slopes has shape [1 4], want [4]":                    tensor("alibi_slopes", 1, 4),
	} {
		path := edit(t, change)
		r, err := CheckGolden(t.Context(), []string{path}, Options{Rings: []int{2}})
		if err != nil {
			t.Fatal(err)
		}
		if r.OK || len(r.Cases) != 3 || !strings.Contains(r.Cases[0].Error, want) || !strings.Contains(r.Cases[0].Error, path) || r.Cases[0].MaxRel != nil {
			t.Errorf("want %q: %+v", want, r)
		}
	}
}

func TestDocumentsInABatchAreAnError(t *testing.T) {
	meta := map[string]string{"cu_seqlens": "[0, 3]"}
	r := goldenReader{meta: meta}
	g := Golden{DenseInputs: ringattn.DenseInputs{Batch: 2, Tokens: 3}}
	if r.mask(&g); r.err == nil || !strings.Contains(r.err.Error(), "cu_seqlens with a batch of 2") {
		t.Error(r.err)
	}
}

func TestOptionsThatChangeNothingAreTaken(t *testing.T) {
	for key, value := range map[string]string{"softcap": "0", "window_left": "32", "window_right": "0", "cu_seqlens": "[0, 0, 33]"} {
		path := edit(t, func(_ map[string]safetensors.TensorView, m map[string]string) { m[key] = value })
		r, err := CheckGolden(t.Context(), []string{path}, Options{Rings: []int{3}})
		if err != nil {
			t.Fatal(err)
		}
		requireOK(t, r)
	}
}

func TestWaysThatDoNotSuitACaseAreErrorsUnlessOneSuitsAll(t *testing.T) {
	file := []string{committed + "/a04_causal_33_gqa.safetensors"} // 4 and 2 heads
	o := Options{Rings: []int{3, 4}, Layouts: []shard.Layout{shard.Zigzag}, Ways: Ways(nil, []int{2, 4}, nil)}
	alone, err := CheckGolden(t.Context(), file, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"a ring of 3 ranks cannot be cut into Ulysses groups of 2", "a ring of 3 ranks cannot be cut into Ulysses groups of 4",
		"", "4 query and 2 KV heads for Ulysses groups of 4",
	} {
		if c := alone.Cases[i]; c.OK != (want == "") || !strings.Contains(c.Error, want) {
			t.Errorf("%+v, want the error %q", c, want)
		}
	}
	o.Ways = Ways(nil, []int{1, 2, 4}, nil)
	among, err := CheckGolden(t.Context(), file, o)
	if err != nil {
		t.Fatal(err)
	}
	requireOK(t, among)
	if len(among.Cases) != 3 { // rings of 3 and 4, and Ulysses groups of 2 in that of 4
		t.Errorf("%+v", among.Cases)
	}
}

func TestWaysAreAllCombinations(t *testing.T) {
	all := Ways([]ring.Travel{ring.KV, ring.Q}, []int{1, 2}, nil)
	want := []Way{{ring.KV, 1, 0}, {ring.KV, 2, 0}, {ring.Q, 1, 0}, {ring.Q, 2, 0}}
	if !slices.Equal(all, want) || !slices.Equal(Ways(nil, nil, nil), []Way{{}}) {
		t.Errorf("%v", all)
	}
}

func TestBrokenGoldenFilesAreErrorsThatNameFileAndTensor(t *testing.T) {
	for want, change := range map[string]func(map[string]safetensors.TensorView, map[string]string){
		"tensor dq is missing": func(x map[string]safetensors.TensorView, _ map[string]string) { delete(x, "dq") },
		"tensor k has shape [1 33 3 16], want [1 33 2 16]": func(x map[string]safetensors.TensorView, _ map[string]string) {
			x["k"] = view(t, safetensors.F64, 1, 33, 3, 16)
		},
		"tensor lse has shape [1 33 4], want [1 4 33]": func(x map[string]safetensors.TensorView, _ map[string]string) {
			x["lse"] = view(t, safetensors.F64, 1, 33, 4)
		},
		"tensor q has shape [33 4 16], want 4 dimensions": func(x map[string]safetensors.TensorView, _ map[string]string) {
			x["q"] = view(t, safetensors.F64, 33, 4, 16)
		},
		"tensor v is F32, q is F64": func(x map[string]safetensors.TensorView, _ map[string]string) {
			x["v"] = view(t, safetensors.F32, 1, 33, 2, 16)
		},
		"tensor q is F16, want F64 or F32": func(x map[string]safetensors.TensorView, _ map[string]string) {
			x["q"] = view(t, safetensors.F16, 1, 33, 4, 16)
		},
		"every dimension must be at least 1": func(x map[string]safetensors.TensorView, _ map[string]string) {
			x["q"] = view(t, safetensors.F64, 1, 0, 4, 16)
		},
		"4 heads of q are not a multiple of 3 heads of v": func(x map[string]safetensors.TensorView, _ map[string]string) {
			x["v"] = view(t, safetensors.F64, 1, 33, 3, 16)
		},
		`causal is "maybe"`:      func(_ map[string]safetensors.TensorView, m map[string]string) { m["causal"] = "maybe" },
		`scale is "wide"`:        func(_ map[string]safetensors.TensorView, m map[string]string) { m["scale"] = "wide" },
		"scale is 0":             func(_ map[string]safetensors.TensorView, m map[string]string) { m["scale"] = "0" },
		`window_left is "NaN"`:   func(_ map[string]safetensors.TensorView, m map[string]string) { m["window_left"] = "NaN" },
		`metadata key "dropout"`: func(_ map[string]safetensors.TensorView, m map[string]string) { m["dropout"] = "0.1" },
		"tensor sinks has shape [5], w": func(x map[string]safetensors.TensorView, _ map[string]string) {
			x["sinks"] = view(t, safetensors.F64, 5)
		},
	} {
		path := edit(t, change)
		_, err := ReadGolden(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want it to contain %q and the path", err, want)
		}
		r, err := CheckGolden(t.Context(), []string{path}, Options{Rings: []int{1}})
		if err != nil || r.OK || r.Cases[0].Error == "" {
			t.Errorf("%s: report %+v, %v", want, r, err)
		}
	}
}

func TestTruncatedGoldenFileIsAnError(t *testing.T) {
	data, err := os.ReadFile(committed + "/a02_causal_7.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 7, 100, len(data) - 1} {
		if _, err := ParseGolden(data[:n]); err == nil {
			t.Errorf("%d of %d bytes are taken", n, len(data))
		}
	}
	if _, err := ParseGolden(append(slices.Clone(data), 0)); err == nil {
		t.Error("a file that is too long is taken")
	}
}

func TestBadOptionsAndPathsAreErrors(t *testing.T) {
	file := committed + "/a02_causal_7.safetensors"
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		ctx   context.Context
		paths []string
		o     Options
		want  string
	}{
		{t.Context(), []string{file}, Options{Rings: []int{0}}, "ring size 0"},
		{t.Context(), []string{file}, Options{Layouts: []shard.Layout{"diagonal"}}, "diagonal"},
		{t.Context(), []string{file}, Options{DTypes: []string{"float16"}}, "float16"},
		{t.Context(), []string{file}, Options{Ways: []Way{{Travel: "v"}}}, `travel "v": give kv, q or auto`},
		{t.Context(), []string{file}, Options{Ways: []Way{{Ulysses: -2}}}, "Ulysses groups of -2 ranks: give 1 to"},
		{t.Context(), []string{file}, Options{Ways: []Way{{InnerRing: -1}}}, "inner rings of -1 ranks: give 1 to"},
		{t.Context(), []string{"no/such.safetensors"}, Options{}, "no/such.safetensors"},
		{t.Context(), []string{t.TempDir()}, Options{}, "holds no .safetensors file"},
		{t.Context(), nil, Options{}, "no file given"},
		{ended, []string{file}, Options{}, "canceled"},
	} {
		if _, err := CheckGolden(c.ctx, c.paths, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
	if _, err := Suite(t.Context(), Options{Quick: true, Full: true}); err == nil {
		t.Error("quick and full at once are taken")
	}
}

// smallest is a golden file with one number in each tensor: what fuzzing mutates should be short.
func smallest(f *testing.F, dtype safetensors.DType) []byte {
	tensors := map[string]safetensors.TensorView{}
	for _, n := range []string{"q", "k", "v", "d_out", "out", "lse", "dq", "dk", "dv"} {
		shape := []uint64{1, 1, 1, 1}
		if n == "lse" {
			shape = shape[:3]
		}
		tensors[n] = view(f, dtype, shape...)
	}
	data, err := safetensors.Serialize(tensors, map[string]string{"causal": "true", "scale": "1"})
	if err != nil {
		f.Fatal(err)
	}
	return data
}

func FuzzGoldenReader(f *testing.F) {
	for _, dtype := range []safetensors.DType{safetensors.F32, safetensors.F64} {
		data := smallest(f, dtype)
		if _, err := ParseGolden(data); err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(bytes.Replace(data, []byte("true"), []byte("fals"), 1))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := ParseGolden(data)
		if err != nil {
			return
		}
		if n := g.Batch * g.Tokens * g.Heads; len(g.Q) != n*g.Dim || len(g.Want.Out) != n*g.ValueDim || len(g.Want.LSE) != n {
			t.Errorf("a file is taken whose tensors do not fit: %d %d %d", len(g.Q), len(g.Want.Out), len(g.Want.LSE))
		}
	})
}
