package tokenizer

import (
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/dlclark/regexp2/v2"
	"pgregory.net/rapid"
)

// alphabet is what the patterns treat differently, apostrophes and white space above all.
var alphabet = []rune("aZsStTrReEvVmMlLdD'' \u00a0\t\r\n\u2028\u3000\u00851٣½.-_é\u0301日ſßK👨\u200d\u1c89\U00010d40\U0002ebf0\U0001F3FD")

// text draws strings that are mostly made of alphabet.
func text() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.Map(rapid.SliceOfN(rapid.SampledFrom(alphabet), 0, 40), func(r []rune) string { return string(r) }),
		rapid.StringOfN(rapid.Rune(), 0, 40, -1),
	)
}

func words(t *rapid.T, s stage, text string) []string {
	var out []string
	if err := s.each(text, func(w string) error { out = append(out, w); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestScannersEqualTheirPatterns(t *testing.T) {
	for expr, scan := range scanners {
		general, err := compile(expr)
		if err != nil {
			t.Fatal(err)
		}
		rapid.Check(t, func(t *rapid.T) {
			s := text().Draw(t, "text")
			got := words(t, scan, s)
			want := words(t, split{regex: general, join: behaviors["Isolated"]}, s)
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Fatalf("%q: scanner %q, pattern %q", s, got, want)
			}
			if strings.Join(got, "") != s {
				t.Fatalf("%q: words %q leave something out", s, got)
			}
		})
	}
}

// TestTranslationKeepsPatterns compares translated patterns with Go's own reading of the same pattern where the two
// syntaxes agree and where no later Unicode version matters.
func TestTranslationKeepsPatterns(t *testing.T) {
	for _, expr := range []string{`\p{L}+|\p{N}{1,3}|.`, `[a-c\-x.]+|\d`, `(?i:s|[tv]e)|ab?c*?d`, `[^\s\p{L}&]+`, `x{2,}|\.\[|\s+$|.`} {
		translated, err := compile(expr)
		if strings.Contains(expr, "$") {
			if err == nil {
				t.Errorf("%s: $ was accepted", expr)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		plain := regexp2.MustCompile(expr)
		rapid.Check(t, func(t *rapid.T) {
			s := strings.Map(func(r rune) rune {
				if later("", r) || r == '\u0085' || unicode.Is(unicode.Other, r) || r == 'ſ' {
					return 'x'
				}
				return r
			}, text().Draw(t, "text"))
			got := words(t, split{regex: translated, join: behaviors["Isolated"]}, s)
			want := words(t, split{regex: plain, join: behaviors["Isolated"]}, s)
			if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
				t.Fatalf("%q: translated %q, plain %q", s, got, want)
			}
		})
	}
}

func TestPatternsThatTwoEnginesReadDifferentlyAreRefused(t *testing.T) {
	for expr, want := range map[string]string{
		`\p{L}++`:                     `quantifier`,
		`a*+`:                         `quantifier`,
		`a{2}+`:                       `quantifier`,
		`a{,3}`:                       `quantifier`,
		`\p{Han}+`:                    `\p{Han}`,
		`\p{^L}`:                      `\p{^L}`,
		`[\p{L}&&[^a]]`:               `inside a class`,
		`[[:alpha:]]`:                 `inside a class`,
		`[\S]`:                        `negated property`,
		`\w+`:                         `\w`,
		`\bx`:                         `\b`,
		`\Ax`:                         `\A`,
		`^x`:                          `'^'`,
		`x$`:                          `'$'`,
		`(?>x)`:                       `(?…`,
		`(?<name>x)`:                  `(?…`,
		`(?i)x`:                       `(?…`,
		`(?i:ss)`:                     `folds`,
		`(?i:é)`:                      `(?i:`,
		`(?i:[^a])`:                   `negated`,
		`x*`:                          `empty`,
		`(x`:                          `not closed`,
		`x)`:                          `unexpected`,
		`[x`:                          `not closed`,
		`[z-a]`:                       `range`,
		`\`:                           `escape`,
		`\x41`:                        `\x`,
		`\p{L`:                        `braces`,
		strings.Repeat("(?:", 200):    `nested`,
		strings.Repeat("(x", 1) + `|`: `not closed`,
	} {
		_, err := compile(expr)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: error %v, want one with %q", expr, err, want)
		}
	}
}

func TestSplitBehaviors(t *testing.T) {
	for behavior, want := range map[string]string{ // the examples of Hugging Face's own tests
		"Removed":            `["The" "final" "countdown"]`,
		"Isolated":           `["The" "-" "final" "-" "-" "countdown"]`,
		"MergedWithPrevious": `["The-" "final-" "-" "countdown"]`,
		"MergedWithNext":     `["The" "-final" "-" "-countdown"]`,
		"Contiguous":         `["The" "-" "final" "--" "countdown"]`,
	} {
		var got []string
		s := split{text: "-", join: behaviors[behavior]}
		if err := s.each("The-final--countdown", func(w string) error { got = append(got, w); return nil }); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%q", got) != want {
			t.Errorf("%s: %q, want %s", behavior, got, want)
		}
	}
}
