package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// The patterns that have a scanner by hand, as tokenizer.json spells them.
const (
	patternGPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

	patternLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	patternQwen2 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// A scanner returns the end of the match that starts at text[i]. The three patterns match at every position, so their
// matches are the words.
type scanner func(text string, i int) int

var scanners = map[string]scanner{
	patternGPT2:   scanGPT2,
	patternLlama3: func(text string, i int) int { return scanLlama(text, i, 3) },
	patternQwen2:  func(text string, i int) int { return scanLlama(text, i, 1) },
}

// decodeAt returns the class and the length of the character at i; the end of the text is a space of length 0.
func decodeAt(text string, i int) (class uint8, n int) {
	if i >= len(text) {
		return space, 0
	}
	if c := text[i]; c < utf8.RuneSelf {
		return asciiClasses[c], 1
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	return classOf(r), n
}

// run returns the end of the characters from i on that have one of the bits in set.
func run(text string, i int, set uint8) int {
	for i < len(text) {
		class, n := decodeAt(text, i)
		if class&set == 0 {
			break
		}
		i += n
	}
	return i
}

// runOther returns the end of the characters from i on that are no letter, number or space.
func runOther(text string, i int) int {
	for i < len(text) {
		class, n := decodeAt(text, i)
		if class != 0 {
			break
		}
		i += n
	}
	return i
}

func scanGPT2(text string, i int) int {
	if text[i] == '\'' {
		if n := contraction(text[i+1:], false); n > 0 {
			return i + 1 + n
		}
	}
	start := i
	if text[i] == ' ' {
		i++
	}
	class, _ := decodeAt(text, i)
	switch {
	case class&letter != 0:
		return run(text, i, letter)
	case class&number != 0:
		return run(text, i, number)
	case class == 0:
		return runOther(text, i)
	}
	return spaces(text, start)
}

func scanLlama(text string, i, digits int) int {
	if text[i] == '\'' {
		if n := contraction(text[i+1:], true); n > 0 {
			return i + 1 + n
		}
	}
	class, n := decodeAt(text, i)
	if class&letter != 0 {
		return run(text, i, letter)
	}
	if class&number != 0 {
		return someNumbers(text, i, digits)
	}
	next, _ := decodeAt(text, i+n)
	if class&newline == 0 && next&letter != 0 {
		return run(text, i+n, letter)
	}
	if class == 0 || text[i] == ' ' && next == 0 {
		return run(text, runOther(text, i+n), newline)
	}
	end := run(text, i, space)
	if last := strings.LastIndexAny(text[i:end], "\r\n"); last >= 0 {
		return i + last + 1
	}
	return spaces(text, i)
}

// someNumbers matches \p{N}{1,limit}.
func someNumbers(text string, i, limit int) int {
	for range limit {
		class, n := decodeAt(text, i)
		if class&number == 0 {
			break
		}
		i += n
	}
	return i
}

// spaces matches \s+(?!\S)|\s+: a run of spaces leaves its last one to the word behind it, unless it has only that one.
func spaces(text string, i int) int {
	end := run(text, i, space)
	if end == len(text) {
		return end
	}
	_, n := utf8.DecodeLastRuneInString(text[i:end])
	if end-n > i {
		return end - n
	}
	return end
}

// contraction returns the length of s|t|re|ve|m|ll|d at the start of text, which follows an apostrophe. Folded, ſ is an s:
// the two differ in case only.
func contraction(text string, fold bool) int {
	if text == "" {
		return 0
	}
	if fold && strings.HasPrefix(text, "ſ") {
		return len("ſ")
	}
	first, second := text[0], byte(0)
	if len(text) > 1 {
		second = text[1]
	}
	if fold {
		first, second = lower(first), lower(second)
	}
	switch {
	case first == 's' || first == 't' || first == 'm' || first == 'd':
		return 1
	case (first == 'r' || first == 'v') && second == 'e', first == 'l' && second == 'l':
		return 2
	}
	return 0
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
