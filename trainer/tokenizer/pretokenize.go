package tokenizer

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dlclark/regexp2/v2"
)

// A stage cuts or changes a stretch of text and hands the pieces on.
type stage interface {
	each(text string, emit func(string) error) error
}

// byteLevelOptions are the keys of every ByteLevel part.
type byteLevelOptions struct {
	Type           string `json:"type"`
	AddPrefixSpace bool   `json:"add_prefix_space"`
	TrimOffsets    bool   `json:"trim_offsets"`
	UseRegex       *bool  `json:"use_regex"`
}

// eachWord runs text through the stages.
func eachWord(stages []stage, text string, emit func(string) error) error {
	if text == "" {
		return nil
	}
	if len(stages) == 0 {
		return emit(text)
	}
	return stages[0].each(text, func(piece string) error { return eachWord(stages[1:], piece, emit) })
}

// each cuts text into the scanner's matches.
func (s scanner) each(text string, emit func(string) error) error {
	for i := 0; i < len(text); {
		end := s(text, i)
		if err := emit(text[i:end]); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// prefixSpace is add_prefix_space.
type prefixSpace struct{}

func (prefixSpace) each(text string, emit func(string) error) error {
	if !strings.HasPrefix(text, " ") {
		text = " " + text
	}
	return emit(text)
}

// byteLevel marks the end of a pre-tokenizer whose words are bytes. It must come last: what follows it would see the
// byte alphabet instead of the text.
type byteLevel struct{}

func (byteLevel) each(text string, emit func(string) error) error { return emit(text) }

// takeByteLevel removes the mark and reports whether it was there.
func takeByteLevel(stages *[]stage) bool {
	n := len(*stages)
	if n == 0 {
		return false
	}
	if _, ok := (*stages)[n-1].(byteLevel); !ok {
		return false
	}
	*stages = (*stages)[:n-1]
	return true
}

func parsePreTokenizer(p part) ([]stage, error) {
	if p.null() {
		return nil, nil
	}
	kind, err := p.kind()
	if err != nil {
		return nil, err
	}
	switch kind {
	case "ByteLevel":
		return parseByteLevel(p)
	case "Split":
		return parseSplit(p)
	case "Sequence":
		return parsePreTokenizers(p)
	}
	return nil, p.unsupported("type", fmt.Sprintf("pre-tokenizer %q", kind), "ByteLevel", "Split", "Sequence")
}

func parsePreTokenizers(p part) ([]stage, error) {
	var v struct {
		Type          string            `json:"type"`
		PreTokenizers []json.RawMessage `json:"pretokenizers"`
	}
	if err := p.decode(&v); err != nil {
		return nil, err
	}
	var all []stage
	for i, raw := range v.PreTokenizers {
		child := p.child("pretokenizers", i, raw)
		if n := len(all); n > 0 {
			if _, done := all[n-1].(byteLevel); done {
				return nil, fmt.Errorf("tokenizer: %s: a part behind ByteLevel is not supported; ByteLevel must be the last", child.path)
			}
		}
		stages, err := parsePreTokenizer(child)
		if err != nil {
			return nil, err
		}
		all = append(all, stages...)
	}
	return all, nil
}

func parseByteLevel(p part) ([]stage, error) {
	var v byteLevelOptions
	if err := p.decode(&v); err != nil {
		return nil, err
	}
	var stages []stage
	if v.AddPrefixSpace {
		stages = append(stages, prefixSpace{})
	}
	if v.UseRegex == nil || *v.UseRegex {
		stages = append(stages, scanner(scanGPT2))
	}
	return append(stages, byteLevel{}), nil
}

func parseSplit(p part) ([]stage, error) {
	var v struct {
		Type     string  `json:"type"`
		Pattern  pattern `json:"pattern"`
		Behavior string  `json:"behavior"`
		Invert   bool    `json:"invert"`
	}
	if err := p.decode(&v); err != nil {
		return nil, err
	}
	join, ok := behaviors[v.Behavior]
	if !ok {
		return nil, p.unsupported("behavior", fmt.Sprintf("%q", v.Behavior), "Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext")
	}
	s := split{invert: v.Invert, join: join}
	switch {
	case v.Pattern.String != nil && v.Pattern.Regex == nil && *v.Pattern.String != "":
		s.text = *v.Pattern.String
	case v.Pattern.Regex != nil && v.Pattern.String == nil:
		// Every position matches, so that inverting leaves the same pieces.
		if scan, known := scanners[*v.Pattern.Regex]; known && v.Behavior == "Isolated" {
			return []stage{scan}, nil
		}
		var err error
		if s.regex, err = compile(*v.Pattern.Regex); err != nil {
			return nil, fmt.Errorf("tokenizer: %s.pattern.Regex: %w", p.path, err)
		}
	default:
		return nil, fmt.Errorf("tokenizer: %s.pattern: must hold either a Regex or a String that is not empty", p.path)
	}
	return []stage{s}, nil
}

// span is a piece of a text and whether the pattern matched it.
type span struct {
	start, end int
	match      bool
}

// split is the general Split part.
type split struct {
	text   string          // a plain string to split at, or
	regex  *regexp2.Regexp // a pattern
	invert bool
	join   func([]span) []span
}

func (s split) each(text string, emit func(string) error) error {
	spans, err := s.matches(text)
	if err != nil {
		return err
	}
	if s.invert {
		for i := range spans {
			spans[i].match = !spans[i].match
		}
	}
	for _, piece := range s.join(spans) {
		if err := emit(text[piece.start:piece.end]); err != nil {
			return err
		}
	}
	return nil
}

// matches covers text with matches and what lies between them.
func (s split) matches(text string) ([]span, error) {
	var spans []span
	done := 0
	add := func(start, end int) {
		if done < start {
			spans = append(spans, span{start: done, end: start})
		}
		spans = append(spans, span{start: start, end: end, match: true})
		done = end
	}
	if s.regex == nil {
		for {
			i := strings.Index(text[done:], s.text)
			if i < 0 {
				break
			}
			add(done+i, done+i+len(s.text))
		}
	} else if err := eachMatch(s.regex, text, add); err != nil {
		return nil, err
	}
	if done < len(text) {
		spans = append(spans, span{start: done, end: len(text)})
	}
	return spans, nil
}

// behaviors say what becomes of matches; the names and meanings are those of SplitDelimiterBehavior.
var behaviors = map[string]func([]span) []span{
	"Isolated": func(spans []span) []span { return spans },
	"Removed": func(spans []span) []span {
		var kept []span
		for _, s := range spans {
			if !s.match {
				kept = append(kept, s)
			}
		}
		return kept
	},
	"Contiguous": func(spans []span) []span {
		return glue(spans, func(previous, s span) bool { return s.match == previous.match })
	},
	"MergedWithPrevious": func(spans []span) []span {
		return glue(spans, func(previous, s span) bool { return s.match && !previous.match })
	},
	"MergedWithNext": func(spans []span) []span {
		return glue(spans, func(previous, s span) bool { return previous.match && !s.match })
	},
}

// glue joins every span to the one before it where joined says so.
func glue(spans []span, joined func(previous, s span) bool) []span {
	var out []span
	for i, s := range spans {
		if i > 0 && joined(spans[i-1], s) {
			out[len(out)-1].end = s.end
		} else {
			out = append(out, s)
		}
	}
	return out
}
