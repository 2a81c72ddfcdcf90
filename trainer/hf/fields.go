package hf

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxSize bounds every size of a config, so that products of three of them stay within 64 bits and a damaged file cannot ask for
// absurd amounts of memory.
const maxSize = 1 << 24

// fields reads typed values out of a JSON object and gathers every problem on the way.
type fields struct {
	where string // file, for messages
	o     object
	errs  []error
}

func (f *fields) fail(format string, args ...any) {
	f.errs = append(f.errs, fmt.Errorf("hf: %s: "+format, append([]any{f.where}, args...)...))
}

func (f *fields) err() error { return errors.Join(f.errs...) }

// integer reads a whole number in [low, high]; absent or null gives the fallback.
func (f *fields) integer(key string, fallback, low, high int) int {
	raw, ok := f.o.get(key)
	if !ok {
		return fallback
	}
	x, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || x != math.Trunc(x) {
		f.fail("%s is %s; it must be a whole number", key, excerpt(raw))
		return fallback
	}
	if x < float64(low) || x > float64(high) {
		f.fail("%s is %s; it must lie between %d and %d", key, excerpt(raw), low, high)
		return fallback
	}
	return int(x)
}

// size reads a positive whole number.
func (f *fields) size(key string, fallback int) int { return f.integer(key, fallback, 1, maxSize) }

// number reads a finite number; absent or null gives the fallback.
func (f *fields) number(key string, fallback float64) float64 {
	raw, ok := f.o.get(key)
	if !ok {
		return fallback
	}
	x, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsInf(x, 0) || math.IsNaN(x) {
		f.fail("%s is %s; it must be a finite number", key, excerpt(raw))
		return fallback
	}
	return x
}

// optional reads a positive number; absent gives the fallback, and null 0, which stands for none.
func (f *fields) optional(key string, fallback float64) float64 {
	raw, ok := f.o.get(key)
	if !ok && f.o.has(key) {
		return 0
	}
	x := f.number(key, fallback)
	if ok && x <= 0 {
		f.fail("%s is %s; it must be positive, or null for none", key, excerpt(raw))
		return fallback
	}
	return x
}

// flag reads true or false; absent or null gives the fallback.
func (f *fields) flag(key string, fallback bool) bool {
	raw, ok := f.o.get(key)
	if !ok {
		return fallback
	}
	var x bool
	if json.Unmarshal(raw, &x) != nil {
		f.fail("%s is %s; it must be true or false", key, excerpt(raw))
		return fallback
	}
	return x
}

// word reads a string; absent or null gives the fallback.
func (f *fields) word(key, fallback string) string {
	raw, ok := f.o.get(key)
	if !ok {
		return fallback
	}
	var x string
	if json.Unmarshal(raw, &x) != nil {
		f.fail("%s is %s; it must be a string", key, excerpt(raw))
		return fallback
	}
	return x
}

// words reads a list of strings; absent or null gives nil.
func (f *fields) words(key string) []string {
	raw, ok := f.o.get(key)
	if !ok {
		return nil
	}
	var x []string
	if json.Unmarshal(raw, &x) != nil {
		f.fail("%s is %s; it must be a list of strings", key, excerpt(raw))
		return nil
	}
	return x
}

// tokens reads one token id or a list of them; absent or null gives the fallback.
func (f *fields) tokens(key string, fallback []int) []int {
	raw, ok := f.o.get(key)
	if !ok {
		return fallback
	}
	var one int
	if json.Unmarshal(raw, &one) == nil {
		return []int{one}
	}
	var many []int
	if json.Unmarshal(raw, &many) != nil {
		f.fail("%s is %s; it must be a token id or a list of token ids", key, excerpt(raw))
		return fallback
	}
	return many
}

// excerpt is a value short enough for a message.
func excerpt(raw []byte) string {
	s := strings.Join(strings.Fields(string(raw)), " ")
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:57], "") + "…"
	}
	return s
}
