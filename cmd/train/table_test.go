package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTablesNeverExceedTheirWidth(t *testing.T) {
	long := strings.Repeat("gradcheck says that something is wrong with this case, ", 6)
	for name, rows := range map[string][][]string{
		"short":             {{"a", "1.0e-15", "ok"}},
		"a sentence":        {{"a", "1.0e-15", long}},
		"two sentences":     {{long, "", long}},
		"one endless word":  {{"a", strings.Repeat("x", 300), "ok"}},
		"a path of letters": {{strings.Repeat("größe/", 40), "1", "ok"}},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout bytes.Buffer
			if err := newOutput(&stdout, nil).table([]string{"case", "worst error", ""}, rows); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(stdout.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > tableWidth {
					t.Errorf("%d columns: %s", n, line)
				}
			}
			if squeezed(stdout.String()) != squeezed(strings.Join(append([]string{"case", "worst error"}, rows[0]...), "")) && name == "short" {
				t.Errorf("the table has lost text:\n%s", &stdout)
			}
		})
	}
}

// squeezed leaves out of a table all that is not text.
func squeezed(s string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \n│─╭┬╮├┼┤╰┴╯", r) {
			return -1
		}
		return r
	}, s)
}

func TestFiguresAreAlignedRightAndWordsLeft(t *testing.T) {
	var stdout bytes.Buffer
	rows := [][]string{{"zigzag", "1.0e-15", "ok"}, {"contiguous", "12", "no: too few"}, {"x", "", ""}}
	if err := newOutput(&stdout, nil).table([]string{"layout", "error", "held"}, rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"│ zigzag     │ 1.0e-15 │ ok          │", "│ contiguous │      12 │ no: too few │"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &stdout)
		}
	}
}

func TestWrapKeepsEveryWord(t *testing.T) {
	text := "one three seven eleven thirteen seventeen"
	for width := 1; width < 50; width++ {
		lines := wrap(text, width)
		for _, line := range lines {
			if len(line) > width {
				t.Errorf("width %d: line %q", width, line)
			}
		}
		if got := strings.Join(lines, ""); squeezed(got) != squeezed(text) {
			t.Errorf("width %d: %q has other letters than %q", width, got, text)
		}
	}
}

func TestNumbersAreWrittenForPeople(t *testing.T) {
	for got, want := range map[string]string{
		thousands(0): "0", thousands(999): "999", thousands(1234567): "1,234,567", thousands(-123456): "-123,456",
		bytesText(1023): "1023 B", bytesText(1536): "1.5 KiB", bytesText(5 << 40): "5.0 TiB",
		count(1, "rank"): "1 rank", count(1200, "token"): "1,200 tokens",
		roundTime(0.25): "0.2 s", roundTime(3661): "1h1m1s",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAResultThatCannotBeWrittenIsAFailure(t *testing.T) {
	for _, args := range [][]string{{"devices"}, {"devices", "--json"}, {"schema"}, {"--help"}} {
		var stderr bytes.Buffer
		if status := run(args, full{}, &stderr); status != exitFailed || !strings.Contains(stderr.String(), "train: the result could not be written: no space") {
			t.Errorf("%v: status %d, stderr %q", args, status, &stderr)
		}
	}
}
