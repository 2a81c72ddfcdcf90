package config

import "time"

// Duration is a time span, written as Go writes it: 90s, 10m, 1h30m.
type Duration time.Duration

// Duration returns the span in the form of the standard library.
func (d Duration) Duration() time.Duration { return time.Duration(d) }

// String writes the span, 10m0s for ten minutes.
func (d Duration) String() string { return time.Duration(d).String() }
