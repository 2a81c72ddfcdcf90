package gradcheck

import (
	"context"
	"encoding/binary"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nlpodyssey/safetensors"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// quick is one setting, enough to see a fault.
var quick = Options{Rings: []int{2}, Layouts: []shard.Layout{shard.Zigzag}, DTypes: []string{Float64}}

// writeFolder saves a random model with its own outcome as the reference, after change.
func writeFolder(t *testing.T, change func(map[string]safetensors.TensorView)) string {
	t.Helper()
	cfg, err := tiny()
	if err != nil {
		t.Fatal(err)
	}
	p := randomProblem(cfg, 1, 2, 9)
	shiftBack(&p)
	var tensors []hf.Tensor
	for _, parameter := range cfg.Parameters() {
		tensors = append(tensors, p.weights[parameter.Name])
	}
	dir := t.TempDir()
	if err := hf.Save(dir, hf.Folder{Config: cfg, Tensors: tensors}); err != nil {
		t.Fatal(err)
	}
	want, err := evaluate(context.Background(), p, setting{ring: 1, layout: shard.Contiguous, dtype: Float64})
	if err != nil {
		t.Fatal(err)
	}
	views := map[string]safetensors.TensorView{
		"input_ids": whole(t, p.batch.IDs, 2, 9),
		"labels":    whole(t, unshifted(p), 2, 9),
		"logits":    reals(t, want.logits, 2, 9, cfg.VocabSize),
		"loss":      reals(t, []float64{want.loss}, 1),
	}
	for _, parameter := range cfg.Parameters() {
		views["grad."+parameter.Name] = reals(t, want.grads[parameter.Name], parameter.Shape...)
	}
	if change != nil {
		change(views)
	}
	data, err := safetensors.Serialize(views, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "reference.safetensors"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shiftBack makes the last label of each sequence one that a file of unshifted labels can say: none.
func shiftBack(p *problem) {
	for b := range p.batch.B {
		p.batch.Labels[(b+1)*p.batch.T-1] = -100
	}
}

// unshifted puts every label at its own token.
func unshifted(p problem) []int32 {
	labels := make([]int32, len(p.batch.Labels))
	for i := range labels {
		labels[i] = -100
		if i%p.batch.T > 0 {
			labels[i] = p.batch.Labels[i-1]
		}
	}
	return labels
}

func whole(t *testing.T, values []int32, shape ...int) safetensors.TensorView {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(int64(v)))
	}
	return view(t, safetensors.I64, data, shape)
}

func reals(t *testing.T, values []float64, shape ...int) safetensors.TensorView {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
	}
	return view(t, safetensors.F64, data, shape)
}

func view(t *testing.T, dtype safetensors.DType, data []byte, shape []int) safetensors.TensorView {
	t.Helper()
	var sizes []uint64
	for _, size := range shape {
		sizes = append(sizes, uint64(size))
	}
	v, err := safetensors.NewTensorView(dtype, sizes, data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestGoodReferencePasses shows that the folder the faults are planted in is right without them.
func TestGoodReferencePasses(t *testing.T) {
	results, err := CheckModel(context.Background(), writeFolder(t, nil), quick)
	if err != nil {
		t.Fatal(err)
	}
	if worst, rel := results[0].Worst(); len(results) != 1 || !results[0].OK || rel > 1e-12 {
		t.Errorf("%d results, worst %s %v", len(results), worst, rel)
	}
}

// TestPlantedFaultsAreCaught changes one entry of the reference at a time.
func TestPlantedFaultsAreCaught(t *testing.T) {
	plant := func(name string, change func(float64) float64) func(map[string]safetensors.TensorView) {
		return func(views map[string]safetensors.TensorView) {
			data := slices.Clone(views[name].Data())
			x := math.Float64frombits(binary.LittleEndian.Uint64(data[len(data)-8:]))
			binary.LittleEndian.PutUint64(data[len(data)-8:], math.Float64bits(change(x)))
			changed, err := safetensors.NewTensorView(safetensors.F64, views[name].Shape(), data)
			if err != nil {
				panic(err)
			}
			views[name] = changed
		}
	}
	for name, fault := range map[string]func(float64) float64{
		"loss":   func(x float64) float64 { return x * 1.0001 },
		"logits": func(x float64) float64 { return x + 0.01 },
		"grad.model.layers.1.self_attn.k_norm.weight": func(x float64) float64 { return -x },
		"grad.model.embed_tokens.weight":              func(float64) float64 { return math.NaN() },
		"grad.lm_head.weight":                         func(float64) float64 { return math.Inf(1) },
	} {
		results, err := CheckModel(context.Background(), writeFolder(t, plant(name, fault)), quick)
		if err != nil {
			t.Fatal(err)
		}
		r := results[0]
		if worst, rel := r.Worst(); r.OK || name != "loss" && (worst != name || rel <= r.Limit) {
			t.Errorf("a fault in %s is not caught: worst is %s %v", name, worst, rel)
		}
	}
}

// TestBadReferencesAreNamed wants file and tensor.
func TestBadReferencesAreNamed(t *testing.T) {
	drop := func(name string) func(map[string]safetensors.TensorView) {
		return func(views map[string]safetensors.TensorView) { delete(views, name) }
	}
	for want, change := range map[string]func(map[string]safetensors.TensorView){
		"input_ids has shape []":     drop("input_ids"),
		"loss is missing":            drop("loss"),
		"logits has shape []":        drop("logits"),
		"grad.model.norm.weight has": drop("grad.model.norm.weight"),
		"no label is left": func(views map[string]safetensors.TensorView) {
			views["labels"] = whole(t, slices.Repeat([]int32{-100}, 18), 2, 9)
		},
		"has neither": func(views map[string]safetensors.TensorView) {
			maps.DeleteFunc(views, func(string, safetensors.TensorView) bool { return true })
		},
	} {
		dir := writeFolder(t, change)
		if want == "has neither" {
			if err := os.Remove(filepath.Join(dir, "model.safetensors")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := CheckModel(context.Background(), dir, quick); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestBadOptionsAreNamed lists all at once.
func TestBadOptionsAreNamed(t *testing.T) {
	_, err := CheckModel(context.Background(), t.TempDir(), Options{Rings: []int{0}, Layouts: []shard.Layout{"spiral"}, DTypes: []string{"float8"}})
	for _, want := range []string{"ring size 0", "spiral", "float8"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not in %v", want, err)
		}
	}
}
