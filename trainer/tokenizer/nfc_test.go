package tokenizer

import (
	"strings"
	"testing"

	"golang.org/x/text/unicode/norm"
)

// The wanted strings are those of Python's unicodedata.normalize and of Hugging Face's NFC, which agree.
func TestNFCPutsNothingIntoLongRunsOfMarks(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"marks of one class", "a" + strings.Repeat("\u0301", 100), "\u00e1" + strings.Repeat("\u0301", 99)},
		{"marks in the wrong order", "a" + strings.Repeat("\u0301\u0323", 40), "\u1ea1" + strings.Repeat("\u0323", 39) + strings.Repeat("\u0301", 40)},
		{"marks that begin a text", strings.Repeat("\u0301", 40), strings.Repeat("\u0301", 40)},
		{"marks that decompose", "x" + strings.Repeat("\u0344", 20), "\u1e8d\u0301" + strings.Repeat("\u0308\u0301", 19)},
		{"marks after jamo", "\u1100\u1161\u11a8" + strings.Repeat("\u0301", 35), "\uac01" + strings.Repeat("\u0301", 35)},
		{"a second mark that composes", "e\u0323\u0302" + strings.Repeat("\u0301", 31), "\u1ec7" + strings.Repeat("\u0301", 31)},
		{"a joiner of the text's own", "a\u034f" + strings.Repeat("\u0301", 31) + "e\u0301", "a\u034f" + strings.Repeat("\u0301", 31) + "\u00e9"},
	} {
		if got := nfc(c.text); got != c.want {
			t.Errorf("%s: %+q, want %+q", c.name, got, c.want)
		}
	}
}

func TestComposingByHandEqualsNormForShortRuns(t *testing.T) {
	for r := range rune(0x30000) {
		if 0xd800 <= r && r < 0xe000 {
			continue
		}
		for _, text := range []string{"a\u0323" + string(r) + "\u0301", string(r) + "\u0338\u0323\u11a8"} {
			if got, want := compose(decompose(text)), norm.NFC.String(text); got != want {
				t.Fatalf("%+q: %+q, want %+q", text, got, want)
			}
		}
	}
}
