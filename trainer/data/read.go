package data

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// ErrInvalidUTF8 is what the error about a document that is not UTF-8 wraps.
var ErrInvalidUTF8 = errors.New("not valid UTF-8")

// text is a document before it is tokenized, with its file, and its line in JSONL.
type text struct {
	name string
	body string
}

// ReadTexts returns the documents of a source in order, as text. Empty documents are kept; no document at all is an error.
func ReadTexts(s Source) ([]string, error) {
	files, err := s.Files()
	if err != nil {
		return nil, err
	}
	var all []string
	for _, file := range files {
		err := s.each(file, func(t text, err error) error {
			if err != nil && s.InvalidUTF8 == "skip" && errors.Is(err, ErrInvalidUTF8) {
				return nil
			}
			all = append(all, t.body)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("data: %s holds no document", s.Path)
	}
	return all, nil
}

// each calls f for every document of a file. A document that is not UTF-8 arrives as an error that wraps ErrInvalidUTF8, for
// f to return or to swallow; all other errors end the file.
func (s Source) each(file string, f func(text, error) error) error {
	r, inner, err := open(file)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // only read from
	if s.isJSONL(inner) {
		return s.eachLine(r, file, f)
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return f(text{name: file, body: string(raw)}, checkUTF8(file, raw))
}

func (s Source) isJSONL(name string) bool {
	if s.Type == "jsonl" || s.Type == "text" {
		return s.Type == "jsonl"
	}
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jsonl", ".ndjson":
		return true
	}
	return false
}

// unpacked closes the unpacker and the file below it.
type unpacked struct {
	io.Reader
	close []func()
}

func (u unpacked) Close() error {
	for _, f := range u.close {
		f()
	}
	return nil
}

// open opens a file, unpacks .gz and .zst, and returns the name without that ending.
func open(file string) (io.ReadCloser, string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, "", err
	}
	closeFile := func() { _ = f.Close() } // only read from
	inner := strings.TrimSuffix(file, filepath.Ext(file))
	switch strings.ToLower(filepath.Ext(file)) {
	case ".gz":
		z, err := gzip.NewReader(f)
		if err != nil {
			closeFile()
			return nil, "", fmt.Errorf("%s: %w", file, err)
		}
		return unpacked{z, []func(){closeFile}}, inner, nil
	case ".zst":
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			closeFile()
			return nil, "", fmt.Errorf("%s: %w", file, err)
		}
		return unpacked{z, []func(){z.Close, closeFile}}, inner, nil
	}
	return f, file, nil
}

// eachLine reads JSONL; lines of white space alone are no documents.
func (s Source) eachLine(r io.Reader, file string, f func(text, error) error) error {
	b := bufio.NewReaderSize(r, 1<<16)
	for number := 1; ; number++ {
		line, err := b.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s:%d: %w", file, number, err)
		}
		last := err != nil
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if err := s.line(fmt.Sprintf("%s:%d", file, number), line, f); err != nil {
				return err
			}
		}
		if last {
			return nil
		}
	}
}

// line reads one line of JSONL.
func (s Source) line(name string, line []byte, f func(text, error) error) error {
	if err := checkUTF8(name, line); err != nil {
		return f(text{name: name}, err)
	}
	field := s.Field
	if field == "" {
		field = "text"
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		return fmt.Errorf("%s: is not a JSON object: %w", name, err)
	}
	raw, ok := object[field]
	if !ok {
		return fmt.Errorf("%s: has no field %q (it has %s); name the field that holds the text with `field:`", name, field, keys(object))
	}
	var body *string
	if err := json.Unmarshal(raw, &body); err != nil || body == nil {
		return fmt.Errorf("%s: field %q is %.40s, not a string", name, field, raw)
	}
	if strings.ContainsRune(*body, utf8.RuneError) && loneSurrogate(raw) {
		return f(text{name: name}, fmt.Errorf("%s: %w: field %q escapes half a surrogate pair", name, ErrInvalidUTF8, field))
	}
	return f(text{name: name, body: *body}, nil)
}

// keys lists the fields of a line for an error.
func keys(object map[string]json.RawMessage) string {
	if len(object) == 0 {
		return "none"
	}
	names := sortedKeys(object)
	if len(names) > 8 {
		names = append(names[:8], "…")
	}
	return strings.Join(names, ", ")
}

// checkUTF8 names the first byte that is not UTF-8.
func checkUTF8(name string, raw []byte) error {
	if utf8.Valid(raw) {
		return nil
	}
	for i := 0; i < len(raw); {
		r, n := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && n == 1 {
			return fmt.Errorf("%s: %w: byte 0x%02x at offset %d; convert the file, or leave such documents out with `invalid_utf8: skip`", name, ErrInvalidUTF8, raw[i], i)
		}
		i += n
	}
	return nil
}

// loneSurrogate reports whether a JSON string has a \ud800…\udfff without its other half, which JSON allows and UTF-8 cannot
// hold.
func loneSurrogate(raw []byte) bool {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if raw[i+1] != 'u' {
			i++
			continue
		}
		unit := hexUnit(raw, i)
		if unit < 0xd800 || unit > 0xdfff {
			continue
		}
		if low := hexUnit(raw, i+6); unit > 0xdbff || low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 11
	}
	return false
}

// hexUnit reads \uXXXX at i, or returns -1.
func hexUnit(raw []byte, i int) int {
	if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
		return -1
	}
	v, err := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(v)
}
