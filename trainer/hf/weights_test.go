package hf

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
)

const tinyConfig = `{"model_type": "llama", "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 12, "num_hidden_layers": 2, "vocab_size": 11}`

// tinyWeights are small distinct values that every stored type holds exactly.
func tinyWeights(c Config) []Tensor {
	var all []Tensor
	for i, p := range c.Parameters() {
		t := Tensor{Name: p.Name, Shape: p.Shape, Data: make([]float32, p.Len())}
		for j := range t.Data {
			t.Data[j] = float32((i*31+j*7)%64-32) / 16
		}
		all = append(all, t)
	}
	return all
}

func saveTiny(t *testing.T, change func(*Folder)) (string, Config, []Tensor) {
	t.Helper()
	c := mustParse(t, tinyConfig)
	s := Folder{Config: c, Tensors: tinyWeights(c)}
	if change != nil {
		change(&s)
	}
	dir := t.TempDir()
	if err := Save(dir, s); err != nil {
		t.Fatal(err)
	}
	return dir, s.Config, s.Tensors
}

// TestSavedFolderLoadsEqual writes each type, in one file and in shards.
func TestSavedFolderLoadsEqual(t *testing.T) {
	for _, dtype := range []string{"", Float32, BFloat16, Float16} {
		for _, limit := range []int64{0, 1000, 1} {
			dir, _, tensors := saveTiny(t, func(s *Folder) { s.DType, s.MaxShardBytes = dtype, limit })
			c, err := ReadConfig(dir)
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]string{"": Float32}[dtype]; c.DType != dtype && c.DType != want {
				t.Errorf("saved as %q, the config says %q", dtype, c.DType)
			}
			got, err := LoadWeights(dir, c)
			if err != nil {
				t.Fatalf("%s, shards of %d: %v", dtype, limit, err)
			}
			for _, want := range tensors {
				if !reflect.DeepEqual(got[want.Name], want) {
					t.Errorf("%s, shards of %d: %s differs", dtype, limit, want.Name)
				}
			}
			if len(got) != len(tensors) {
				t.Errorf("%d tensors, want %d", len(got), len(tensors))
			}
		}
	}
}

// TestDamagedWeightsAreNamed damages a good folder in every way and wants file, tensor and remedy.
func TestDamagedWeightsAreNamed(t *testing.T) {
	resize := func(by int) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			data := readFile(t, dir, singleFile)
			if by < 0 {
				data = data[:len(data)+by]
			} else {
				data = append(data, make([]byte, by)...)
			}
			overwrite(t, dir, singleFile, data)
		}
	}
	replace := func(from, to string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			overwrite(t, dir, singleFile, bytes.Replace(readFile(t, dir, singleFile), []byte(from), []byte(to), 1))
		}
	}
	for name, tt := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   []string
	}{
		"missing": {func(t *testing.T, dir string) { remove(t, dir, singleFile) }, []string{"neither model.safetensors", "safetensors"}},
		"bin only": {func(t *testing.T, dir string) {
			remove(t, dir, singleFile)
			overwrite(t, dir, "pytorch_model.bin", nil)
		}, []string{"pytorch_model.bin is not read", "save_pretrained"}},
		"empty":        {func(t *testing.T, dir string) { overwrite(t, dir, singleFile, nil) }, []string{singleFile, "0 bytes"}},
		"truncated":    {resize(-5), []string{singleFile, "truncated: 5 bytes", "model.norm.weight", "download"}},
		"header cut":   {func(t *testing.T, dir string) { overwrite(t, dir, singleFile, readFile(t, dir, singleFile)[:100]) }, []string{"header claims", "truncated"}},
		"too long":     {resize(9), []string{singleFile, "9 bytes follow"}},
		"bad header":   {replace(`{"`, `["`), []string{singleFile, "header", "again"}},
		"huge header":  {func(t *testing.T, dir string) { overwrite(t, dir, singleFile, bytes.Repeat([]byte{255}, 64)) }, []string{"header claims 18446744073709551615"}},
		"unknown type": {replace(`"F32"`, `"F8X"`), []string{`stored as "F8X"`, "F32, BF16, F16 or F64"}},
		"integer type": {replace(`"F32"`, `"I32"`), []string{"is stored as I32"}},
		"wrong shape":  {replace(`[8,12]`, `[12,8]`), []string{"mlp.down_proj.weight has shape [12 8]", "asks for [8 12]"}},
		"unknown":      {replace(`"model.norm.weight"`, `"model.nerm.weight"`), []string{"model.nerm.weight is unknown", "config.json"}},
		"NaN":          {poison(float32(math.NaN())), []string{"lm_head.weight holds NaN at entry 3"}},
		"infinite":     {poison(float32(math.Inf(-1))), []string{"lm_head.weight holds -Inf at entry 3"}},
		"overlap":      {replace(`"data_offsets":[0,`, `"data_offsets":[1,`), []string{"bad safetensors header"}},
	} {
		dir, c, _ := saveTiny(t, nil)
		tt.damage(t, dir)
		_, err := LoadWeights(dir, c)
		for _, want := range append(tt.want, dir) {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in %v", name, want, err)
			}
		}
	}
}

// poison overwrites entry 3 of the first stored tensor, which is lm_head.weight.
func poison(v float32) func(t *testing.T, dir string) {
	return func(t *testing.T, dir string) {
		data := readFile(t, dir, singleFile)
		n := binary.LittleEndian.Uint64(data)
		binary.LittleEndian.PutUint32(data[8+n+12:], math.Float32bits(v))
		overwrite(t, dir, singleFile, data)
	}
}

// TestMissingTensorsAreCounted names the first few.
func TestMissingTensorsAreCounted(t *testing.T) {
	dir, _, _ := saveTiny(t, nil)
	c := mustParse(t, strings.Replace(tinyConfig, `"num_hidden_layers": 2`, `"num_hidden_layers": 3`, 1))
	_, err := LoadWeights(dir, c)
	if err == nil || !strings.Contains(err.Error(), "9 of the model's tensors are missing: model.layers.2.input_layernorm.weight") {
		t.Error(err)
	}
}

// TestDamagedShardsAreNamed covers the index and its files.
func TestDamagedShardsAreNamed(t *testing.T) {
	edit := func(change func(map[string]string)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			m, err := parseIndex(readFile(t, dir, indexFile))
			if err != nil {
				t.Fatal(err)
			}
			change(m)
			data, err := json.Marshal(map[string]any{"weight_map": m})
			if err != nil {
				t.Fatal(err)
			}
			overwrite(t, dir, indexFile, data)
		}
	}
	for name, tt := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string
	}{
		"lost shard":  {func(t *testing.T, dir string) { remove(t, dir, "model-00002-of-00004.safetensors") }, "model-00002-of-00004.safetensors, which does not exist"},
		"traversal":   {edit(func(m map[string]string) { m[NormName] = "../other/model.safetensors" }), `"../other/model.safetensors"; it must name`},
		"absolute":    {edit(func(m map[string]string) { m[NormName] = "/etc/model.safetensors" }), "same folder"},
		"backslash":   {edit(func(m map[string]string) { m[NormName] = `..\model.safetensors` }), "same folder"},
		"other file":  {edit(func(m map[string]string) { m[NormName] = "config.json" }), "same folder"},
		"wrong shard": {edit(func(m map[string]string) { m[NormName] = m[EmbeddingName] }), "tensor model.norm.weight is missing"},
		"no map":      {func(t *testing.T, dir string) { overwrite(t, dir, indexFile, []byte(`{}`)) }, "weight_map is missing"},
		"no JSON":     {func(t *testing.T, dir string) { overwrite(t, dir, indexFile, []byte(`{`)) }, "repair the index"},
	} {
		dir, c, _ := saveTiny(t, func(s *Folder) { s.MaxShardBytes = 1200 })
		tt.damage(t, dir)
		if _, err := LoadWeights(dir, c); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %q is not in %v", name, tt.want, err)
		}
	}
}

// TestTiedHeadMayBeStoredToo accepts an equal lm_head, one in place of the embedding, and old inv_freq buffers; a different
// lm_head is refused, because transformers would not tie it.
func TestTiedHeadMayBeStoredToo(t *testing.T) {
	tied := mustParse(t, strings.Replace(tinyConfig, `{`, `{"tie_word_embeddings": true, `, 1))
	weights := tinyWeights(tied)
	embedding := weights[0]
	head := Tensor{Name: HeadName, Shape: embedding.Shape, Data: embedding.Data}
	invFreq := Tensor{Name: "model.layers.0.self_attn.rotary_emb.inv_freq", Shape: []int{2}, Data: []float32{1, 0.5}}
	other := Tensor{Name: HeadName, Shape: embedding.Shape, Data: append([]float32{9}, embedding.Data[1:]...)}
	for name, tt := range map[string]struct {
		tensors []Tensor
		want    string
	}{
		"tied":         {weights, ""},
		"equal head":   {append([]Tensor{head, invFreq}, weights...), ""},
		"head only":    {append([]Tensor{head}, weights[1:]...), ""},
		"other head":   {append([]Tensor{other}, weights...), "config.json ties lm_head.weight"},
		"no embedding": {weights[1:], "model.embed_tokens.weight"},
	} {
		dir := t.TempDir()
		if err := WriteTensors(filepath.Join(dir, singleFile), tt.tensors, "", nil); err != nil {
			t.Fatal(err)
		}
		got, err := LoadWeights(dir, tied)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || len(got) != len(weights) || !reflect.DeepEqual(got[EmbeddingName].Data, embedding.Data) {
			t.Errorf("%s: %d tensors, %v", name, len(got), err)
		}
	}
}

// TestRealFoldersLoad reads every model of the shared data.
func TestRealFoldersLoad(t *testing.T) {
	dir := realdata.Path(t, "hf")
	for _, name := range []string{"llama", "llama_untied_bias", "llama3_rope", "linear_rope", "yarn_rope", "qwen2", "qwen3", "mistral_window"} {
		c, err := ReadConfig(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := LoadWeights(filepath.Join(dir, name), c); err != nil {
			t.Error(err)
		}
	}
}

func readFile(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func overwrite(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// FuzzIndex wants file names that stay in the folder.
func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata": {"total_size": 1}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map": {"a": "../x.safetensors"}}`))
	f.Add([]byte(`{"weight_map": {"a": "..\\x.safetensors"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseIndex(data)
		if err != nil {
			return
		}
		for _, file := range m {
			if full := filepath.Join("dir", file); filepath.Dir(full) != "dir" {
				t.Fatalf("%q leaves the folder", file)
			}
		}
	})
}

// FuzzTensors wants errors, never panics, from damaged weight files.
func FuzzTensors(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "seed.safetensors")
	if err := WriteTensors(path, []Tensor{{"a", []int{2, 2}, []float32{1, 2, 3, 4}}, {"b", nil, []float32{5}}}, "", nil); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:20])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(dir, "fuzz.safetensors")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if tensors, _, err := ReadTensors(path); err == nil && len(tensors) > len(data) {
			t.Fatalf("%d tensors of %d bytes", len(tensors), len(data))
		}
	})
}
