package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/nlpodyssey/safetensors"

	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/internal/mapped"
)

const optimizerFile = "optimizer.safetensors"

// The names that torch's AdamW gives its state.
const (
	meanPrefix   = "exp_avg."
	squarePrefix = "exp_avg_sq."
)

// ErrOtherModel is wrapped by errors about a checkpoint that belongs to another model than the one that is trained.
var ErrOtherModel = errors.New("it belongs to another model")

// Moments are AdamW's running means of the gradient and of its square for one parameter.
type Moments struct{ M, V []float32 }

// WriteOptimizer writes optimizer.safetensors: exp_avg.NAME and exp_avg_sq.NAME for every parameter, float32, in its shape.
func WriteOptimizer(dir string, parameters []hf.Parameter, moments map[string]Moments) error {
	tensors := make([]hf.Tensor, 0, 2*len(parameters))
	for _, p := range parameters {
		m := moments[p.Name]
		tensors = append(tensors,
			hf.Tensor{Name: meanPrefix + p.Name, Shape: p.Shape, Data: m.M},
			hf.Tensor{Name: squarePrefix + p.Name, Shape: p.Shape, Data: m.V})
	}
	return hf.WriteTensors(filepath.Join(dir, optimizerFile), tensors, hf.Float32, nil)
}

// ReadOptimizer reads the moments of exactly these parameters into moments, whose slices have their lengths. The file is mapped:
// beyond the moments themselves nothing is held in memory.
func ReadOptimizer(dir string, parameters []hf.Parameter, moments map[string]Moments) (err error) {
	path := filepath.Join(dir, optimizerFile)
	defer func() {
		if err != nil {
			err = fmt.Errorf("checkpoint: %s: %w; resume from another checkpoint, or start anew in another output_dir", path, err)
		}
	}()
	file, err := mapped.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	tensors, err := safetensors.Deserialize(file.Bytes())
	if err != nil {
		return err
	}
	if got, want := tensors.Len(), 2*len(parameters); got != want {
		return fmt.Errorf("it holds %d tensors and the model needs %d: %w", got, want, ErrOtherModel)
	}
	for _, p := range parameters {
		m := moments[p.Name]
		if err := errors.Join(readTensor(tensors, meanPrefix+p.Name, p.Shape, m.M), readTensor(tensors, squarePrefix+p.Name, p.Shape, m.V)); err != nil {
			return err
		}
	}
	return nil
}

// readTensor copies one tensor, which must have the shape, be float32 and hold finite numbers.
func readTensor(tensors safetensors.SafeTensors, name string, shape []int, into []float32) error {
	t, ok := tensors.Tensor(name)
	if !ok {
		return fmt.Errorf("there is no %s: %w", name, ErrOtherModel)
	}
	got := make([]int, len(t.Shape()))
	for i, n := range t.Shape() {
		got[i] = int(n)
	}
	if !slices.Equal(got, shape) || len(t.Data()) != 4*len(into) {
		return fmt.Errorf("%s has shape %v and the model's is %v: %w", name, got, shape, ErrOtherModel)
	}
	if t.DType() != safetensors.F32 {
		return fmt.Errorf("%s is %s, not F32", name, t.DType())
	}
	defer mapped.Forget(t.Data())
	for i := range into {
		into[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data()[4*i:]))
		if x := float64(into[i]); math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("%s holds %v", name, x)
		}
	}
	return nil
}
