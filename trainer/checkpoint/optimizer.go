package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/nlpodyssey/safetensors"

	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/internal/mapped"
)

// The file of the whole state, and those of its shares.
const (
	optimizerFile = "optimizer.safetensors"
	shareFile     = "optimizer-%05d-of-%05d.safetensors"
	anyShare      = "optimizer-*-of-*.safetensors"
)

// Share is a part of the state: of every parameter, taken as a row of numbers, part Number of Of equal ones. The zero value is all.
type Share struct{ Number, Of int }

// Bounds of the share of a parameter of n numbers: lo to hi-1.
func (s Share) Bounds(n int) (lo, hi int) {
	of := max(s.Of, 1)
	return n * s.Number / of, n * (s.Number + 1) / of
}

// Whole reports whether the share is all.
func (s Share) Whole() bool { return s.Of <= 1 }

func (s Share) file() string {
	if s.Whole() {
		return optimizerFile
	}
	return fmt.Sprintf(shareFile, s.Number+1, s.Of)
}

// The names that torch's AdamW gives its state.
const (
	meanPrefix   = "exp_avg."
	squarePrefix = "exp_avg_sq."
)

// ErrOtherModel is wrapped by errors about a checkpoint that belongs to another model than the one that is trained.
var ErrOtherModel = errors.New("it belongs to another model")

// Moments are AdamW's running means of the gradient and of its square for one parameter.
type Moments struct{ M, V []float32 }

// WriteOptimizer writes optimizer.safetensors: exp_avg.NAME and exp_avg_sq.NAME for every parameter, float32, in its shape. A share
// goes into a file of its own, optimizer-00001-of-00004.safetensors, where they are rows of numbers. The moments are those of the share.
func WriteOptimizer(dir string, share Share, parameters []hf.Parameter, moments map[string]Moments) error {
	tensors := make([]hf.Tensor, 0, 2*len(parameters))
	for _, p := range parameters {
		m, shape := moments[p.Name], p.Shape
		if !share.Whole() {
			shape = []int{len(m.M)}
		}
		tensors = append(tensors,
			hf.Tensor{Name: meanPrefix + p.Name, Shape: shape, Data: m.M},
			hf.Tensor{Name: squarePrefix + p.Name, Shape: shape, Data: m.V})
	}
	return hf.WriteTensors(filepath.Join(dir, share.file()), tensors, hf.Float32, nil)
}

// CheckShares wants every one of so many shares in a folder. One is missing where the host that wrote it sees another folder there.
func CheckShares(dir string, of int) error {
	for i := range of {
		name := Share{Number: i, Of: of}.file()
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("%s, which another process has written, is not to be seen here: %w; put output_dir on a file system that all hosts share", name, err)
		}
	}
	return nil
}

// ReadOptimizer reads a share of the moments of exactly these parameters into moments, whose slices have its lengths, from a checkpoint
// that was written whole or in any number of shares. Files are mapped: beyond the moments themselves nothing is held in memory.
func ReadOptimizer(dir string, share Share, parameters []hf.Parameter, moments map[string]Moments) error {
	files, err := filepath.Glob(filepath.Join(dir, anyShare))
	if err != nil {
		return fmt.Errorf("checkpoint: %s: %w", dir, err)
	}
	written := len(files) // Glob sorts by name, which is by number
	if written == 0 {
		files, written = []string{filepath.Join(dir, optimizerFile)}, 1
	}
	for i, path := range files {
		from := Share{i, written}
		if filepath.Base(path) != from.file() {
			return fmt.Errorf("checkpoint: %s: %s is missing; resume from another checkpoint, or start anew in another output_dir", dir, from.file())
		}
		if err := readShare(path, from, share, parameters, moments); err != nil {
			return fmt.Errorf("checkpoint: %s: %w; resume from another checkpoint, or start anew in another output_dir", path, err)
		}
	}
	return nil
}

// readShare copies what a file's share and the wanted one have in common.
func readShare(path string, from, want Share, parameters []hf.Parameter, moments map[string]Moments) (err error) {
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
		if err := errors.Join(readPart(tensors, meanPrefix, p, from, want, m.M), readPart(tensors, squarePrefix, p, from, want, m.V)); err != nil {
			return err
		}
	}
	return nil
}

// readPart copies the numbers of one tensor that lie in both shares. It must have the shape, be float32, and what is copied be finite.
func readPart(tensors safetensors.SafeTensors, prefix string, p hf.Parameter, from, want Share, into []float32) error {
	lo, hi := from.Bounds(p.Len())
	shape := p.Shape
	if !from.Whole() {
		shape = []int{hi - lo}
	}
	data, err := tensorData(tensors, prefix+p.Name, shape)
	if err != nil {
		return err
	}
	defer mapped.Forget(data)
	first, last := want.Bounds(p.Len())
	for i := max(lo, first); i < min(hi, last); i++ {
		x := math.Float32frombits(binary.LittleEndian.Uint32(data[4*(i-lo):]))
		if x-x != 0 {
			return fmt.Errorf("%s holds %v", prefix+p.Name, x)
		}
		into[i-first] = x
	}
	return nil
}

// tensorData are the bytes of a float32 tensor that must have the shape.
func tensorData(tensors safetensors.SafeTensors, name string, shape []int) ([]byte, error) {
	t, ok := tensors.Tensor(name)
	if !ok {
		return nil, fmt.Errorf("there is no %s: %w", name, ErrOtherModel)
	}
	got, n := make([]int, len(t.Shape())), 1
	for i, length := range t.Shape() {
		got[i] = int(length)
		n *= got[i]
	}
	if !slices.Equal(got, shape) || len(t.Data()) != 4*n {
		return nil, fmt.Errorf("%s has shape %v and the model's is %v: %w", name, got, shape, ErrOtherModel)
	}
	if t.DType() != safetensors.F32 {
		return nil, fmt.Errorf("%s is %s, not F32", name, t.DType())
	}
	return t.Data(), nil
}
