package tokenizer

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2/v2"
)

// matchTimeout ends a match that backtracks without end.
const matchTimeout = time.Minute

// compile translates a pattern of Hugging Face tokenizers, which run Oniguruma with Ruby's syntax, to regexp2, which runs
// .NET's. What the two may read differently is refused by name; character classes are spelled out.
func compile(expr string) (*regexp2.Regexp, error) {
	t := translator{in: []rune(expr)}
	if err := t.alternatives(false, 0); err != nil {
		return nil, fmt.Errorf("%q at %d: %w", expr, t.at, err)
	}
	if t.at < len(t.in) {
		return nil, fmt.Errorf("%q at %d: unexpected %q", expr, t.at, t.in[t.at])
	}
	re, err := regexp2.Compile(t.out.String())
	if err != nil {
		return nil, fmt.Errorf("%q: %w", expr, err)
	}
	re.MatchTimeout = matchTimeout
	if empty, err := re.MatchString(""); err != nil || empty {
		return nil, fmt.Errorf("%q: a pattern that matches the empty string is not supported", expr)
	}
	return re, nil
}

// eachMatch calls add with the byte offsets of every match in text.
func eachMatch(re *regexp2.Regexp, text string, add func(start, end int)) error {
	runes := []rune(text)
	at, offset := 0, 0
	seek := func(to int) int {
		for ; at < to; at++ {
			offset += utf8.RuneLen(runes[at])
		}
		return offset
	}
	empty := false
	err := re.FindRunesMatches(runes, 0, func(m regexp2.MatchView) bool {
		index, length, _ := m.GroupRange(0)
		if length == 0 {
			empty = true
			return false
		}
		start := seek(index)
		add(start, seek(index+length))
		return true
	})
	if err != nil {
		return fmt.Errorf("pre-tokenizer pattern: %w", err)
	}
	if empty {
		return errors.New("pre-tokenizer pattern: a match of no characters is not supported")
	}
	return nil
}
