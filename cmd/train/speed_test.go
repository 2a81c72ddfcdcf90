package main

import (
	"errors"
	"testing"
)

func TestSpeedIsMeasuredOnWorkThatTakesLongEnough(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name          string
		secondsOfOne  float64 // a size of 1
		failsAt, last int
	}{
		{"slow enough at once", 1, 0, 100},
		{"slow enough later", speedTime.Seconds() / 300, 0, 400},
		{"never slow", 1e-12, 0, 100 * speedMost},
		{"an error", 1e-12, 200, 200},
	} {
		last := 0
		speed, err := growing(100, func(size int) (timing, error) {
			last = size
			if size == c.failsAt {
				return timing{}, broken
			}
			return timing{c.secondsOfOne * float64(size), float64(size)}, nil
		})
		if last != c.last || c.failsAt == 0 && speed != float64(last) || (err != nil) != (c.failsAt > 0) {
			t.Errorf("%s: ends at a size of %d with %v, %v; want %d", c.name, last, speed, err, c.last)
		}
	}
}
