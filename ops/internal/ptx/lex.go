package ptx

import "strings"

// statement is one piece of PTX text: an instruction or declaration without its semicolon, a label with its colon, or
// a brace.
type statement struct {
	text string
	line int
}

// lineDirectives end with their line, not with a semicolon.
var lineDirectives = map[string]bool{
	".version": true, ".target": true, ".address_size": true, ".file": true, ".loc": true, ".section": true,
	".maxntid": true, ".reqntid": true, ".minnctapersm": true, ".maxnctapersm": true, ".maxnreg": true, ".noreturn": true,
	".b8": true, ".b16": true, ".b32": true, ".b64": true, // data of debug sections
}

// blankComments replaces comments with spaces and keeps line breaks, so that line numbers stay right.
func blankComments(src string) string {
	out := []byte(src)
	for i := 0; i+1 < len(out); i++ {
		var end int
		switch {
		case out[i] == '"':
			for i++; i < len(out) && out[i] != '"' && out[i] != '\n'; i++ {
			}
			continue
		case out[i] == '/' && out[i+1] == '/':
			end = indexFrom(src, i, "\n")
		case out[i] == '/' && out[i+1] == '*':
			end = min(indexFrom(src, i+2, "*/")+2, len(src))
		default:
			continue
		}
		for ; i < end; i++ {
			if out[i] != '\n' {
				out[i] = ' '
			}
		}
		i--
	}
	return string(out)
}

func indexFrom(s string, from int, what string) int {
	if i := strings.Index(s[from:], what); i >= 0 {
		return from + i
	}
	return len(s)
}

// statements cuts a file (comments removed) into statements.
func statements(src string) []statement {
	src = blankComments(src)
	var out []statement
	line := 1
	for i := 0; i < len(src); {
		switch c := src[i]; c {
		case '\n':
			line++
			i++
		case ' ', '\t', '\r', ';':
			i++
		case '{', '}':
			out = append(out, statement{string(c), line})
			i++
		default:
			n := statementEnd(src[i:])
			out = append(out, statement{strings.Join(strings.Fields(src[i:i+n]), " "), line})
			line += strings.Count(src[i:i+n], "\n")
			i += n
		}
	}
	return out
}

// statementEnd is the length of the statement that s starts with.
func statementEnd(s string) int {
	word := strings.IndexFunc(s, func(r rune) bool { return !isNameRune(r) })
	if word < 0 {
		return len(s)
	}
	if lineDirectives[s[:word]] {
		return indexFrom(s, 0, "\n")
	}
	rest := strings.TrimLeft(s[word:], " \t")
	if strings.HasPrefix(rest, ":") && !strings.HasPrefix(rest, "::") {
		return len(s) - len(rest) + 1
	}
	entry := strings.Contains(s[:indexFrom(s, 0, "\n")], ".entry")
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == ';':
			return i
		case entry && s[i] == ')':
			return i + 1
		case entry && s[i] == '{':
			return i
		}
	}
	return len(s)
}

func isNameRune(r rune) bool {
	return r == '_' || r == '$' || r == '%' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// splitList cuts at the commas that are outside brackets and braces.
func splitList(s string) []string {
	var out []string
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{', '[', '(':
			depth++
		case '}', ']', ')':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, strings.TrimSpace(s[start:i]))
				start = i + 1
			}
		}
	}
	if tail := strings.TrimSpace(s[start:]); tail != "" {
		out = append(out, tail)
	}
	return out
}
