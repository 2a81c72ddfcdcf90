package hf

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFilesOfTheSourceAreCopiedVerbatim takes tokenizer and generation files over and nothing else.
func TestFilesOfTheSourceAreCopiedVerbatim(t *testing.T) {
	source := t.TempDir()
	overwrite(t, source, "tokenizer.json", []byte("{ \"odd\" :  1}"))
	overwrite(t, source, "generation_config.json", []byte(`{"temperature": 0.6}`))
	overwrite(t, source, "training.log", []byte("not ours"))
	dir, _, _ := saveTiny(t, func(s *Folder) { s.SourceDir = source })
	for _, name := range []string{"tokenizer.json", "generation_config.json"} {
		if got, want := readFile(t, dir, name), readFile(t, source, name); string(got) != string(want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "training.log")); err == nil {
		t.Error("training.log was copied")
	}
}

// TestNewModelHasAGenerationConfig names the tokens that begin and end a text.
func TestNewModelHasAGenerationConfig(t *testing.T) {
	dir, _, _ := saveTiny(t, func(s *Folder) { s.Config.EOS = []int{2, 3} })
	text := strings.Join(strings.Fields(string(readFile(t, dir, "generation_config.json"))), "")
	if text != `{"_from_model_config":true,"bos_token_id":1,"eos_token_id":[2,3]}` {
		t.Error(text)
	}
}

// TestWrongTensorsAreNotSaved finds missing, foreign, misshapen and too large ones before anything is written.
func TestWrongTensorsAreNotSaved(t *testing.T) {
	c := mustParse(t, tinyConfig)
	for want, change := range map[string]func(*Folder){
		"cannot save tensor model.embed_tokens.weight": func(s *Folder) { s.Tensors = s.Tensors[1:] },
		"cannot save tensor lm_head.weight":            func(s *Folder) { s.Config.TieWordEmbeddings = true },
		"have shape [3]":                               func(s *Folder) { s.Tensors[0].Shape = []int{3} },
		"beyond float16":                               func(s *Folder) { s.Tensors[0].Data[5] = 1e6; s.DType = Float16 },
		`cannot be written as "int8"`:                  func(s *Folder) { s.DType = "int8" },
	} {
		s := Folder{Config: c, Tensors: tinyWeights(c)}
		change(&s)
		dir := filepath.Join(t.TempDir(), "out")
		if err := Save(dir, s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the folder was made", want)
		}
	}
}

// TestUnwritableFolderIsNamed gives the path.
func TestUnwritableFolderIsNamed(t *testing.T) {
	c := mustParse(t, tinyConfig)
	blocked := filepath.Join(t.TempDir(), "file")
	overwrite(t, filepath.Dir(blocked), "file", nil)
	if err := Save(filepath.Join(blocked, "out"), Folder{Config: c, Tensors: tinyWeights(c)}); err == nil || !strings.Contains(err.Error(), blocked) {
		t.Error(err)
	}
}

func ExampleSave() {
	cfg, err := ConfigFromMap(map[string]any{"model_type": "llama", "hidden_size": 16, "num_attention_heads": 2,
		"intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 20})
	if err != nil {
		fmt.Println(err)
		return
	}
	var tensors []Tensor
	for _, p := range cfg.Parameters() {
		tensors = append(tensors, Tensor{Name: p.Name, Shape: p.Shape, Data: make([]float32, p.Len())})
	}
	dir, err := os.MkdirTemp("", "model")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir) //nolint:errcheck // an example
	if err := Save(dir, Folder{Config: cfg, Tensors: tensors, DType: BFloat16}); err != nil {
		fmt.Println(err)
		return
	}
	again, err := ReadConfig(dir)
	fmt.Println(again.HeadDim, again.DType, again.NumParameters(), err)
	// Output: 8 bfloat16 3248 <nil>
}
