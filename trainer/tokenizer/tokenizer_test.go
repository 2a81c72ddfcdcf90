package tokenizer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
)

var styles = []string{"llama3", "gpt2", "qwen2", "added", "sentencepiece"}

func TestPiecesAreVocabularyStrings(t *testing.T) {
	tok := load(t, "testdata/sentencepiece")
	ids := encode(t, tok, "the\x01", true)
	if got, want := fmt.Sprintf("%q", tok.Pieces(append(ids, 99999))), `["<s>" "▁the" "<0x01>" "</s>" ""]`; got != want {
		t.Errorf("pieces %s, want %s", got, want)
	}
	tok = load(t, "testdata/gpt2")
	if got, want := fmt.Sprintf("%q", tok.Pieces(encode(t, tok, " the", true))), `["Ġthe"]`; got != want {
		t.Errorf("pieces %s, want %s", got, want)
	}
}

func TestInvalidUTF8IsRefusedWithItsOffset(t *testing.T) {
	for _, style := range styles {
		tok := load(t, filepath.Join("testdata", style))
		for _, bad := range []string{"ab\xffc", "\xe6\x97", "\xed\xa0\x80", "ab\xc0\x80"} {
			_, err := tok.Encode(bad, true)
			if !errors.Is(err, ErrInvalidUTF8) || !strings.Contains(err.Error(), "offset") {
				t.Errorf("%s: %q: error %v", style, bad, err)
			}
		}
		encode(t, tok, "\ufffd is a character", true)
	}
}

func TestLongWordsAreFastAndRoundTrip(t *testing.T) {
	for _, style := range styles {
		tok := load(t, filepath.Join("testdata", style))
		for _, unit := range []string{"a", " ", "\n", "the", "7", "日", "'", "e\u0301", " a"} {
			size := 1 << 16
			if unit == "a" {
				size = 1 << 20
			}
			text := strings.Repeat(unit, size/len(unit))
			start := time.Now()
			ids := encode(t, tok, text, false)
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("%s: %d bytes of %q took %v", style, size, unit, took)
			}
			if got := tok.Decode(ids, false); unit != "e\u0301" && got != text {
				t.Errorf("%s: %d bytes of %q do not come back", style, size, unit)
			}
		}
	}
}

func TestEncodesAMillionCharactersASecond(t *testing.T) {
	raw, err := os.ReadFile(realdata.Path(t, "tinyshakespeare.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, style := range []string{"llama3", "gpt2", "qwen2", "sentencepiece"} {
		tok := load(t, filepath.Join("testdata", style))
		start := time.Now()
		encode(t, tok, string(raw), true)
		rate := float64(utf8.RuneCount(raw)) / time.Since(start).Seconds()
		if rate < 1e6 {
			t.Errorf("%s: %.0f characters a second, want a million", style, rate)
		}
	}
}

func TestTokenizerIsSafeForConcurrentUse(t *testing.T) {
	tok := load(t, "testdata/llama3")
	text := strings.Repeat("KING HENRY: we are 1,000 of them, 日本 ", 50)
	want := encode(t, tok, text, true)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := tok.Encode(text, true); err != nil || !slices.Equal(got, want) {
				t.Errorf("ids differ between goroutines: %v", err)
			}
		})
	}
	wg.Wait()
}

func TestFullCacheStartsAgain(t *testing.T) {
	tok := load(t, "testdata/gpt2")
	e := newEncoder(tok.model)
	for i := range maxCachedWords + 10 {
		if _, err := e.appendWord(nil, fmt.Sprint("w", i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(e.cache) != 10 {
		t.Errorf("%d cached words, want 10", len(e.cache))
	}
}

// folder writes a tokenizer folder: the named one of testdata with more files.
func folder(t *testing.T, style string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	raw, err := os.ReadFile(filepath.Join("testdata", style, "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	files["tokenizer.json"] = string(raw)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestConfigNamesBOSAndEOS(t *testing.T) {
	tok := load(t, "testdata/sentencepiece")
	checkEnds(t, tok, "1 true 2 true")
	checkEnds(t, load(t, "testdata/gpt2"), "0 false 0 false")
	for config, want := range map[string]string{
		`{"bos_token": "<|bos|>", "eos_token": {"content": "<|eos|>", "lstrip": false}}`: "0 true 1 true",
		`{"bos_token": null, "eos_token": "<|eos|>"}`:                                    "0 false 1 true",
	} {
		checkEnds(t, load(t, folder(t, "gpt2", map[string]string{"tokenizer_config.json": config})), want)
		checkEnds(t, load(t, folder(t, "gpt2", map[string]string{"special_tokens_map.json": config})), want)
	}
}

func checkEnds(t *testing.T, tok *Tokenizer, want string) {
	t.Helper()
	bos, okB := tok.BOS()
	eos, okE := tok.EOS()
	if got := fmt.Sprint(bos, okB, eos, okE); got != want {
		t.Errorf("BOS and EOS %s, want %s", got, want)
	}
}

func TestConfigOverrulesTheTemplate(t *testing.T) {
	for config, want := range map[string]string{
		`{"bos_token": "<s>", "eos_token": "</s>"}`:                         `["<s>" "▁a" "</s>"]`,
		`{"bos_token": "<s>", "add_bos_token": false}`:                      `["▁a" "</s>"]`,
		`{"eos_token": "</s>", "add_eos_token": false}`:                     `["<s>" "▁a"]`,
		`{"bos_token": "</s>", "add_bos_token": true, "unknown": [1, "2"]}`: `["</s>" "▁a" "</s>"]`,
	} {
		tok := load(t, folder(t, "sentencepiece", map[string]string{"tokenizer_config.json": config}))
		if got := fmt.Sprintf("%q", tok.Pieces(encode(t, tok, "a", true))); got != want {
			t.Errorf("%s: %s, want %s", config, got, want)
		}
	}
}

func TestConfigMistakesAreNamed(t *testing.T) {
	for config, want := range map[string]string{
		`{"bos_token": "<none>"}`:   `"<none>" is not in the vocabulary`,
		`{"add_bos_token": true}`:   `add_bos_token is true but`,
		`{"bos_token": [1]}`:        `tokenizer_config.json`,
		`{"add_eos_token": "true"}`: `tokenizer_config.json`,
	} {
		_, err := Load(folder(t, "gpt2", map[string]string{"tokenizer_config.json": config}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", config, err, want)
		}
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("empty folder: error %v", err)
	}
}
