package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxNesting bounds Sequence parts inside Sequence parts; real files nest once.
const maxNesting = 8

// document is tokenizer.json; the parts with a "type" are decoded one by one.
type document struct {
	Version       *string         `json:"version"`
	Truncation    json.RawMessage `json:"truncation"`
	Padding       json.RawMessage `json:"padding"`
	AddedTokens   []addedToken    `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
	Model         json.RawMessage `json:"model"`
}

// Parse reads the content of a tokenizer.json. BOS and EOS are what its template puts first and last; Load also looks at
// the configuration beside the file.
func Parse(raw []byte) (*Tokenizer, error) {
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("tokenizer: tokenizer.json is not valid UTF-8")
	}
	var d document
	if err := (part{raw: raw}).decode(&d); err != nil {
		return nil, err
	}
	if d.Version != nil && *d.Version != "1.0" {
		return nil, fmt.Errorf("tokenizer: version: %q is not supported (supported: \"1.0\")", *d.Version)
	}
	for name, raw := range map[string]json.RawMessage{"truncation": d.Truncation, "padding": d.Padding} {
		if !isNull(raw) {
			return nil, fmt.Errorf("tokenizer: %s: is not supported; set it to null, lengths are the trainer's business", name)
		}
	}
	return assemble(d)
}

func assemble(d document) (*Tokenizer, error) {
	var t Tokenizer
	var err error
	normal := part{path: "normalizer", raw: d.Normalizer}
	if t.normalizer, err = parseNormalizer(normal); err != nil {
		return nil, err
	}
	if err := t.normalizer.check(normal); err != nil {
		return nil, err
	}
	if t.stages, err = parsePreTokenizer(part{path: "pre_tokenizer", raw: d.PreTokenizer}); err != nil {
		return nil, err
	}
	if t.model, err = parseModel(part{path: "model", raw: d.Model}, takeByteLevel(&t.stages)); err != nil {
		return nil, err
	}
	if t.added, err = newAddedVocabulary(d.AddedTokens, t.model, t.normalizer); err != nil {
		return nil, err
	}
	if t.decoders, err = parseDecoder(part{path: "decoder", raw: d.Decoder}); err != nil {
		return nil, err
	}
	if t.template, err = parsePostProcessor(part{path: "post_processor", raw: d.PostProcessor}); err != nil {
		return nil, err
	}
	t.bos, t.eos = t.template.ends()
	return &t, t.checkTemplate()
}

// checkTemplate refuses a template with ids that no token has: they would index past the model's embedding.
func (t *Tokenizer) checkTemplate() error {
	for _, id := range slices.Concat(t.template.before, t.template.after) {
		if _, ok := t.decoded(id); !ok {
			return fmt.Errorf("tokenizer: post_processor: special token id %d is not in the vocabulary", id)
		}
	}
	return nil
}

// part is a piece of the JSON and its path in the file.
type part struct {
	path  string
	raw   json.RawMessage
	depth int
}

// child is element i of the list called name.
func (p part) child(name string, i int, raw json.RawMessage) part {
	return part{path: fmt.Sprintf("%s.%s[%d]", p.path, name, i), raw: raw, depth: p.depth + 1}
}

func (p part) null() bool { return isNull(p.raw) }

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null"
}

// kind reads the part's "type".
func (p part) kind() (string, error) {
	if p.depth > maxNesting {
		return "", fmt.Errorf("tokenizer: %s: is nested more than %d deep", p.path, maxNesting)
	}
	var t struct {
		Type *string `json:"type"`
	}
	if err := json.Unmarshal(p.raw, &t); err != nil {
		return "", fmt.Errorf("tokenizer: %s: %w", p.path, err)
	}
	if t.Type == nil {
		return "", fmt.Errorf("tokenizer: %s: has no type", p.path)
	}
	return *t.Type, nil
}

// decode fills v and refuses keys that v does not have: an unknown key may change the ids.
func (p part) decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(p.raw))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.More() {
		err = fmt.Errorf("text follows the JSON value")
	}
	if err == nil {
		return nil
	}
	where := ""
	if p.path != "" {
		where = p.path + ": "
	}
	return fmt.Errorf("tokenizer: %s%s", where, strings.TrimPrefix(err.Error(), "json: "))
}

// unsupported names the part, what it holds and what would be accepted.
func (p part) unsupported(key, value string, supported ...string) error {
	path := strings.TrimPrefix(p.path+"."+key, ".")
	return fmt.Errorf("tokenizer: %s: %s is not supported (supported: %s)", path, value, strings.Join(supported, ", "))
}
