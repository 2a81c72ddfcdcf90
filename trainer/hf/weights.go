package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringgrad/ringgrad/trainer/internal/mapped"
)

const (
	singleFile = "model.safetensors"
	indexFile  = "model.safetensors.index.json"
)

// Tensor is one weight in float32, row-major.
type Tensor struct {
	Name  string
	Shape []int
	Data  []float32
}

// LoadWeights reads every parameter of the model from DIR: model.safetensors, or the shards that model.safetensors.index.json
// lists; F32, BF16, F16 and F64 become float32. The result holds exactly the parameters of c, by name. Missing, unknown, misshapen
// and non-finite tensors are errors. As in transformers, rotary_emb.inv_freq of old folders is passed over, and a tied model may
// have lm_head beside or instead of the embedding where the two are equal.
func LoadWeights(dir string, c Config) (map[string]Tensor, error) {
	return LoadWeightsInto(dir, c, func(Parameter) []float32 { return nil })
}

// LoadWeightsInto is LoadWeights into the memory that room gives for a parameter, which must have its length; for nil it makes some.
// After an error that memory may hold a part of the weights. The files themselves take no memory for longer than a tensor is read.
func LoadWeightsInto(dir string, c Config, room func(Parameter) []float32) (map[string]Tensor, error) {
	files, index, err := weightFiles(dir)
	if err != nil {
		return nil, err
	}
	l := loader{dir: dir, room: room, tensors: map[string]Tensor{}, expected: map[string]Parameter{}}
	for _, p := range c.Parameters() {
		l.expected[p.Name] = p
	}
	if c.TieWordEmbeddings {
		l.expected[HeadName] = Parameter{HeadName, []int{c.VocabSize, c.HiddenSize}}
	}
	for _, file := range files {
		if err := l.read(file, index); err != nil {
			return nil, err
		}
	}
	if c.TieWordEmbeddings {
		if err := l.tie(); err != nil {
			return nil, err
		}
	}
	return l.tensors, l.complete(c)
}

// weightFiles lists the files to read; the index is nil for a single file. Like transformers it prefers the single file.
func weightFiles(dir string) (files []string, index map[string]string, err error) {
	if _, err := os.Stat(filepath.Join(dir, singleFile)); err == nil {
		return []string{singleFile}, nil, nil
	}
	path := filepath.Join(dir, indexFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, noWeights(dir)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("hf: %w", err)
	}
	index, err = parseIndex(data)
	if err != nil {
		return nil, nil, fmt.Errorf("hf: %s: %w", path, err)
	}
	for _, file := range index {
		files = append(files, file)
	}
	slices.Sort(files)
	return slices.Compact(files), index, nil
}

func noWeights(dir string) error {
	remedy := "give a folder with weights in safetensors"
	for _, old := range []string{"pytorch_model.bin", "pytorch_model.bin.index.json", "consolidated.00.pth"} {
		if _, err := os.Stat(filepath.Join(dir, old)); err == nil {
			remedy = old + " is not read: convert it with transformers' save_pretrained"
		}
	}
	return fmt.Errorf("hf: %s has neither %s nor %s; %s: %w", dir, singleFile, indexFile, remedy, fs.ErrNotExist)
}

// parseIndex reads the weight_map of a shard index. File names must stay within the folder.
func parseIndex(data []byte) (map[string]string, error) {
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, fmt.Errorf("%w; repair the index or write the shards again", err)
	}
	if len(index.WeightMap) == 0 {
		return nil, errors.New("weight_map is missing or empty; it must map each tensor to its file")
	}
	for tensor, file := range index.WeightMap {
		if file != filepath.Base(file) || strings.ContainsAny(file, `/\`) || !strings.HasSuffix(file, ".safetensors") {
			return nil, fmt.Errorf("weight_map puts tensor %s into %q; it must name a .safetensors file of the same folder", tensor, file)
		}
	}
	return index.WeightMap, nil
}

// loader gathers the tensors of one folder.
type loader struct {
	dir      string
	room     func(Parameter) []float32
	expected map[string]Parameter
	tensors  map[string]Tensor
}

// read takes the tensors of one file. With an index, a file must hold what the index says.
func (l *loader) read(file string, index map[string]string) (err error) {
	f, err := openTensors(filepath.Join(l.dir, file))
	if errors.Is(err, fs.ErrNotExist) && index != nil {
		return fmt.Errorf("hf: %s lists %s, which does not exist in the folder; download the missing shard: %w", filepath.Join(l.dir, indexFile), file, fs.ErrNotExist)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for name, shard := range index {
		if _, ok := f.tensors.Tensor(name); !ok && shard == file {
			return fmt.Errorf("hf: %s: tensor %s is missing, though %s says that it is there; download both again", f.path, name, indexFile)
		}
	}
	for _, t := range f.tensors.Tensors() {
		if home, ok := index[t.Name]; ok && home != file {
			continue
		}
		if err := l.take(f, t.Name); err != nil {
			return err
		}
	}
	return nil
}

// take checks and converts one tensor.
func (l *loader) take(f *tensorFile, name string) error {
	want, ok := l.expected[name]
	if !ok {
		if strings.HasSuffix(name, "rotary_emb.inv_freq") {
			return nil // computed from the config; old folders stored it
		}
		return fmt.Errorf("hf: %s: tensor %s is unknown to the model of config.json; correct config.json (layers, biases, tied embeddings, architecture) or remove the tensor", f.path, name)
	}
	view, _ := f.tensors.Tensor(name)
	shape, n, err := shapeOf(view)
	if err != nil {
		return fmt.Errorf("hf: %s: tensor %s: %w", f.path, name, err)
	}
	if !slices.Equal(shape, want.Shape) {
		return fmt.Errorf("hf: %s: tensor %s has shape %v, but config.json asks for %v; one of the two files is of another model", f.path, name, shape, want.Shape)
	}
	data := l.room(want)
	if data == nil {
		data = make([]float32, n)
	}
	defer mapped.Forget(view.Data())
	if !decodeFloats(data, view.Data(), view.DType()) {
		return fmt.Errorf("hf: %s: tensor %s is stored as %s; store weights as F32, BF16, F16 or F64", f.path, name, view.DType())
	}
	for i, v := range data {
		if v-v != 0 { // NaN or infinite
			return fmt.Errorf("hf: %s: tensor %s holds %v at entry %d; the weights are damaged (or too large for float32): use another checkpoint", f.path, name, v, i)
		}
	}
	l.tensors[name] = Tensor{Name: name, Shape: shape, Data: data}
	return nil
}

// tie resolves an lm_head that a tied model has none the less.
func (l *loader) tie() error {
	head, ok := l.tensors[HeadName]
	if !ok {
		return nil
	}
	delete(l.tensors, HeadName)
	embedding, ok := l.tensors[EmbeddingName]
	if !ok {
		head.Name = EmbeddingName
		l.tensors[EmbeddingName] = head
		return nil
	}
	for i, v := range embedding.Data {
		if math.Float32bits(v) != math.Float32bits(head.Data[i]) && v != head.Data[i] {
			return fmt.Errorf("hf: %s: config.json ties %s to %s, but entry %d is %v in one and %v in the other; set tie_word_embeddings to false or remove %s",
				l.dir, HeadName, EmbeddingName, i, head.Data[i], v, HeadName)
		}
	}
	return nil
}

// complete names the parameters that no file had.
func (l *loader) complete(c Config) error {
	var missing []string
	for _, p := range c.Parameters() {
		if _, ok := l.tensors[p.Name]; !ok {
			missing = append(missing, p.Name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	shown := missing
	if len(shown) > 3 {
		shown = append(slices.Clone(shown[:3]), "…")
	}
	return fmt.Errorf("hf: %s: %d of the model's tensors are missing: %s; correct config.json or use a complete checkpoint", l.dir, len(missing), strings.Join(shown, ", "))
}
