package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is an entry of added_tokens: text that becomes one id before anything else looks at it.
type addedToken struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`

	normal string // Content after the normalizer where Normalized is set
}

// addedVocabulary holds the added tokens, split by whether they are looked for before or after normalization.
type addedVocabulary struct {
	byID            map[int32]*addedToken
	byContent       map[string]int32
	special         map[string]bool // contents of special tokens
	raw, normalized matcher
}

func newAddedVocabulary(tokens []addedToken, model *bpe, n normalizer) (addedVocabulary, error) {
	v := addedVocabulary{byID: map[int32]*addedToken{}, byContent: map[string]int32{}, special: map[string]bool{}}
	next := int32(len(model.ids))
	for i := range tokens {
		t := &tokens[i]
		if t.Content == "" {
			return v, fmt.Errorf("tokenizer: added_tokens[%d]: has no content", i)
		}
		if _, twice := v.byContent[t.Content]; twice {
			return v, fmt.Errorf("tokenizer: added_tokens[%d]: %q is listed twice", i, t.Content)
		}
		want, inModel := model.ids[t.Content]
		if !inModel {
			want = next
			next++
		}
		if t.ID != want {
			return v, fmt.Errorf("tokenizer: added_tokens[%d]: %q has id %d where the vocabulary gives it %d; number added tokens as the vocabulary does, or right after it", i, t.Content, t.ID, want)
		}
		v.add(t, n)
	}
	return v, nil
}

func (v *addedVocabulary) add(t *addedToken, n normalizer) {
	t.normal = t.Content
	if t.Normalized {
		t.normal = n.apply(t.Content)
	}
	v.byID[t.ID], v.byContent[t.Content] = t, t.ID
	if t.Special {
		v.special[t.Content] = true
	}
	if t.Normalized {
		v.normalized.add(t)
	} else {
		v.raw.add(t)
	}
}

// matcher finds added tokens in text: the leftmost, of those the longest. It is a trie over bytes.
type matcher struct {
	first [256]bool
	nodes []trieNode
}

type trieNode struct {
	next  map[byte]int32
	token *addedToken
}

func (m *matcher) add(t *addedToken) {
	if t.normal == "" {
		return
	}
	if m.nodes == nil {
		m.nodes = []trieNode{{}}
	}
	m.first[t.normal[0]] = true
	at := int32(0)
	for i := range len(t.normal) {
		c := t.normal[i]
		to, ok := m.nodes[at].next[c]
		if !ok {
			to = int32(len(m.nodes))
			if m.nodes[at].next == nil {
				m.nodes[at].next = map[byte]int32{}
			}
			m.nodes[at].next[c] = to
			m.nodes = append(m.nodes, trieNode{})
		}
		at = to
	}
	m.nodes[at].token = t
}

// longest returns the longest token that text starts with, or nil.
func (m *matcher) longest(text string) *addedToken {
	var found *addedToken
	at := int32(0)
	for i := range len(text) {
		to, ok := m.nodes[at].next[text[i]]
		if !ok {
			break
		}
		at = to
		if t := m.nodes[at].token; t != nil {
			found = t
		}
	}
	return found
}

// find returns the first token at or after from and its start, or nil.
func (m *matcher) find(text string, from int) (*addedToken, int) {
	for i := from; i < len(text); i++ {
		if m.first[text[i]] {
			if t := m.longest(text[i:]); t != nil {
				return t, i
			}
		}
	}
	return nil, 0
}

// split calls emit for every added token (its id and "") and every stretch of text between them (0 and the text).
func (m *matcher) split(text string, emit func(id int32, plain string) error) error {
	if m.nodes == nil {
		return emitPlain(text, emit)
	}
	done := 0 // text before done has been emitted
	for from := 0; ; {
		t, start := m.find(text, from)
		if t == nil {
			break
		}
		stop := start + len(t.normal)
		from = stop // the search goes on behind the content, whatever rstrip takes
		if t.SingleWord && !(wordEnds(text[:start]) && wordStarts(text[stop:])) {
			continue
		}
		if t.LStrip {
			start = max(len(strings.TrimRightFunc(text[:start], unicode.IsSpace)), done)
		}
		if t.RStrip {
			rest := text[stop:]
			stop += len(rest) - len(strings.TrimLeftFunc(rest, unicode.IsSpace))
		}
		if done < start {
			if err := emitPlain(text[done:start], emit); err != nil {
				return err
			}
		}
		if err := emit(t.ID, ""); err != nil {
			return err
		}
		done = stop
	}
	return emitPlain(text[done:], emit)
}

func emitPlain(text string, emit func(id int32, plain string) error) error {
	if text == "" {
		return nil
	}
	return emit(0, text)
}

// wordEnds reports whether a word may start right after before.
func wordEnds(before string) bool {
	r, _ := utf8.DecodeLastRuneInString(before)
	return before == "" || !isWord(r)
}

// wordStarts reports whether a word may end right before after.
func wordStarts(after string) bool {
	r, _ := utf8.DecodeRuneInString(after)
	return after == "" || !isWord(r)
}

// isWord is \w of Unicode TR18: Alphabetic, marks, decimal digits, connectors and the two joiners.
func isWord(r rune) bool {
	if later("M", r) || later("Nd", r) {
		return true
	}
	return classOf(r)&letter != 0 || unicode.In(r, unicode.Other_Alphabetic, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Join_Control)
}
