package tokenizer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unicode/utf8"
)

// ErrInvalidUTF8 is what Encode's error wraps when the text is not UTF-8.
var ErrInvalidUTF8 = errors.New("text is not valid UTF-8")

// Tokenizer maps text to token ids and back. It is safe for concurrent use.
type Tokenizer struct {
	added      addedVocabulary
	normalizer normalizer
	stages     []stage
	template   template
	decoders   []decoder
	model      *bpe
	bos, eos   special
	encoders   sync.Pool
}

// special is a token that may be missing.
type special struct {
	id int32
	ok bool
}

// Load reads tokenizer.json of a folder, and the BOS and EOS tokens from tokenizer_config.json or
// special_tokens_map.json where they exist.
func Load(dir string) (*Tokenizer, error) {
	path := filepath.Join(dir, "tokenizer.json")
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("tokenizer: %s has no tokenizer.json; save the tokenizer as a fast tokenizer there: %w", dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w (in %s)", err, path)
	}
	if err := t.readConfig(dir); err != nil {
		return nil, err
	}
	return t, nil
}

// Encode returns the ids of text. With addSpecial the tokenizer's template puts BOS and the like around them. Special
// tokens written out in the text become their ids, as in Hugging Face tokenizers. Characters that the vocabulary cannot
// express become the unknown token, or nothing where the tokenizer has none, again as there.
func (t *Tokenizer) Encode(text string, addSpecial bool) ([]int32, error) {
	if i := invalidUTF8(text); i >= 0 {
		return nil, fmt.Errorf("tokenizer: %w: byte 0x%02x at offset %d; convert the text to UTF-8", ErrInvalidUTF8, text[i], i)
	}
	e, _ := t.encoders.Get().(*encoder)
	if e == nil {
		e = newEncoder(t.model)
	}
	defer t.encoders.Put(e)
	body := make([]int32, 0, len(text)/3+4)
	body, err := t.appendText(e, body, text)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t.template.apply(body, addSpecial), nil
}

// appendText appends the ids of text without a template.
func (t *Tokenizer) appendText(e *encoder, ids []int32, text string) ([]int32, error) {
	err := t.added.raw.split(text, func(id int32, plain string) error {
		if plain == "" {
			ids = append(ids, id)
			return nil
		}
		return t.added.normalized.split(t.normalizer.apply(plain), func(id int32, plain string) error {
			if plain == "" {
				ids = append(ids, id)
				return nil
			}
			return eachWord(t.stages, plain, func(word string) error {
				var err error
				ids, err = e.appendWord(ids, word)
				return err
			})
		})
	})
	return ids, err
}

// invalidUTF8 returns the offset of the first byte that is not UTF-8, or -1.
func invalidUTF8(s string) int {
	if utf8.ValidString(s) {
		return -1
	}
	for i, r := range s {
		if r == utf8.RuneError {
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return i
			}
		}
	}
	return -1
}

// Decode returns the text of ids; unknown ids are left out. With skipSpecial special tokens are left out too. Bytes that
// are not UTF-8, such as a character cut in half, become U+FFFD.
func (t *Tokenizer) Decode(ids []int32, skipSpecial bool) string {
	pieces := make([]string, 0, len(ids))
	for _, id := range ids {
		piece, ok := t.decoded(id)
		if ok && !(skipSpecial && t.added.special[piece]) {
			pieces = append(pieces, piece)
		}
	}
	if len(t.decoders) == 0 {
		return strings.Join(pieces, " ")
	}
	for _, d := range t.decoders {
		pieces = d.decode(pieces)
	}
	return strings.Join(pieces, "")
}

// decoded is the string of id that the decoders see.
func (t *Tokenizer) decoded(id int32) (string, bool) {
	if a, ok := t.added.byID[id]; ok {
		return a.normal, true
	}
	s, ok := t.model.tokens[id]
	return s, ok
}

// Pieces returns the vocabulary string of every id, such as "▁H" or "Ġthe"; "" for an id outside the vocabulary.
func (t *Tokenizer) Pieces(ids []int32) []string {
	pieces := make([]string, len(ids))
	for i, id := range ids {
		if a, ok := t.added.byID[id]; ok {
			pieces[i] = a.Content
		} else {
			pieces[i] = t.model.tokens[id]
		}
	}
	return pieces
}

// BOS returns the id of the beginning-of-sequence token, and whether there is one.
func (t *Tokenizer) BOS() (int32, bool) { return t.bos.id, t.bos.ok }

// EOS returns the id of the end-of-sequence token, and whether there is one.
func (t *Tokenizer) EOS() (int32, bool) { return t.eos.id, t.eos.ok }

// VocabSize is one more than the largest id: the rows that an embedding needs at least.
func (t *Tokenizer) VocabSize() int {
	size := t.model.size
	for id := range t.added.byID {
		size = max(size, int(id)+1)
	}
	return size
}

// lookup finds the id of a token by its content.
func (t *Tokenizer) lookup(content string) (int32, bool) {
	if id, ok := t.added.byContent[content]; ok {
		return id, true
	}
	id, ok := t.model.ids[content]
	return id, ok
}
