package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"
)

// maxGrowth bounds how many times longer the normalizer may make a text: a few replacements in a row can fill any memory.
const maxGrowth = 64

// normalizer is a list of steps, applied in order to text that holds no added token.
type normalizer []normalStep

type normalStep struct {
	apply  func(string) string
	growth float64 // how many times longer the text may become
}

func (n normalizer) apply(s string) string {
	for _, step := range n {
		s = step.apply(s)
	}
	return s
}

// check refuses a normalizer under which text explodes.
func (n normalizer) check(p part) error {
	growth := 1.0
	for _, step := range n {
		growth *= step.growth
	}
	if growth > maxGrowth {
		return fmt.Errorf("tokenizer: %s: may make a text %.3g times longer, more than %d times is not supported", p.path, growth, maxGrowth)
	}
	return nil
}

// pattern is {"String": "x"} or {"Regex": "x"}.
type pattern struct {
	String *string
	Regex  *string
}

func parseNormalizer(p part) (normalizer, error) {
	if p.null() {
		return nil, nil
	}
	kind, err := p.kind()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "NFC":
		return normalizer{{apply: nfc, growth: 3}}, nil
	case "Prepend":
		return parsePrepend(p)
	case "Replace":
		return parseReplace(p)
	case "Sequence":
		return parseNormalizers(p)
	}
	return nil, p.unsupported("type", fmt.Sprintf("normalizer %q", kind), "NFC", "Prepend", "Replace", "Sequence")
}

func parseNormalizers(p part) (normalizer, error) {
	var v struct {
		Type        string            `json:"type"`
		Normalizers []json.RawMessage `json:"normalizers"`
	}
	if err := p.decode(&v); err != nil {
		return nil, err
	}
	var all normalizer
	for i, raw := range v.Normalizers {
		steps, err := parseNormalizer(p.child("normalizers", i, raw))
		if err != nil {
			return nil, err
		}
		all = append(all, steps...)
	}
	return all, nil
}

func parsePrepend(p part) (normalizer, error) {
	var v struct {
		Type    string `json:"type"`
		Prepend string `json:"prepend"`
	}
	if err := p.decode(&v); err != nil {
		return nil, err
	}
	prepend := func(s string) string {
		if s == "" {
			return s // nothing is put before nothing, so that "" has no tokens
		}
		return v.Prepend + s
	}
	return normalizer{{apply: prepend, growth: 1}}, nil
}

func parseReplace(p part) (normalizer, error) {
	old, content, err := parseReplacement(p)
	if err != nil {
		return nil, err
	}
	apply := func(s string) string { return strings.ReplaceAll(s, old, content) }
	return normalizer{{apply: apply, growth: max(1, float64(len(content))/float64(len(old)))}}, nil
}

// parseReplacement reads a Replace part, which normalizers and decoders share.
func parseReplacement(p part) (old, content string, err error) {
	var v struct {
		Type    string  `json:"type"`
		Pattern pattern `json:"pattern"`
		Content string  `json:"content"`
	}
	if err := p.decode(&v); err != nil {
		return "", "", err
	}
	if v.Pattern.Regex != nil {
		return "", "", p.unsupported("pattern", fmt.Sprintf("Regex %q", *v.Pattern.Regex), "String")
	}
	if v.Pattern.String == nil || *v.Pattern.String == "" {
		return "", "", fmt.Errorf("tokenizer: %s.pattern: must hold a String that is not empty", p.path)
	}
	return *v.Pattern.String, v.Content, nil
}
