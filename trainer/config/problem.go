package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a config.
type Problem struct {
	Key          string // with dots: datasets.0.path; "" when it is not about one key
	Message      string // names key, value and remedy
	File         string
	Line, Column int    // from 1; 0 when the problem is not in one place of the file
	Set          string // the --set argument that brought the value in
}

// Error writes the problem as compilers do: file:line:column: message.
func (p Problem) Error() string {
	switch {
	case p.Set != "":
		return fmt.Sprintf("--set %s: %s", p.Set, p.Message)
	case p.File == "":
		return p.Message
	case p.Line == 0:
		return fmt.Sprintf("%s: %s", p.File, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Message)
}

// Error is everything that is wrong with a config, in the order of the file.
type Error struct{ Problems []Problem }

// Error writes one problem a line.
func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return "config: " + e.Problems[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "config: %d problems", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  ")
		b.WriteString(p.Error())
	}
	return b.String()
}

// Unwrap gives errors.As the single problems.
func (e *Error) Unwrap() []error {
	errs := make([]error, len(e.Problems))
	for i, p := range e.Problems {
		errs[i] = p
	}
	return errs
}

// failure sorts the problems: those of the file by place, then those of --set. No problem is no error.
func failure(problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(min(1, len(a.Set)), min(1, len(b.Set))), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{Problems: problems}
}
