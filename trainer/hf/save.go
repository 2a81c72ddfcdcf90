package hf

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/nlpodyssey/safetensors"
)

// Folder is what Save writes.
type Folder struct {
	Config        Config
	Tensors       []Tensor
	DType         string // float32 (also ""), bfloat16 or float16
	SourceDir     string // tokenizer and generation files are copied from here; "": none
	MaxShardBytes int64  // weights above this size are split over several files; 0: 5 GB, as transformers
}

// copiedFiles are taken over verbatim from the source folder where they exist.
var copiedFiles = []string{
	"generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"tokenizer.model", "vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json",
}

// Save writes a model folder that transformers loads: config.json, the weights and the files of the source folder. Every file is
// synced to the disk; an unfinished folder is the caller's to remove, so give a fresh one and rename it.
func Save(dir string, s Folder) error {
	dtype, err := storedType(s.DType)
	if err != nil {
		return err
	}
	if err := s.check(dtype); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("hf: %w", err)
	}
	s.Config.DType = s.DType
	if s.DType == "" {
		s.Config.DType = Float32
	}
	config, err := s.Config.JSON()
	if err != nil {
		return fmt.Errorf("hf: config.json: %w", err)
	}
	if err := writeFile(filepath.Join(dir, "config.json"), config); err != nil {
		return err
	}
	if err := s.saveWeights(dir, dtype); err != nil {
		return err
	}
	if err := s.copyFiles(dir); err != nil {
		return err
	}
	return syncDir(dir)
}

// check refuses weights that are not the config's, and values that the type cannot hold.
func (s Folder) check(dtype safetensors.DType) error {
	given := map[string]Tensor{}
	for _, t := range s.Tensors {
		given[t.Name] = t
	}
	for _, p := range s.Config.Parameters() {
		t, ok := given[p.Name]
		if !ok || !slices.Equal(t.Shape, p.Shape) || len(t.Data) != p.Len() {
			return fmt.Errorf("hf: cannot save tensor %s: have shape %v with %d entries, the config asks for %v", p.Name, t.Shape, len(t.Data), p.Shape)
		}
		delete(given, p.Name)
	}
	for name := range given {
		return fmt.Errorf("hf: cannot save tensor %s: the config knows no such parameter", name)
	}
	if dtype != safetensors.F16 {
		return nil
	}
	for _, t := range s.Tensors {
		for i, v := range t.Data {
			if v >= 65_520 || v <= -65_520 {
				return fmt.Errorf("hf: tensor %s holds %v at entry %d, beyond float16's 65,504; save as %s or %s", t.Name, v, i, BFloat16, Float32)
			}
		}
	}
	return nil
}

// saveWeights writes one file, or shards and their index.
func (s Folder) saveWeights(dir string, dtype safetensors.DType) error {
	shards := s.shards(int64(dtype.Size()))
	if len(shards) == 1 {
		return WriteTensors(filepath.Join(dir, singleFile), shards[0], s.DType, nil)
	}
	var index struct {
		Metadata struct {
			TotalSize int64 `json:"total_size"`
		} `json:"metadata"`
		WeightMap map[string]string `json:"weight_map"`
	}
	index.WeightMap = map[string]string{}
	for i, shard := range shards {
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		for _, t := range shard {
			index.WeightMap[t.Name] = name
			index.Metadata.TotalSize += int64(len(t.Data)) * int64(dtype.Size())
		}
		if err := WriteTensors(filepath.Join(dir, name), shard, s.DType, nil); err != nil {
			return err
		}
	}
	data, err := json.MarshalIndent(index, "", "  ")
	if err != nil {
		return fmt.Errorf("hf: %s: %w", indexFile, err)
	}
	return writeFile(filepath.Join(dir, indexFile), append(data, '\n'))
}

// shards cuts the tensors, in order, into groups of at most MaxShardBytes; a larger tensor has a shard of its own.
func (s Folder) shards(elementSize int64) [][]Tensor {
	limit := s.MaxShardBytes
	if limit <= 0 {
		limit = 5e9
	}
	var shards [][]Tensor
	var size int64
	for _, t := range s.Tensors {
		bytes := int64(len(t.Data)) * elementSize
		if len(shards) == 0 || size+bytes > limit && size > 0 {
			shards, size = append(shards, nil), 0
		}
		shards[len(shards)-1] = append(shards[len(shards)-1], t)
		size += bytes
	}
	return shards
}

// copyFiles takes over the source's tokenizer files, and its generation config or a new one.
func (s Folder) copyFiles(dir string) error {
	for _, name := range copiedFiles {
		data, err := []byte(nil), fs.ErrNotExist
		if s.SourceDir != "" {
			data, err = os.ReadFile(filepath.Join(s.SourceDir, name))
		}
		if errors.Is(err, fs.ErrNotExist) {
			if name != "generation_config.json" {
				continue
			}
			data, err = s.Config.generation()
		}
		if err != nil {
			return fmt.Errorf("hf: %w", err)
		}
		if err := writeFile(filepath.Join(dir, name), data); err != nil {
			return err
		}
	}
	return nil
}

// generation is the generation_config.json that transformers derives from a config.
func (c Config) generation() ([]byte, error) {
	o := object{{"_from_model_config", json.RawMessage("true")}}
	if c.BOS >= 0 {
		o.set("bos_token_id", integer(c.BOS))
	}
	switch {
	case len(c.EOS) == 1:
		o.set("eos_token_id", integer(c.EOS[0]))
	case len(c.EOS) > 1:
		list, err := json.Marshal(c.EOS)
		if err != nil {
			return nil, err
		}
		o.set("eos_token_id", list)
	}
	return o.text()
}

// WriteTensors writes a safetensors file that transformers reads, in the given type (config.json's spelling, "" is float32), and
// syncs it. Metadata gains "format": "pt", which older readers ask for. One tensor at a time is held in its stored form.
func WriteTensors(path string, tensors []Tensor, dtype string, metadata map[string]string) error {
	stored, err := storedType(dtype)
	if err != nil {
		return err
	}
	views := make(map[string]tensorView, len(tensors))
	for _, t := range tensors {
		views[t.Name] = newTensorView(t, stored)
	}
	meta := map[string]string{"format": "pt"}
	maps.Copy(meta, metadata)
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("hf: %w", err)
	}
	w := bufio.NewWriterSize(file, 1<<20)
	err = safetensors.SerializeToWriter(views, meta, w)
	if err = errors.Join(err, w.Flush(), file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("hf: writing %s: %w; free space or choose another folder", path, err)
	}
	return nil
}

// tensorView converts a tensor when it is written.
type tensorView struct {
	tensor Tensor
	dtype  safetensors.DType
	shape  []uint64
}

func newTensorView(t Tensor, dtype safetensors.DType) tensorView {
	v := tensorView{tensor: t, dtype: dtype, shape: make([]uint64, len(t.Shape))}
	for i, size := range t.Shape {
		v.shape[i] = uint64(size)
	}
	return v
}

func (v tensorView) DType() safetensors.DType { return v.dtype }
func (v tensorView) Shape() []uint64          { return v.shape }
func (v tensorView) Data() []byte             { return encodeFloats(v.tensor.Data, v.dtype) }
func (v tensorView) DataLen() uint64          { return uint64(len(v.tensor.Data)) * v.dtype.Size() }

var _ safetensors.View = tensorView{}

// writeFile creates a file and syncs it.
func writeFile(path string, data []byte) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("hf: %w", err)
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("hf: writing %s: %w; free space or choose another folder", path, err)
	}
	return nil
}

// syncDir makes the folder's new entries durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("hf: %w", err)
	}
	if err = errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("hf: %s: %w", dir, err)
	}
	return nil
}
