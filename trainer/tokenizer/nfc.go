package tokenizer

import (
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// joiner is the character that norm puts after every 30 combining marks in a row.
const joiner = "\u034f"

// nfc is Unicode's form NFC (UAX 15). It is norm's, but for runs of more than 30 combining marks: norm's stream-safe form
// breaks those up, and other programs do not.
func nfc(s string) string {
	composed := norm.NFC.String(s)
	if strings.Count(composed, joiner) == strings.Count(s, joiner) {
		return composed
	}
	return compose(decompose(s))
}

// decompose is form NFD: every character in its parts, runs of marks in the order of their combining classes.
func decompose(s string) []rune {
	runes := make([]rune, 0, len(s))
	for _, r := range s {
		runes = append(runes, []rune(norm.NFD.String(string(r)))...)
	}
	for start := 0; start < len(runes); start++ {
		end := start
		for end < len(runes) && combiningClass(runes[end]) != 0 {
			end++
		}
		slices.SortStableFunc(runes[start:end], func(a, b rune) int { return int(combiningClass(a)) - int(combiningClass(b)) })
		start = end
	}
	return runes
}

// compose joins characters with the starter before them, unless one between them of no lower class blocks the way. It
// overwrites runes.
func compose(runes []rune) string {
	out, starter := runes[:0], -1
	for _, r := range runes {
		class := combiningClass(r)
		if starter >= 0 && (starter == len(out)-1 || combiningClass(out[len(out)-1]) < class) {
			if pair := []rune(norm.NFC.String(string(out[starter]) + string(r))); len(pair) == 1 {
				out[starter] = pair[0]
				continue
			}
		}
		if class == 0 {
			starter = len(out)
		}
		out = append(out, r)
	}
	return string(out)
}

func combiningClass(r rune) uint8 { return norm.NFD.PropertiesString(string(r)).CCC() }
