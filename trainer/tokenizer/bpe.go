package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// bpe is the model: a vocabulary and the merges that build it. Where it is byte-level, words are bytes and the
// vocabulary spells them in GPT-2's byte alphabet; otherwise words are characters.
type bpe struct {
	byteLevel    bool
	ids          map[string]int32 // as the file spells the tokens
	tokens       map[int32]string // the inverse
	size         int              // one more than the largest id
	words        map[string]int32 // ignore_merges: whole words, as text
	bytes        [256]int32       // the token of a byte, or -1: byte-level tokens or <0x..> of byte fallback
	fallback     bool             // byte_fallback
	merges       pairTable        // pair of ids to its merge
	joins        *pairTable       // pairs of symbols that some merge may join, or nil where that cannot be told
	unk          int32
	unkName      string // the file's unk_token
	unkSet       bool   // the file has an unk_token
	unkOK        bool   // and it is in the vocabulary
	fuseUnk      bool
	runes        map[rune]int32 // tokens of one character
	asciiSymbols [utf8.RuneSelf]int32
}

// modelJSON is the model part of tokenizer.json.
type modelJSON struct {
	Type                    string           `json:"type"`
	Dropout                 *float64         `json:"dropout"`
	UnkToken                *string          `json:"unk_token"`
	ContinuingSubwordPrefix *string          `json:"continuing_subword_prefix"`
	EndOfWordSuffix         *string          `json:"end_of_word_suffix"`
	FuseUnk                 bool             `json:"fuse_unk"`
	ByteFallback            bool             `json:"byte_fallback"`
	IgnoreMerges            bool             `json:"ignore_merges"`
	Vocab                   map[string]int32 `json:"vocab"`
	Merges                  json.RawMessage  `json:"merges"`
}

// decodeModel reads the part and refuses other models and options.
func decodeModel(p part) (v modelJSON, err error) {
	if p.null() {
		return v, fmt.Errorf("tokenizer: model: is missing")
	}
	var tag struct {
		Type   *string
		Merges json.RawMessage
	}
	if err := json.Unmarshal(p.raw, &tag); err != nil {
		return v, fmt.Errorf("tokenizer: %s: %w", p.path, err)
	}
	if old := tag.Type == nil && tag.Merges != nil; !old { // files of 2020 have no type; only BPE has merges
		if kind, err := p.kind(); err != nil {
			return v, err
		} else if kind != "BPE" {
			return v, p.unsupported("type", fmt.Sprintf("model %q", kind), "BPE")
		}
	}
	if err := p.decode(&v); err != nil {
		return v, err
	}
	return v, v.check(p)
}

// check refuses the options that change ids in ways that are not supported.
func (v modelJSON) check(p part) error {
	if len(v.Vocab) == 0 {
		return fmt.Errorf("tokenizer: model.vocab: is missing or empty")
	}
	if v.Dropout != nil && *v.Dropout != 0 {
		return p.unsupported("dropout", fmt.Sprint(*v.Dropout), "null", "0")
	}
	if s := v.ContinuingSubwordPrefix; s != nil && *s != "" {
		return p.unsupported("continuing_subword_prefix", fmt.Sprintf("%q", *s), "null", `""`)
	}
	if s := v.EndOfWordSuffix; s != nil && *s != "" {
		return p.unsupported("end_of_word_suffix", fmt.Sprintf("%q", *s), "null", `""`)
	}
	return nil
}

func parseModel(p part, byteLevel bool) (*bpe, error) {
	v, err := decodeModel(p)
	if err != nil {
		return nil, err
	}
	m := &bpe{byteLevel: byteLevel, fallback: v.ByteFallback, fuseUnk: v.FuseUnk, ids: v.Vocab}
	if v.UnkToken != nil {
		m.unkSet, m.unkName = true, *v.UnkToken
		m.unk, m.unkOK = v.Vocab[*v.UnkToken]
	}
	if err := m.index(); err != nil {
		return nil, err
	}
	if byteLevel && (v.ByteFallback || m.unkSet) && m.missesByte() {
		return nil, fmt.Errorf("tokenizer: model.vocab: a ByteLevel vocabulary without all 256 bytes is not supported together with byte_fallback or unk_token")
	}
	if v.IgnoreMerges {
		m.words = m.spelled()
	}
	pairs, err := parseMerges(v.Merges)
	if err != nil {
		return nil, err
	}
	return m, m.learn(pairs)
}

// index fills the inverse vocabulary and the tables of single symbols.
func (m *bpe) index() error {
	m.tokens = make(map[int32]string, len(m.ids))
	m.runes = map[rune]int32{}
	for token, id := range m.ids {
		if other, twice := m.tokens[id]; twice {
			return fmt.Errorf("tokenizer: model.vocab: %q and %q have the same id %d", min(token, other), max(token, other), id)
		}
		if id < 0 || id == math.MaxInt32 {
			return fmt.Errorf("tokenizer: model.vocab: %q has id %d, which is out of range", token, id)
		}
		m.tokens[id] = token
		m.size = max(m.size, int(id)+1)
		if r, n := utf8.DecodeRuneInString(token); n == len(token) && n > 0 {
			m.runes[r] = id
		}
	}
	for c := range m.asciiSymbols {
		m.asciiSymbols[c] = m.symbol(rune(c))
	}
	for b := range m.bytes {
		if m.byteLevel {
			m.bytes[b] = m.symbol(byteRunes[b])
		} else if id, ok := m.ids[fmt.Sprintf("<0x%02X>", b)]; ok {
			m.bytes[b] = id
		} else {
			m.bytes[b] = -1
		}
	}
	return nil
}

// symbol is the token of one character, or -1.
func (m *bpe) symbol(r rune) int32 {
	if id, ok := m.runes[r]; ok {
		return id
	}
	return -1
}

func (m *bpe) missesByte() bool {
	for _, id := range m.bytes {
		if id < 0 {
			return true
		}
	}
	return false
}

// spelled is the vocabulary as the text that its tokens stand for.
func (m *bpe) spelled() map[string]int32 {
	if !m.byteLevel {
		return m.ids
	}
	words := make(map[string]int32, len(m.ids))
	for token, id := range m.ids {
		if word, ok := textOf(token); ok {
			words[word] = id
		}
	}
	return words
}

// parseMerges reads both spellings: "a b" and ["a", "b"].
func parseMerges(raw json.RawMessage) ([][2]string, error) {
	var pairs [][]string
	if isNull(raw) {
		return nil, fmt.Errorf("tokenizer: model.merges: is missing")
	}
	if bytes.HasPrefix(bytes.TrimLeft(raw[1:], " \t\r\n"), []byte{'"'}) {
		var lines []string
		if err := json.Unmarshal(raw, &lines); err != nil {
			return nil, fmt.Errorf("tokenizer: model.merges: %w", err)
		}
		for _, line := range lines {
			if !strings.HasPrefix(line, "#version") {
				pairs = append(pairs, strings.Split(line, " "))
			}
		}
	} else if err := json.Unmarshal(raw, &pairs); err != nil {
		return nil, fmt.Errorf("tokenizer: model.merges: %w", err)
	}
	out := make([][2]string, len(pairs))
	for i, pair := range pairs {
		if len(pair) != 2 {
			return nil, fmt.Errorf("tokenizer: model.merges[%d]: has %d parts instead of 2", i, len(pair))
		}
		out[i] = [2]string{pair[0], pair[1]}
	}
	return out, nil
}

// learn fills the merge table; of a pair listed twice the later rank counts.
func (m *bpe) learn(pairs [][2]string) error {
	m.merges = newPairTable(len(pairs))
	joins := newPairTable(len(pairs))
	told := true
	for rank, pair := range pairs {
		left, okLeft := m.ids[pair[0]]
		right, okRight := m.ids[pair[1]]
		merged, okMerged := m.ids[pair[0]+pair[1]]
		for i, ok := range []bool{okLeft, okRight, okMerged} {
			if !ok {
				return fmt.Errorf("tokenizer: model.merges[%d]: %q is not in the vocabulary", rank, []string{pair[0], pair[1], pair[0] + pair[1]}[i])
			}
		}
		m.merges.put(left, right, uint64(rank)<<32|uint64(uint32(merged)))
		last, okLast := m.edge(pair[0], utf8.DecodeLastRuneInString)
		first, okFirst := m.edge(pair[1], utf8.DecodeRuneInString)
		told = told && okLast && okFirst
		joins.put(last, first, 0)
	}
	if told {
		m.joins = &joins
	}
	return nil
}

// edge is the symbol at one end of a token that merges build. It cannot be told for tokens that stand for something else
// than their characters, such as <0x0A>; no known tokenizer merges those.
func (m *bpe) edge(token string, decode func(string) (rune, int)) (int32, bool) {
	if id := m.ids[token]; m.unkOK && id == m.unk {
		return 0, false
	}
	if b, ok := byteToken(token); ok && m.fallback && m.bytes[b] >= 0 {
		return 0, false
	}
	r, n := decode(token)
	id := m.symbol(r)
	return id, n > 0 && id >= 0
}

// byteRunes is GPT-2's alphabet: a visible character for each byte.
var byteRunes = func() (runes [256]rune) {
	next := rune(256)
	for b := range runes {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			runes[b] = rune(b)
		} else {
			runes[b] = next
			next++
		}
	}
	return runes
}()

// runeBytes is the inverse of byteRunes.
var runeBytes = func() map[rune]byte {
	bytes := map[rune]byte{}
	for b, r := range byteRunes {
		bytes[r] = byte(b)
	}
	return bytes
}()

// textOf reads a token in GPT-2's alphabet; false if it holds any other character.
func textOf(token string) (string, bool) {
	text := make([]byte, 0, len(token))
	for _, r := range token {
		b, ok := runeBytes[r]
		if !ok {
			return "", false
		}
		text = append(text, b)
	}
	return string(text), true
}
