package tokenizer

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// The cache holds words up to maxCachedWord bytes and forgets all of them when it has maxCachedWords. Text is so skewed
// that the words which matter are back at once.
const (
	maxCachedWord  = 48
	maxCachedWords = 1 << 16
)

// encoder turns words into ids. It belongs to one goroutine at a time.
type encoder struct {
	model   *bpe
	cache   map[string]span32
	arena   []int32 // the ids of cached words
	symbols []int32
	offsets []int32 // byte offset of every symbol, SentencePiece style only
	merger  merger
}

// span32 is a stretch of the arena.
type span32 struct{ start, end int32 }

func newEncoder(m *bpe) *encoder {
	return &encoder{model: m, cache: map[string]span32{}}
}

// appendWord appends the ids of a word that is not empty.
func (e *encoder) appendWord(ids []int32, word string) ([]int32, error) {
	m := e.model
	if m.byteLevel && len(word) <= maxCachedWord {
		if s, ok := e.cache[word]; ok {
			return append(ids, e.arena[s.start:s.end]...), nil
		}
	}
	if id, ok := m.words[word]; ok {
		return append(ids, id), nil
	}
	if !m.byteLevel {
		return e.appendCharacters(ids, word)
	}
	e.symbols = e.symbols[:0]
	for i := range len(word) {
		if id := m.bytes[word[i]]; id >= 0 {
			e.symbols = append(e.symbols, id)
		}
	}
	merged := e.merger.merge(&m.merges, e.symbols)
	e.remember(word, merged)
	return append(ids, merged...), nil
}

func (e *encoder) remember(word string, ids []int32) {
	if len(word) > maxCachedWord {
		return
	}
	if len(e.cache) >= maxCachedWords {
		clear(e.cache)
		e.arena = e.arena[:0]
	}
	start := int32(len(e.arena))
	e.arena = append(e.arena, ids...)
	e.cache[strings.Clone(word)] = span32{start, int32(len(e.arena))}
}

// appendCharacters encodes a word of characters. The word may be a whole text; it is cut wherever no merge can reach
// across, which gives the same ids and short pieces that repeat.
func (e *encoder) appendCharacters(ids []int32, word string) ([]int32, error) {
	if len(word) > math.MaxInt32 {
		return nil, fmt.Errorf("a text of %d bytes is too long; cut it into documents under 2 GiB", len(word))
	}
	if err := e.split(word); err != nil {
		return nil, err
	}
	for start := 0; start < len(e.symbols); {
		end := start + 1
		for end < len(e.symbols) && e.joined(end) {
			end++
		}
		ids = e.appendPiece(ids, word, start, end)
		start = end
	}
	return ids, nil
}

// joined reports whether some merge may join symbols i-1 and i.
func (e *encoder) joined(i int) bool {
	return e.model.joins == nil || e.model.joins.get(e.symbols[i-1], e.symbols[i]) != noPair
}

// appendPiece merges the symbols from start to end. A piece of plain characters is cached under its text.
func (e *encoder) appendPiece(ids []int32, word string, start, end int) []int32 {
	symbols := e.symbols[start:end]
	if len(symbols) == 1 {
		return append(ids, symbols[0])
	}
	from, to := e.offsets[start], e.offsets[end]
	if e.model.joins == nil || to-from > maxCachedWord {
		return append(ids, e.merger.merge(&e.model.merges, symbols)...)
	}
	text := word[from:to]
	if s, ok := e.cache[text]; ok {
		return append(ids, e.arena[s.start:s.end]...)
	}
	merged := e.merger.merge(&e.model.merges, symbols)
	e.remember(text, merged)
	return append(ids, merged...)
}

// split fills symbols with the tokens of the word's characters and offsets with where they start, and one more with the
// word's end. A character without a token becomes its bytes, or else the unknown token. As in Hugging Face tokenizers, an
// unknown token is written only before the next known character, behind any bytes in between.
func (e *encoder) split(word string) error {
	m := e.model
	e.symbols, e.offsets = e.symbols[:0], e.offsets[:0]
	pending := -1 // where the unknown token that is to be written starts
	flush := func() {
		if pending >= 0 {
			e.push(m.unk, pending)
			pending = -1
		}
	}
	for i := 0; i < len(word); {
		id, n := m.symbolAt(word, i)
		switch {
		case id >= 0:
			flush()
			e.push(id, i)
		case m.fallback && m.hasBytes(word[i:i+n]):
			for k := i; k < i+n; k++ {
				e.push(m.bytes[word[k]], k)
			}
		case m.unkSet && !m.unkOK:
			return fmt.Errorf("%q is not in the vocabulary, nor is the unknown token %q", word[i:i+n], m.unkName)
		case m.unkSet:
			if !m.fuseUnk {
				flush()
			}
			if pending < 0 {
				pending = i
			}
		}
		i += n
	}
	flush()
	e.offsets = append(e.offsets, int32(len(word)))
	return nil
}

// symbolAt returns the token of the character at i, or -1, and the character's length.
func (m *bpe) symbolAt(word string, i int) (id int32, n int) {
	if c := word[i]; c < utf8.RuneSelf {
		return m.asciiSymbols[c], 1
	}
	r, n := utf8.DecodeRuneInString(word[i:])
	return m.symbol(r), n
}

func (e *encoder) push(id int32, offset int) {
	e.symbols = append(e.symbols, id)
	e.offsets = append(e.offsets, int32(offset))
}

// hasBytes reports whether byte fallback can spell s.
func (m *bpe) hasBytes(s string) bool {
	for i := range len(s) {
		if m.bytes[s[i]] < 0 {
			return false
		}
	}
	return true
}
