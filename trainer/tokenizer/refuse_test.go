package tokenizer

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// altered returns testdata/llama3's tokenizer.json with the value at a path ("model.dropout") replaced by JSON text.
func altered(t testing.TB, path, value string) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/llama3/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]any
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	keys := strings.Split(path, ".")
	at := document
	for _, key := range keys[:len(keys)-1] {
		at = at[key].(map[string]any)
	}
	at[keys[len(keys)-1]] = json.RawMessage(value)
	out, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// refusals: path, value, what the error must name.
var refusals = [][3]string{
	{"model", `null`, `model: is missing`},
	{"model.type", `"Unigram"`, `model.type: model "Unigram" is not supported`},
	{"model.type", `"WordPiece"`, `model "WordPiece"`},
	{"model.dropout", `0.1`, `model.dropout: 0.1`},
	{"model.continuing_subword_prefix", `"##"`, `model.continuing_subword_prefix: "##"`},
	{"model.end_of_word_suffix", `"</w>"`, `model.end_of_word_suffix`},
	{"model.surprise", `1`, `model: unknown field "surprise"`},
	{"model.vocab", `{"a": 0, "b": 0}`, `have the same id 0`},
	{"model.vocab", `{"a": -1}`, `out of range`},
	{"model.vocab", `{"a": 1e10}`, `model:`},
	{"model.vocab", `["a"]`, `model:`},
	{"model.vocab", `{}`, `model.vocab: is missing`},
	{"model.merges", `["a b c"]`, `model.merges[0]`},
	{"model.merges", `[["a"]]`, `model.merges[0]`},
	{"model.merges", `["q zzz"]`, `"zzz" is not in the vocabulary`},
	{"model.merges", `[["a", "b"], "a b"]`, `model.merges`},
	{"model.merges", `7`, `model.merges`},
	{"model.merges", `null`, `model.merges: is missing`},
	{"normalizer", `{"type": "NFKC"}`, `normalizer.type: normalizer "NFKC" is not supported`},
	{"normalizer", `{"type": "Lowercase"}`, `"Lowercase"`},
	{"normalizer", `{"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Strip"}]}`, `normalizer.normalizers[1].type: normalizer "Strip"`},
	{"normalizer", `{"type": "Replace", "pattern": {"Regex": " +"}, "content": ""}`, `normalizer.pattern: Regex`},
	{"normalizer", `{"type": "Replace", "pattern": {"String": ""}, "content": ""}`, `normalizer.pattern`},
	{"normalizer", `{"type": "Prepend", "prepend": 3}`, `normalizer`},
	{"normalizer", `"NFC"`, `normalizer`},
	{"normalizer", strings.Repeat(`{"type":"Sequence","normalizers":[`, 20) + strings.Repeat(`]}`, 20), `nested`},
	{"normalizer", `{"type": "Sequence", "normalizers": [` + strings.Repeat(`{"type": "Replace", "pattern": {"String": "a"}, "content": "aaa"},`, 9) + `{"type": "NFC"}]}`, `normalizer: may make a text`},
	{"pre_tokenizer", `{"type": "Whitespace"}`, `pre_tokenizer.type: pre-tokenizer "Whitespace" is not supported`},
	{"pre_tokenizer", `{"type": "Metaspace"}`, `"Metaspace"`},
	{"pre_tokenizer", `{}`, `pre_tokenizer: has no type`},
	{"pre_tokenizer", `{"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"}, {"type": "ByteLevel"}]}`, `pretokenizers[1]: a part behind ByteLevel`},
	{"pre_tokenizer", `{"type": "Split", "pattern": {"Regex": "\\p{Han}"}, "behavior": "Isolated", "invert": false}`, `pre_tokenizer.pattern.Regex`},
	{"pre_tokenizer", `{"type": "Split", "pattern": {}, "behavior": "Isolated", "invert": false}`, `pre_tokenizer.pattern`},
	{"pre_tokenizer", `{"type": "Split", "pattern": {"String": "a"}, "behavior": "Sideways", "invert": false}`, `pre_tokenizer.behavior: "Sideways"`},
	{"pre_tokenizer", `{"type": "ByteLevel", "add_suffix_space": true}`, `"add_suffix_space"`},
	{"post_processor", `{"type": "RobertaProcessing"}`, `post_processor.type: post-processor "RobertaProcessing"`},
	{"post_processor", `{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}], "special_tokens": {}}`, `post_processor.single[0]: "x"`},
	{"post_processor", `{"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B"}}], "special_tokens": {}}`, `post_processor.single[0]`},
	{"post_processor", `{"type": "TemplateProcessing", "single": [], "special_tokens": {}}`, `no sequence A`},
	{"post_processor", `{"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"x": {"ids": [9999]}}}`, `9999`},
	{"decoder", `{"type": "WordPiece"}`, `decoder.type: decoder "WordPiece"`},
	{"decoder", `{"type": "Sequence", "decoders": [{"type": "CTC"}]}`, `decoder.decoders[0].type: decoder "CTC"`},
	{"decoder", `{"type": "Strip", "content": "ab", "start": 1, "stop": 0}`, `decoder: content`},
	{"added_tokens", `[{"id": 7, "content": "new"}]`, `added_tokens[0]: "new" has id 7`},
	{"added_tokens", `[{"id": 420, "content": ""}]`, `added_tokens[0]: has no content`},
	{"added_tokens", `[{"id": 420, "content": "x!"}, {"id": 421, "content": "x!"}]`, `added_tokens[1]: "x!" is listed twice`},
	{"truncation", `{"max_length": 8}`, `truncation: is not supported`},
	{"padding", `{"strategy": "BatchLongest"}`, `padding: is not supported`},
	{"version", `"2.0"`, `version: "2.0"`},
	{"surprise", `1`, `unknown field "surprise"`},
}

func TestUnknownPartsAreRefusedByNameAndPath(t *testing.T) {
	for _, c := range refusals {
		_, err := Parse(altered(t, c[0], c[1]))
		if err == nil || !strings.HasPrefix(err.Error(), "tokenizer: ") || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%s = %.60s: error %v, want one with %q", c[0], c[1], err, c[2])
		}
	}
}

func TestModelOf2020HasNoType(t *testing.T) {
	raw := strings.Replace(string(altered(t, "model.type", `"BPE"`)), `,"type":"BPE"`, "", 1)
	tok, err := Parse([]byte(raw))
	if err != nil || strings.Contains(raw, "BPE") || tok.VocabSize() != 420 {
		t.Errorf("error %v", err)
	}
}

func TestBrokenFilesAreErrors(t *testing.T) {
	whole := string(altered(t, "version", `"1.0"`))
	for _, raw := range []string{"", "null", "[]", "{", whole[:len(whole)/2], whole + "{}", "\xff" + whole} {
		if _, err := Parse([]byte(raw)); err == nil {
			t.Errorf("%.20q… was accepted", raw)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range refusals {
		f.Add(altered(f, c[0], c[1]))
	}
	for _, style := range styles {
		raw, err := os.ReadFile("testdata/" + style + "/tokenizer.json")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		tok, err := Parse(raw)
		if err != nil {
			return
		}
		ids, err := tok.Encode("Hello  wörld 日本\r\n 123 <|bos|>'s", true)
		if err != nil {
			return
		}
		tok.Decode(ids, true)
		for _, id := range ids {
			if id < 0 || int(id) >= tok.VocabSize() {
				t.Errorf("id %d outside the vocabulary of %d", id, tok.VocabSize())
			}
		}
	})
}
