package data

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Tokenizer is what a dataset needs of one; *tokenizer.Tokenizer is one.
type Tokenizer interface {
	// Encode returns the ids of a text, with the tokenizer's own BOS and the like if addSpecial is set.
	Encode(text string, addSpecial bool) ([]int32, error)
	// EOS is the token that ends a document, if there is one.
	EOS() (int32, bool)
}

// Options say which documents to read and how to cut them into sequences.
type Options struct {
	Sources     []Source
	TestSources []Source // documents to hold back, instead of ValSetSize
	Tokenizer   Tokenizer

	// SequenceLen is the most tokens of a sequence; 0 takes documents whole.
	SequenceLen int
	// Concatenate joins the documents to one stream, each closed by EOS where the tokenizer has one, and cuts it every
	// SequenceLen tokens. Otherwise each document is a sequence of its own.
	Concatenate bool
	// Pack says that the Loader will put several sequences into one; see LoaderOptions. It excludes Concatenate.
	Pack bool
	// Excess says what becomes of a document longer than SequenceLen that stands alone: "truncate" (or ""), "drop", "split"
	// into sequences, or "raise" an error.
	Excess string
	// Shuffle puts training documents in a random order before they are joined. The order of sequences is the Loader's.
	Shuffle bool
	// Seed picks the held-back documents and the order of documents.
	Seed int64
	// ValSetSize is how many documents are held back: a fraction below 1, or a number from 1 on.
	ValSetSize float64
}

// Counts say what was read and what was left out by request.
type Counts struct {
	Files         int `json:"files"`
	Documents     int `json:"documents"`       // kept
	Tokens        int `json:"tokens"`          // of those, before any cut
	InvalidUTF8   int `json:"invalid_utf8"`    // documents skipped by invalid_utf8: skip
	TooShort      int `json:"too_short"`       // documents left out by min_document_tokens
	Dropped       int `json:"dropped"`         // documents longer than sequence_len, excess_length_strategy: drop
	Truncated     int `json:"truncated"`       // documents cut to sequence_len
	TokensCutAway int `json:"tokens_cut_away"` // by truncation, and remainders of one token, which have nothing to predict
}

// String names what is not zero, such as "59 documents, 1 file, 182341 tokens, 3 truncated".
func (c Counts) String() string {
	parts := []string{plural(c.Documents, "document"), plural(c.Files, "file"), plural(c.Tokens, "token")}
	for _, p := range []struct {
		n    int
		what string
	}{
		{c.InvalidUTF8, "skipped as not UTF-8"},
		{c.TooShort, "left out as shorter than min_document_tokens"},
		{c.Dropped, "dropped as longer than sequence_len"},
		{c.Truncated, "truncated"},
		{c.TokensCutAway, "tokens cut away"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.what))
		}
	}
	return strings.Join(parts, ", ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Dataset holds all sequences of a run in memory, at four bytes a token.
type Dataset struct {
	Train  *Split
	Val    *Split // held back; without documents if none were asked for
	Counts Counts
}

// document is a tokenized document.
type document struct {
	name string
	ids  []int32
}

// Open reads, tokenizes, splits and cuts.
func Open(o Options) (*Dataset, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	d := &Dataset{}
	train, err := d.read(o.Sources, "datasets", o.Tokenizer)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	var val []document
	if len(o.TestSources) > 0 {
		val, err = d.read(o.TestSources, "test_datasets", o.Tokenizer)
	} else {
		train, val, err = holdBack(train, o.ValSetSize, o.Seed)
	}
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if o.Shuffle && o.Concatenate {
		train = shuffled(train, permutation(len(train), o.Seed, documentStream))
	}
	if d.Train, err = cut(train, o, &d.Counts); err != nil {
		return nil, fmt.Errorf("data: datasets: %w", err)
	}
	if d.Val, err = cut(val, o, &d.Counts); err != nil {
		return nil, fmt.Errorf("data: held-back documents: %w", err)
	}
	if d.Train.Len() == 0 {
		return nil, fmt.Errorf("data: the dataset is empty: no sequence is left to train on (%s)", d.Counts)
	}
	return d, nil
}

func (o Options) validate() error {
	switch {
	case o.Tokenizer == nil:
		return errors.New("no tokenizer is given")
	case len(o.Sources) == 0:
		return errors.New("datasets is empty; give at least one path")
	case o.SequenceLen < 0 || o.SequenceLen == 1:
		return fmt.Errorf("sequence_len is %d; it must be at least 2, for a token and the one to predict", o.SequenceLen)
	case o.Concatenate && o.SequenceLen == 0:
		return errors.New("concatenate needs sequence_len; say how long the cuts are")
	case o.Pack && o.Concatenate:
		return errors.New("sample_packing and concatenate are both set; keep one of them")
	case o.Pack && o.SequenceLen == 0:
		return errors.New("sample_packing needs sequence_len; say how long the packs are")
	case o.ValSetSize < 0 || o.ValSetSize >= 1 && o.ValSetSize != float64(int(o.ValSetSize)):
		return fmt.Errorf("val_set_size is %v; give a fraction below 1 or a whole number of documents", o.ValSetSize)
	case o.ValSetSize > 0 && len(o.TestSources) > 0:
		return errors.New("val_set_size and test_datasets both name held-back documents; give one of them")
	}
	switch o.Excess {
	case "", "truncate", "drop", "split", "raise":
		return nil
	}
	return fmt.Errorf("excess_length_strategy %q is not known; use drop, truncate, split or raise", o.Excess)
}

// fileResult is what one file gave.
type fileResult struct {
	documents []document
	counts    Counts
	err       error
}

// read tokenizes all documents of the sources, files in parallel, and returns them in order.
func (d *Dataset) read(sources []Source, key string, tok Tokenizer) ([]document, error) {
	var all []document
	special, err := tok.Encode("", true)
	if err != nil {
		return nil, err
	}
	for i, s := range sources {
		files, err := s.Files()
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", key, i, unwrapPrefix(err))
		}
		results := s.tokenize(files, tok, len(special))
		for _, r := range results {
			if r.err != nil {
				return nil, fmt.Errorf("%s[%d]: %w", key, i, r.err)
			}
			all = append(all, r.documents...)
			d.Counts.add(r.counts)
		}
		d.Counts.Files += len(files)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: the dataset is empty: no document is left of %s (%s); give files that hold text", key, pathsOf(sources), d.Counts)
	}
	return all, nil
}

// pathsOf lists what the sources name.
func pathsOf(sources []Source) string {
	paths := make([]string, len(sources))
	for i, s := range sources {
		paths[i] = s.Path
	}
	return strings.Join(paths, ", ")
}

// prefixed strips the package prefix of an error that is about to get another one.
type prefixed struct{ err error }

func (p prefixed) Error() string { return strings.TrimPrefix(p.err.Error(), "data: ") }
func (p prefixed) Unwrap() error { return p.err }

func unwrapPrefix(err error) error { return prefixed{err} }

// tokenize reads files on all cores. Files are begun in order, so that the first failing one is always the same.
func (s Source) tokenize(files []string, tok Tokenizer, special int) []fileResult {
	results := make([]fileResult, len(files))
	var failed atomic.Bool
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(files)) {
		workers.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					break
				}
				results[i] = s.tokenizeFile(files[i], tok, special)
				if results[i].err != nil {
					failed.Store(true)
				}
			}
		})
	}
	workers.Wait()
	return results
}

func (s Source) tokenizeFile(file string, tok Tokenizer, special int) (r fileResult) {
	r.err = s.each(file, func(t text, err error) error {
		if err != nil {
			if s.InvalidUTF8 == "skip" && errors.Is(err, ErrInvalidUTF8) {
				r.counts.InvalidUTF8++
				return nil
			}
			return err
		}
		ids, err := tok.Encode(t.body, true)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		if s.MinDocumentTokens > 0 && (len(ids) < s.MinDocumentTokens || len(ids) == special) {
			r.counts.TooShort++
			return nil
		}
		if len(ids) == special {
			return fmt.Errorf("%s: the document has no tokens; fill it, or leave such documents out with `min_document_tokens: 2`", t.name)
		}
		r.documents = append(r.documents, document{name: t.name, ids: ids})
		r.counts.Documents++
		r.counts.Tokens += len(ids)
		return nil
	})
	return r
}

func (c *Counts) add(o Counts) {
	c.Documents += o.Documents
	c.Tokens += o.Tokens
	c.InvalidUTF8 += o.InvalidUTF8
	c.TooShort += o.TooShort
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
