package tokenizer

import (
	"encoding/json"
	"fmt"
	"slices"
)

// template puts special tokens before and after a sequence.
type template struct{ before, after []int32 }

func (t template) apply(body []int32, addSpecial bool) []int32 {
	if !addSpecial || len(t.before)+len(t.after) == 0 {
		return body
	}
	return slices.Concat(t.before, body, t.after)
}

// ends are the tokens that the template puts first and last.
func (t template) ends() (bos, eos special) {
	if len(t.before) > 0 {
		bos = special{id: t.before[0], ok: true}
	}
	if n := len(t.after); n > 0 {
		eos = special{id: t.after[n-1], ok: true}
	}
	return bos, eos
}

func parsePostProcessor(p part) (template, error) {
	if p.null() {
		return template{}, nil
	}
	kind, err := p.kind()
	if err != nil {
		return template{}, err
	}
	switch kind {
	case "ByteLevel": // moves offsets only
		var v byteLevelOptions
		return template{}, p.decode(&v)
	case "TemplateProcessing":
		return parseTemplate(p)
	case "Sequence":
		return parsePostProcessors(p)
	}
	return template{}, p.unsupported("type", fmt.Sprintf("post-processor %q", kind), "ByteLevel", "TemplateProcessing", "Sequence")
}

// parsePostProcessors joins a list: each template goes around what those before it made.
func parsePostProcessors(p part) (template, error) {
	var v struct {
		Type       string            `json:"type"`
		Processors []json.RawMessage `json:"processors"`
	}
	if err := p.decode(&v); err != nil {
		return template{}, err
	}
	var all template
	for i, raw := range v.Processors {
		t, err := parsePostProcessor(p.child("processors", i, raw))
		if err != nil {
			return template{}, err
		}
		all = template{before: slices.Concat(t.before, all.before), after: slices.Concat(all.after, t.after)}
	}
	return all, nil
}

// templatePiece is one element of a template: the sequence or a special token.
type templatePiece struct {
	Sequence *struct {
		ID     string `json:"id"`
		TypeID int    `json:"type_id"`
	}
	SpecialToken *struct {
		ID     string `json:"id"`
		TypeID int    `json:"type_id"`
	}
}

// templateToken is what a special token of a template stands for.
type templateToken struct {
	ID     string   `json:"id"`
	IDs    []int32  `json:"ids"`
	Tokens []string `json:"tokens"`
}

func parseTemplate(p part) (template, error) {
	var v struct {
		Type          string                   `json:"type"`
		Single        []templatePiece          `json:"single"`
		Pair          json.RawMessage          `json:"pair"`
		SpecialTokens map[string]templateToken `json:"special_tokens"`
	}
	if err := p.decode(&v); err != nil {
		return template{}, err
	}
	var t template
	seen := false
	for i, piece := range v.Single {
		path := fmt.Sprintf("%s.single[%d]", p.path, i)
		switch {
		case piece.Sequence != nil && piece.Sequence.ID == "A" && !seen:
			seen = true
		case piece.SpecialToken != nil:
			token, ok := v.SpecialTokens[piece.SpecialToken.ID]
			if !ok {
				return template{}, fmt.Errorf("tokenizer: %s: %q is not among special_tokens", path, piece.SpecialToken.ID)
			}
			if seen {
				t.after = append(t.after, token.IDs...)
			} else {
				t.before = append(t.before, token.IDs...)
			}
		default:
			return template{}, fmt.Errorf("tokenizer: %s: a template holds sequence A once and special tokens, nothing else", path)
		}
	}
	if !seen {
		return template{}, fmt.Errorf("tokenizer: %s.single: has no sequence A", p.path)
	}
	return t, nil
}
