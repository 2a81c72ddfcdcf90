package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
)

// golden is what Hugging Face tokenizers makes of a text.
type golden struct {
	DecodeOnly   []int32 `json:"decode_only"`
	Text         string  `json:"text"`
	IDs          []int32 `json:"ids"`
	IDsNoSpecial []int32 `json:"ids_no_special"`
	Decoded      string  `json:"decoded"`
}

func readGolden(t testing.TB, dir string) []golden {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []golden
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

func load(t testing.TB, dir string) *Tokenizer {
	t.Helper()
	tok, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func encode(t testing.TB, tok *Tokenizer, text string, special bool) []int32 {
	t.Helper()
	ids, err := tok.Encode(text, special)
	if err != nil {
		t.Fatalf("encode %.40q: %v", text, err)
	}
	return ids
}

// checkGolden compares ids with and without special tokens and the decoded text.
func checkGolden(t *testing.T, dir string) {
	t.Helper()
	tok := load(t, dir)
	for _, c := range readGolden(t, dir) {
		if c.DecodeOnly != nil {
			if got := tok.Decode(c.DecodeOnly, false); got != c.Decoded {
				t.Errorf("decode %v: %q, want %q", c.DecodeOnly, got, c.Decoded)
			}
			continue
		}
		if got := encode(t, tok, c.Text, true); !slices.Equal(got, c.IDs) {
			t.Errorf("%.60q: ids %v, want %v", c.Text, got, c.IDs)
		}
		if c.IDsNoSpecial != nil {
			if got := encode(t, tok, c.Text, false); !slices.Equal(got, c.IDsNoSpecial) {
				t.Errorf("%.60q: ids without special tokens %v, want %v", c.Text, got, c.IDsNoSpecial)
			}
		}
		if got := tok.Decode(c.IDs, true); got != c.Decoded {
			t.Errorf("decode %v: %q, want %q", c.IDs, got, c.Decoded)
		}
	}
}

func TestIDsEqualHuggingFaceOnSharedTokenizers(t *testing.T) {
	for _, name := range []string{"tokenizers/llama3", "tokenizers/gpt2", "tokenizers/qwen2", "stories260k"} {
		t.Run(name, func(t *testing.T) { checkGolden(t, realdata.Path(t, filepath.FromSlash(name))) })
	}
}

func TestIDsEqualHuggingFaceOnCommittedTokenizers(t *testing.T) {
	for _, name := range []string{"llama3", "gpt2", "qwen2", "added", "sentencepiece"} {
		t.Run(name, func(t *testing.T) { checkGolden(t, filepath.Join("testdata", name)) })
	}
}

func TestByteTokenizerGivesBytes(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "bytes")
	checkGoldenBytes(t, load(t, dir))
	if files := Files(dir); len(files) != 2 {
		t.Errorf("files %v, want tokenizer.json and tokenizer_config.json", files)
	}
}

func checkGoldenBytes(t *testing.T, tok *Tokenizer) {
	t.Helper()
	text := "héllo\x00\n日本 <|bos|>"
	ids := encode(t, tok, text, true)
	if len(ids) != len(text) || tok.VocabSize() != 256 {
		t.Fatalf("%d ids of %d bytes, vocabulary of %d", len(ids), len(text), tok.VocabSize())
	}
	for i, id := range ids {
		if id != int32(text[i]) {
			t.Errorf("byte %d: id %d, want %d", i, id, text[i])
		}
	}
	if got := tok.Decode(ids, true); got != text {
		t.Errorf("decoded %q, want %q", got, text)
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"tokenizers/llama3", "tokenizers/gpt2", "tokenizers/qwen2", "stories260k"} {
		b.Run(name, func(b *testing.B) {
			text, err := os.ReadFile(realdata.Path(b, "tinyshakespeare.txt"))
			if err != nil {
				b.Fatal(err)
			}
			dir := realdata.Path(b, filepath.FromSlash(name))
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				b.StopTimer()
				tok := load(b, dir) // a cold cache
				b.StartTimer()
				encode(b, tok, string(text), true)
			}
		})
	}
}
