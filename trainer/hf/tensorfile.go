package hf

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"

	"github.com/nlpodyssey/safetensors"

	"github.com/ringgrad/ringgrad/trainer/internal/mapped"
)

// tensorFile is an open safetensors file, mapped into memory.
type tensorFile struct {
	path    string
	tensors safetensors.SafeTensors
	meta    map[string]string
	mapped  *mapped.File
}

// openTensors maps and checks a safetensors file; every error names the file and what is wrong with it.
func openTensors(path string) (*tensorFile, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("hf: %s does not exist: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("hf: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() < 8 {
		return nil, fmt.Errorf("hf: %s: %d bytes are no safetensors file; download it again", path, info.Size())
	}
	file, err := mapped.Open(path)
	if err != nil {
		return nil, fmt.Errorf("hf: %s: %w", path, err)
	}
	f := &tensorFile{path: path, mapped: file}
	if err := f.parse(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close unmaps the file; nothing taken from it may be used afterwards.
func (f *tensorFile) Close() error {
	if err := f.mapped.Close(); err != nil {
		return fmt.Errorf("hf: %s: %w", f.path, err)
	}
	return nil
}

func (f *tensorFile) parse() error {
	if err := diagnose(f.mapped.Bytes()); err != nil {
		return fmt.Errorf("hf: %s: %w", f.path, err)
	}
	_, metadata, err := safetensors.ReadMetadata(f.mapped.Bytes())
	if err != nil {
		return fmt.Errorf("hf: %s: bad safetensors header: %w; download or write the file again", f.path, err)
	}
	f.meta = metadata.Metadata()
	if f.tensors, err = safetensors.Deserialize(f.mapped.Bytes()); err != nil {
		return fmt.Errorf("hf: %s: %w", f.path, err)
	}
	return nil
}

// diagnose finds the faults that a damaged download has, before the parser sees them as a mere mismatch: a file that is too short
// or too long for its header, and number types that are not known.
func diagnose(data []byte) error {
	n := binary.LittleEndian.Uint64(data)
	if n > uint64(len(data)-8) {
		return fmt.Errorf("the header claims %d bytes, the file has %d; it is truncated or no safetensors file: download or write it again", n, len(data))
	}
	var header map[string]struct {
		DType   string    `json:"dtype"`
		Offsets [2]uint64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		return fmt.Errorf("the header is not the JSON of a safetensors file (%w); download or write it again", err)
	}
	end, cut := uint64(0), ""
	have := uint64(len(data)) - 8 - n
	for name, t := range header {
		if name == "__metadata__" {
			continue
		}
		if _, err := safetensors.ParseDType(t.DType); err != nil {
			return fmt.Errorf("tensor %s is stored as %q; store it as F32, BF16, F16 or F64", name, t.DType)
		}
		end = max(end, t.Offsets[1])
		if t.Offsets[1] > have && (cut == "" || name < cut) {
			cut = name
		}
	}
	if end > have {
		return fmt.Errorf("truncated: %d bytes of tensors are missing (tensor %s does not fit); download or write it again", end-have, cut)
	}
	if end < have {
		return fmt.Errorf("%d bytes follow the last tensor; the file is damaged or two were joined: download or write it again", have-end)
	}
	return nil
}

// RawTensor is a tensor of a safetensors file: real numbers in F64, whole numbers in I64.
type RawTensor struct {
	DType string // as the file names it: F32, I64, …
	Shape []int
	F64   []float64
	I64   []int64
}

// ReadTensors reads all tensors of a safetensors file and its metadata, for files that are no model: references, states.
func ReadTensors(path string) (map[string]RawTensor, map[string]string, error) {
	f, err := openTensors(path)
	if err != nil {
		return nil, nil, err
	}
	all := map[string]RawTensor{}
	for _, t := range f.tensors.Tensors() {
		raw, err := rawTensor(t.TensorView)
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("hf: %s: tensor %s: %w", path, t.Name, err), f.Close())
		}
		all[t.Name] = raw
	}
	return all, f.meta, f.Close()
}

func rawTensor(t safetensors.TensorView) (RawTensor, error) {
	shape, n, err := shapeOf(t)
	if err != nil {
		return RawTensor{}, err
	}
	raw := RawTensor{DType: t.DType().String(), Shape: shape}
	data := t.Data()
	switch t.DType() {
	case safetensors.I64:
		raw.I64 = make([]int64, n)
		for i := range raw.I64 {
			raw.I64[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
		}
	case safetensors.I32:
		raw.I64 = make([]int64, n)
		for i := range raw.I64 {
			raw.I64[i] = int64(int32(binary.LittleEndian.Uint32(data[4*i:])))
		}
	case safetensors.U8, safetensors.BOOL:
		raw.I64 = make([]int64, n)
		for i := range raw.I64 {
			raw.I64[i] = int64(data[i])
		}
	default:
		raw.F64 = make([]float64, n)
		if !decodeFloats(raw.F64, data, t.DType()) {
			return RawTensor{}, fmt.Errorf("type %s is not read; store it as F32, F64, I32 or I64", t.DType())
		}
	}
	return raw, nil
}

// shapeOf returns the shape and the number of entries, which the parser has checked against the bytes.
func shapeOf(t safetensors.TensorView) ([]int, int, error) {
	shape := make([]int, len(t.Shape()))
	for i, size := range t.Shape() {
		if size > math.MaxInt32 {
			return nil, 0, fmt.Errorf("dimension %d is %d; that is too large", i, size)
		}
		shape[i] = int(size)
	}
	return shape, int(t.DataLen() / t.DType().Size()), nil
}
