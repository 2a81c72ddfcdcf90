package hosts

import (
	"errors"
	"slices"

	"github.com/ringgrad/ringgrad/dist"
)

// Remote is the cause of an abort that another process gave. It reads like that cause; errors.Is finds what the cause wrapped, by its text,
// and errors.As its *dist.Error and *dist.Late.
type Remote struct {
	Process int
	Host    string
	text    string
	wrapped []string // texts of everything below
	seen    *dist.Error
	late    *dist.Late
}

// Error is the text of the cause.
func (r *Remote) Error() string { return r.text }

// Is compares texts: another process's errors are not of this one's memory.
func (r *Remote) Is(target error) bool {
	return target.Error() == r.text || slices.Contains(r.wrapped, target.Error())
}

// As gives the parts that were sent along.
func (r *Remote) As(target any) bool {
	switch t := target.(type) {
	case **dist.Error:
		if r.seen != nil {
			*t = r.seen
		}
		return r.seen != nil
	case **dist.Late:
		if r.late != nil {
			*t = r.late
		}
		return r.late != nil
	}
	return false
}

// packed is a cause on its way.
type packed struct {
	Text    string      `json:"text"`
	Wrapped []string    `json:"wrapped,omitempty"`
	Seen    *dist.Error `json:"seen,omitempty"`
	Late    *dist.Late  `json:"late,omitempty"`
}

func pack(cause error) *packed {
	p := &packed{Text: cause.Error()}
	p.walk(cause)
	if seen, ok := errors.AsType[*dist.Error](cause); ok {
		bare := *seen
		bare.Err = nil
		p.Seen = &bare
	}
	_ = errors.As(cause, &p.Late) // or it stays nil
	if p.Late != nil {
		p.Wrapped = append(p.Wrapped, dist.ErrTimeout.Error())
	}
	return p
}

// walk notes the texts of what an error wraps.
func (p *packed) walk(err error) {
	for _, inner := range unwrap(err) {
		if text := inner.Error(); text != p.Text && !slices.Contains(p.Wrapped, text) {
			p.Wrapped = append(p.Wrapped, text)
		}
		p.walk(inner)
	}
}

func unwrap(err error) []error {
	switch e := err.(type) { //nolint:errorlint // it is the wrapping itself that is walked
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return []error{inner}
		}
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return nil
}

func (p *packed) unpack(process int, host string) *Remote {
	r := &Remote{Process: process, Host: host, text: p.Text, wrapped: p.Wrapped, seen: p.Seen, late: p.Late}
	if r.seen != nil && r.late != nil {
		r.seen.Err = r.late
	}
	return r
}
