package checkpoint

import (
	"fmt"
	"path/filepath"

	"github.com/ringgrad/ringgrad/trainer/hf"
)

const optimizerFile = "optimizer.safetensors"

// Moments are AdamW's running means of the gradient and of its square for one parameter.
type Moments struct{ M, V []float32 }

// WriteOptimizer writes optimizer.safetensors: exp_avg.NAME and exp_avg_sq.NAME for every parameter, float32.
func WriteOptimizer(dir string, parameters []hf.Parameter, moments map[string]Moments) error {
	tensors := make([]hf.Tensor, 0, 2*len(parameters))
	for _, p := range parameters {
		m := moments[p.Name]
		tensors = append(tensors,
			hf.Tensor{Name: "exp_avg." + p.Name, Shape: p.Shape, Data: m.M},
			hf.Tensor{Name: "exp_avg_sq." + p.Name, Shape: p.Shape, Data: m.V})
	}
	return hf.WriteTensors(filepath.Join(dir, optimizerFile), tensors, hf.Float32, nil)
}

// ReadOptimizer reads the moments of exactly these parameters into moments, whose slices have their lengths.
func ReadOptimizer(dir string, parameters []hf.Parameter, moments map[string]Moments) error {
	path := filepath.Join(dir, optimizerFile)
	raw, _, err := hf.ReadTensors(path)
	if err != nil {
		return err
	}
	if want := 2 * len(parameters); len(raw) != want {
		return fmt.Errorf("checkpoint: %s holds %d tensors, the model needs %d: it belongs to another model", path, len(raw), want)
	}
	for _, p := range parameters {
		if err := fill(raw, path, "exp_avg."+p.Name, moments[p.Name].M); err != nil {
			return err
		}
		if err := fill(raw, path, "exp_avg_sq."+p.Name, moments[p.Name].V); err != nil {
			return err
		}
	}
	return nil
}

func fill(raw map[string]hf.RawTensor, path, name string, into []float32) error {
	t, ok := raw[name]
	if !ok {
		return fmt.Errorf("checkpoint: %s has no %s: it belongs to another model", path, name)
	}
	if len(t.F64) != len(into) {
		return fmt.Errorf("checkpoint: %s: %s has shape %v, the model's has %d entries: it belongs to another model", path, name, t.Shape, len(into))
	}
	for i, x := range t.F64 {
		into[i] = float32(x)
	}
	return nil
}
