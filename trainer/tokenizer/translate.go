package tokenizer

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// spaceSet is White_Space, which \s means to Hugging Face tokenizers.
const spaceSet = `\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`

// translator reads a pattern from left to right and writes regexp2's spelling of it.
type translator struct {
	in  []rune
	at  int
	out strings.Builder
}

// peek returns the next character, or 0 at the end.
func (t *translator) peek() rune {
	if t.at < len(t.in) {
		return t.in[t.at]
	}
	return 0
}

// accept takes prefix if it comes next.
func (t *translator) accept(prefix string) bool {
	p := []rune(prefix)
	if len(t.in)-t.at < len(p) || string(t.in[t.at:t.at+len(p)]) != prefix {
		return false
	}
	t.at += len(p)
	return true
}

// alternatives reads up to the end or the group's closing parenthesis.
func (t *translator) alternatives(fold bool, depth int) error {
	if depth > 50 {
		return errors.New("groups are nested more than 50 deep")
	}
	previous := rune(0)
	for t.at < len(t.in) && t.peek() != ')' {
		if t.accept("|") {
			t.out.WriteByte('|')
			previous = 0
			continue
		}
		literal, err := t.atom(fold, depth)
		if err != nil {
			return err
		}
		if fold && foldsTogether(previous, literal) {
			return fmt.Errorf("%q under (?i: folds to one character, which is not supported", string([]rune{previous, literal}))
		}
		previous = literal
		if err := t.quantifier(); err != nil {
			return err
		}
	}
	return nil
}

// atom reads one character, class or group and returns the character if it is a literal one.
func (t *translator) atom(fold bool, depth int) (rune, error) {
	r := t.peek()
	switch r {
	case '(':
		return 0, t.group(fold, depth)
	case '[':
		return 0, t.class(fold)
	case '\\':
		return t.escape(fold)
	case '.':
		t.at++
		t.out.WriteByte('.')
		return 0, nil
	case '*', '+', '?', '{', '}', ']', '^', '$':
		return 0, fmt.Errorf("%q here is not supported", r)
	}
	t.at++
	return r, t.literal(r, fold)
}

func (t *translator) group(fold bool, depth int) error {
	opened := false
	for _, kind := range []string{"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!"} {
		if t.accept(kind) {
			fold = fold || kind == "(?i:"
			t.out.WriteString(strings.Replace(kind, "i", "", 1))
			opened = true
			break
		}
	}
	if !opened {
		t.at++
		if t.peek() == '?' || t.peek() == '*' {
			return fmt.Errorf("the group (%c… is not supported", t.peek())
		}
		t.out.WriteString("(?:")
	}
	if err := t.alternatives(fold, depth+1); err != nil {
		return err
	}
	if !t.accept(")") {
		return errors.New("a group is not closed")
	}
	t.out.WriteByte(')')
	return nil
}

// literal writes one character, in all its cases where they are folded.
func (t *translator) literal(r rune, fold bool) error {
	if !fold || !unicode.IsLetter(r) {
		t.out.WriteString(quote(r))
		return nil
	}
	cases, err := foldCases(r)
	t.out.WriteString("[" + cases + "]")
	return err
}

// escape reads \x outside a class.
func (t *translator) escape(fold bool) (rune, error) {
	r, set, negated, err := t.escaped()
	if err != nil {
		return 0, err
	}
	if set == "" {
		return r, t.literal(r, fold)
	}
	if fold && set != spaceSet {
		return 0, errors.New("a character property under (?i: is not supported")
	}
	if negated {
		t.out.WriteString("[^" + set + "]")
	} else {
		t.out.WriteString("[" + set + "]")
	}
	return 0, nil
}

// escaped reads \x: either a character or the inside of a class, perhaps negated.
func (t *translator) escaped() (r rune, set string, negated bool, err error) {
	t.at++ // the backslash
	r = t.peek()
	t.at++
	switch r {
	case 'n':
		return '\n', "", false, nil
	case 'r':
		return '\r', "", false, nil
	case 't':
		return '\t', "", false, nil
	case 's', 'S':
		return 0, spaceSet, r == 'S', nil
	case 'd', 'D':
		return 0, property("Nd"), r == 'D', nil
	case 'p', 'P':
		name, err := t.propertyName()
		return 0, property(name), r == 'P', err
	}
	if r == 0 || r >= utf8.RuneSelf || unicode.IsLetter(r) || unicode.IsDigit(r) {
		return 0, "", false, fmt.Errorf(`the escape \%c is not supported`, r)
	}
	return r, "", false, nil
}

// propertyName reads {Lu} and accepts general categories only.
func (t *translator) propertyName() (string, error) {
	rest := string(t.in[min(t.at, len(t.in)):])
	end := strings.IndexByte(rest, '}')
	if !strings.HasPrefix(rest, "{") || end < 0 {
		return "", errors.New(`\p must name a property in braces`)
	}
	name := rest[1:end]
	if _, ok := unicode.Categories[name]; !ok || len(name) > 2 {
		return "", fmt.Errorf(`the property \p{%s} is not supported (supported: general categories such as L, Lu, N, P)`, name)
	}
	t.at += utf8.RuneCountInString(rest[:end+1])
	return name, nil
}

// property spells a general category with what later versions of Unicode added to it.
func property(name string) string {
	if name == "" {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, `\p{%s}`, name)
	for category, ranges := range laterCategories {
		if strings.HasPrefix(category, name) {
			for _, span := range ranges {
				b.WriteString(string(span[0]) + "-" + string(span[1]))
			}
		}
	}
	return b.String()
}

// class reads [...].
func (t *translator) class(fold bool) error {
	t.at++
	t.out.WriteByte('[')
	if t.accept("^") {
		if fold {
			return errors.New("a negated class under (?i: is not supported")
		}
		t.out.WriteByte('^')
	}
	for first := true; ; first = false {
		switch r := t.peek(); {
		case r == 0:
			return errors.New("a class is not closed")
		case r == ']' && !first:
			t.at++
			t.out.WriteByte(']')
			return nil
		case r == ']' || r == '[' || r == '&' && t.at+1 < len(t.in) && t.in[t.at+1] == '&':
			return fmt.Errorf("%q inside a class is not supported; escape it if it stands for itself", r)
		}
		if err := t.classItem(fold); err != nil {
			return err
		}
	}
}

// classItem reads a property, a character or a range of characters.
func (t *translator) classItem(fold bool) error {
	low, set, err := t.classEnd()
	if err != nil {
		return err
	}
	if set != "" {
		if fold && set != spaceSet {
			return errors.New("a character property under (?i: is not supported")
		}
		t.out.WriteString(set)
		return nil
	}
	isRange := t.peek() == '-' && t.at+1 < len(t.in) && t.in[t.at+1] != ']'
	if !isRange {
		return t.classLiteral(low, fold)
	}
	t.at++
	high, set, err := t.classEnd()
	if err != nil {
		return err
	}
	if set != "" || high < low || fold {
		return fmt.Errorf("the range that starts at %q is not supported", low)
	}
	t.out.WriteString(quote(low) + "-" + quote(high))
	return nil
}

func (t *translator) classLiteral(r rune, fold bool) error {
	if !fold || !unicode.IsLetter(r) {
		t.out.WriteString(quote(r))
		return nil
	}
	cases, err := foldCases(r)
	t.out.WriteString(cases)
	return err
}

// classEnd reads one end of a range, or a property.
func (t *translator) classEnd() (rune, string, error) {
	if t.peek() != '\\' {
		r := t.peek()
		t.at++
		return r, "", nil
	}
	r, set, negated, err := t.escaped()
	if negated {
		return 0, "", errors.New("a negated property inside a class is not supported")
	}
	return r, set, err
}

// quantifier reads what may follow an atom.
func (t *translator) quantifier() error {
	start := t.at
	switch {
	case t.accept("*"), t.accept("+"), t.accept("?"):
		t.accept("?") // lazy
	case t.peek() == '{':
		if err := t.counts(); err != nil {
			return err
		}
	default:
		return nil
	}
	switch t.peek() {
	case '*', '+', '?', '{':
		return fmt.Errorf("the quantifier %q is not supported", string(t.in[start:t.at+1]))
	}
	t.out.WriteString(string(t.in[start:t.at]))
	return nil
}

// counts reads {n}, {n,} or {n,m}.
func (t *translator) counts() error {
	start := t.at
	t.at++
	digits := 0
	for ; t.peek() >= '0' && t.peek() <= '9' && digits <= 3; t.at++ {
		digits++
	}
	if t.accept(",") {
		for more := 0; t.peek() >= '0' && t.peek() <= '9' && more <= 3; t.at++ {
			more++
		}
	}
	if digits == 0 || !t.accept("}") {
		return fmt.Errorf("the quantifier %q is not supported", string(t.in[start:min(t.at+1, len(t.in))]))
	}
	return nil
}

// quote writes r so that it stands for itself inside and outside a class.
func quote(r rune) string {
	if r < utf8.RuneSelf && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
		return fmt.Sprintf(`\u%04x`, r)
	}
	return string(r)
}

// foldCases returns the cases of an ASCII letter, such as sSſ.
func foldCases(r rune) (string, error) {
	if r >= utf8.RuneSelf {
		return "", fmt.Errorf("%q under (?i: is not supported", r)
	}
	cases := []rune{r}
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		cases = append(cases, next)
	}
	return string(cases), nil
}

// foldsTogether reports whether some single character, such as ß or ﬁ, is a case of a followed by b.
func foldsTogether(a, b rune) bool {
	switch string([]rune{unicode.ToLower(a), unicode.ToLower(b)}) {
	case "ss", "ff", "fi", "fl", "st":
		return true
	}
	return false
}
