package tokenizer

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A decoder turns the strings of tokens into text, step by step.
type decoder interface {
	decode(pieces []string) []string
}

func parseDecoder(p part) ([]decoder, error) {
	if p.null() {
		return nil, nil
	}
	kind, err := p.kind()
	if err != nil {
		return nil, err
	}
	var bare struct {
		Type string `json:"type"`
	}
	switch kind {
	case "ByteLevel":
		var v byteLevelOptions
		return []decoder{byteLevelDecoder{}}, p.decode(&v)
	case "ByteFallback":
		return []decoder{byteFallback{}}, p.decode(&bare)
	case "Fuse":
		return []decoder{fuse{}}, p.decode(&bare)
	case "Replace":
		old, content, err := parseReplacement(p)
		return []decoder{replace{old, content}}, err
	case "Strip":
		return parseStrip(p)
	case "Sequence":
		return parseDecoders(p)
	}
	return nil, p.unsupported("type", fmt.Sprintf("decoder %q", kind), "ByteLevel", "ByteFallback", "Fuse", "Replace", "Strip", "Sequence")
}

func parseDecoders(p part) ([]decoder, error) {
	var v struct {
		Type     string            `json:"type"`
		Decoders []json.RawMessage `json:"decoders"`
	}
	if err := p.decode(&v); err != nil {
		return nil, err
	}
	var all []decoder
	for i, raw := range v.Decoders {
		decoders, err := parseDecoder(p.child("decoders", i, raw))
		if err != nil {
			return nil, err
		}
		all = append(all, decoders...)
	}
	return all, nil
}

func parseStrip(p part) ([]decoder, error) {
	var v struct {
		Type    string `json:"type"`
		Content string `json:"content"`
		Start   int    `json:"start"`
		Stop    int    `json:"stop"`
	}
	if err := p.decode(&v); err != nil {
		return nil, err
	}
	if utf8.RuneCountInString(v.Content) != 1 || v.Start < 0 || v.Stop < 0 {
		return nil, fmt.Errorf("tokenizer: %s: content must be one character, start and stop at least 0", p.path)
	}
	return []decoder{strip{content: v.Content, start: v.Start, stop: v.Stop}}, nil
}

// byteLevelDecoder joins the bytes that the tokens spell in GPT-2's alphabet. A token with any other character, such as
// an added one, stands for itself.
type byteLevelDecoder struct{}

func (byteLevelDecoder) decode(pieces []string) []string {
	var text strings.Builder
	for _, piece := range pieces {
		if s, ok := textOf(piece); ok {
			piece = s
		}
		text.WriteString(piece)
	}
	return []string{lossy(text.String())}
}

// lossy replaces what is not UTF-8 by U+FFFD: one for each longest stretch that could still have become a character, as
// Unicode recommends (section 3.9) and Rust and Python do.
func lossy(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			n = brokenLength(s[i:])
		}
		out.WriteRune(r)
		i += n
	}
	return out.String()
}

// brokenLength is the length of the beginning of a character at the start of s, or 1 if no character begins so.
func brokenLength(s string) int {
	n := 1
	low, high, want := byte(0x80), byte(0xbf), 0
	switch c := s[0]; {
	case c >= 0xc2 && c <= 0xdf:
		want = 1
	case c >= 0xe0 && c <= 0xef:
		want = 2
	case c >= 0xf0 && c <= 0xf4:
		want = 3
	}
	switch s[0] { // not overlong, no surrogate, not beyond U+10FFFF
	case 0xe0:
		low = 0xa0
	case 0xed:
		high = 0x9f
	case 0xf0:
		low = 0x90
	case 0xf4:
		high = 0x8f
	}
	for n <= want && n < len(s) && s[n] >= low && s[n] <= high {
		low, high = 0x80, 0xbf
		n++
	}
	return n
}

// byteFallback turns runs of <0x..> into text, or into one U+FFFD a byte where they are not UTF-8.
type byteFallback struct{}

func (byteFallback) decode(pieces []string) []string {
	var out []string
	var run []byte
	flush := func() {
		if utf8.Valid(run) {
			if len(run) > 0 {
				out = append(out, string(run))
			}
		} else {
			for range run {
				out = append(out, string(utf8.RuneError))
			}
		}
		run = run[:0]
	}
	for _, piece := range pieces {
		if b, ok := byteToken(piece); ok {
			run = append(run, b)
			continue
		}
		flush()
		out = append(out, piece)
	}
	flush()
	return out
}

// byteToken reads <0x0A>.
func byteToken(piece string) (byte, bool) {
	if len(piece) != 6 || !strings.HasPrefix(piece, "<0x") || piece[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(piece[3:5], 16, 8)
	return byte(b), err == nil
}

// fuse joins all pieces into one, for what follows to see the whole text.
type fuse struct{}

func (fuse) decode(pieces []string) []string { return []string{strings.Join(pieces, "")} }

type replace struct{ old, content string }

func (r replace) decode(pieces []string) []string {
	for i := range pieces {
		pieces[i] = strings.ReplaceAll(pieces[i], r.old, r.content)
	}
	return pieces
}

// strip removes up to start characters content from the front of each piece, up to stop from its end.
type strip struct {
	content     string
	start, stop int
}

func (s strip) decode(pieces []string) []string {
	for i, piece := range pieces {
		for n := 0; n < s.start && strings.HasPrefix(piece, s.content); n++ {
			piece = piece[len(s.content):]
		}
		for n := 0; n < s.stop && strings.HasSuffix(piece, s.content); n++ {
			piece = piece[:len(piece)-len(s.content)]
		}
		pieces[i] = piece
	}
	return pieces
}
