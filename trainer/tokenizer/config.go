package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// fileNames are the files of a Hugging Face folder that belong to the tokenizer.
var fileNames = []string{
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
	"vocab.json", "merges.txt", "tokenizer.model",
}

// Files returns the paths of the tokenizer's files in a folder: what is to be copied with a model that keeps its
// tokenizer.
func Files(dir string) []string {
	var paths []string
	for _, name := range fileNames {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			paths = append(paths, path)
		}
	}
	return paths
}

// tokenText is a token in tokenizer_config.json: a string or an object with its content.
type tokenText string

// UnmarshalJSON takes "x", {"content": "x", …} and null.
func (t *tokenText) UnmarshalJSON(raw []byte) error {
	var s *string
	if json.Unmarshal(raw, &s) == nil {
		if s != nil {
			*t = tokenText(*s)
		}
		return nil
	}
	var object struct{ Content string }
	if err := json.Unmarshal(raw, &object); err != nil {
		return err
	}
	*t = tokenText(object.Content)
	return nil
}

// settings are the keys of tokenizer_config.json and special_tokens_map.json that change ids.
type settings struct {
	BOS    tokenText `json:"bos_token"`
	EOS    tokenText `json:"eos_token"`
	AddBOS *bool     `json:"add_bos_token"`
	AddEOS *bool     `json:"add_eos_token"`
}

// readConfig takes BOS and EOS from the files beside tokenizer.json. add_bos_token and add_eos_token, where they are
// given, overrule its template, as in transformers.
func (t *Tokenizer) readConfig(dir string) error {
	var s settings
	for _, name := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		path := filepath.Join(dir, name)
		raw, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("tokenizer: %w", err)
		}
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("tokenizer: %s: %w", path, err)
		}
	}
	var err error
	if t.bos, err = t.named("bos_token", s.BOS, t.bos); err != nil {
		return fmt.Errorf("tokenizer: %s: %w", dir, err)
	}
	if t.eos, err = t.named("eos_token", s.EOS, t.eos); err != nil {
		return fmt.Errorf("tokenizer: %s: %w", dir, err)
	}
	if s.AddBOS != nil {
		if t.template.before, err = end("add_bos_token", *s.AddBOS, t.bos); err != nil {
			return fmt.Errorf("tokenizer: %s: %w", dir, err)
		}
	}
	if s.AddEOS != nil {
		if t.template.after, err = end("add_eos_token", *s.AddEOS, t.eos); err != nil {
			return fmt.Errorf("tokenizer: %s: %w", dir, err)
		}
	}
	return nil
}

// named finds the id of a configured token; fallback is the template's own.
func (t *Tokenizer) named(key string, text tokenText, fallback special) (special, error) {
	if text == "" {
		return fallback, nil
	}
	id, ok := t.lookup(string(text))
	if !ok {
		return special{}, fmt.Errorf("%s %q is not in the vocabulary of tokenizer.json", key, string(text))
	}
	return special{id: id, ok: true}, nil
}

// end is what add_bos_token or add_eos_token puts at its end of a sequence.
func end(key string, add bool, token special) ([]int32, error) {
	if !add {
		return nil, nil
	}
	if !token.ok {
		return nil, fmt.Errorf("%s is true but the tokenizer has no such token; name it in tokenizer_config.json", key)
	}
	return []int32{token.id}, nil
}
