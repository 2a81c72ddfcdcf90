package trainer

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/trainer/config"
)

// programVariable names the program of programs that a child process is, and its config file, after a colon.
const programVariable = "RINGGRAD_TRAINER_PROGRAM"

// programs are what tests start in order to kill or starve it; systems without signals have none.
var programs map[string]func(config.Config)

// TestMain runs the tests, or one of the programs.
func TestMain(m *testing.M) {
	tensor.DontUsePool()
	if program, file, ok := strings.Cut(os.Getenv(programVariable), ":"); ok {
		cfg, err := config.Load(file, nil)
		if err != nil {
			panic(err)
		}
		programs[program](cfg)
		return
	}
	goleak.VerifyTestMain(m)
}

// alphabet has one token a letter.
const alphabet = "abcdefghijklmnopqrstuvwxyz"

// writeTokenizer writes a tokenizer.json with the letters and the space.
func writeTokenizer(t testing.TB, dir string) {
	t.Helper()
	vocabulary := map[string]int{"Ġ": len(alphabet)} // the space, as byte-level tokenizers write it
	for i, letter := range alphabet {
		vocabulary[string(letter)] = i
	}
	byteLevel := map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
	writeJSON(t, filepath.Join(dir, "tokenizer.json"), map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": []any{}, "normalizer": nil,
		"pre_tokenizer": byteLevel, "post_processor": nil, "decoder": byteLevel,
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": vocabulary, "merges": []any{}},
	})
}

func writeJSON(t testing.TB, path string, v any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(text))
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeDocuments writes JSONL documents of the given lengths in tokens.
func writeDocuments(t testing.TB, path string, lengths ...int) {
	t.Helper()
	random := rand.New(rand.NewPCG(5, 6))
	var lines strings.Builder
	for _, n := range lengths {
		text := make([]byte, n)
		for i := range text {
			text[i] = alphabet[min(random.IntN(len(alphabet)), random.IntN(len(alphabet)))]
		}
		fmt.Fprintf(&lines, "{\"text\": %q}\n", text)
	}
	writeFile(t, path, lines.String())
}

// tinyModel is a config.json that every test can afford.
func tinyModel() map[string]any {
	return map[string]any{
		"model_type": "llama", "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
		"intermediate_size": 24, "max_position_embeddings": 64, "tie_word_embeddings": true, "initializer_range": 0.2,
	}
}

// tinyRun is a run from scratch on seven documents of five lengths, in a folder of its own: an epoch is not a whole number of steps.
func tinyRun(t testing.TB) config.Config {
	t.Helper()
	dir := t.TempDir()
	writeTokenizer(t, filepath.Join(dir, "tokenizer"))
	writeDocuments(t, filepath.Join(dir, "text.jsonl"), 24, 17, 24, 9, 24, 17, 3)
	cfg := config.Default()
	cfg.Model = tinyModel()
	cfg.TokenizerConfig = filepath.Join(dir, "tokenizer")
	cfg.Datasets = []config.Dataset{{Path: filepath.Join(dir, "text.jsonl"), Field: "text", InvalidUTF8: "error"}}
	cfg.SequenceLen = 24
	cfg.GradientAccumulationSteps = 2
	cfg.MaxSteps = 8
	cfg.LearningRate = 1e-2
	cfg.WarmupSteps = 2
	cfg.WeightDecay = 0.1
	cfg.SaveSteps = 0
	cfg.OutputDir = filepath.Join(dir, "out")
	return cfg
}

// prepared is New that must succeed.
func prepared(t testing.TB, cfg config.Config, o Options) *Trainer {
	t.Helper()
	trainer, err := New(cfg, o)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

// trained is a whole run that must succeed.
func trained(t testing.TB, cfg config.Config, o Options) Result {
	t.Helper()
	result, err := prepared(t, cfg, o).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// point is one line of metrics.jsonl, as far as it says what was computed.
type point struct {
	Step     int     `json:"step"`
	Loss     float64 `json:"loss"`
	GradNorm float64 `json:"grad_norm"`
	LR       float64 `json:"learning_rate"`
	Tokens   int     `json:"tokens"`
	Epoch    float64 `json:"epoch"`
	EvalLoss float64 `json:"eval_loss"`
}

// curve reads a run's metrics.
func curve(t testing.TB, dir string) []point {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, metricsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var points []point
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var p point
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		points = append(points, p)
	}
	return points
}

// snapshot is the content of every file below a folder but the lock, whose holder may change.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// wantError checks that an error says these words.
func wantError(t testing.TB, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v does not say %q", err, word)
		}
	}
}
