//go:build linux

package main

import (
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// wire records what is written, and when.
type wire struct {
	start  time.Time
	frames []string
	after  []time.Duration
}

func (w *wire) Write(b []byte) (int, error) {
	w.frames = append(w.frames, string(b))
	w.after = append(w.after, time.Since(w.start))
	return len(b), nil
}

// source gives one frame every gap.
type source struct {
	frames []string
	gap    time.Duration
}

func (s *source) Read(b []byte) (int, error) {
	if len(s.frames) == 0 {
		return 0, io.EOF
	}
	n := copy(b, s.frames[0])
	s.frames = s.frames[1:]
	time.Sleep(s.gap)
	return n, nil
}

func TestCarryHoldsEveryFrameBackAndKeepsTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &wire{start: time.Now()}
		err := carry(&source{[]string{"a", "b", "c"}, time.Millisecond}, out, 50*time.Millisecond)
		if !errors.Is(err, io.EOF) {
			t.Errorf("ended with %v, want the reader's error", err)
		}
		if !slices.Equal(out.frames, []string{"a", "b", "c"}) {
			t.Errorf("carried %q", out.frames)
		}
		want := []time.Duration{51 * time.Millisecond, 52 * time.Millisecond, 53 * time.Millisecond}
		if !slices.Equal(out.after, want) {
			t.Errorf("written after %v, want %v", out.after, want)
		}
	})
}

func TestCarryDropsWhatTheQueueCannotHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &wire{start: time.Now()}
		many := make([]string, 2*queue)
		if err := carry(&source{frames: many}, out, time.Second); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		// One frame may be out of the queue already: the one whose time is awaited.
		if got := len(out.frames); got != queue && got != queue+1 {
			t.Errorf("%d frames carried, want those that the queue of %d holds", got, queue)
		}
	})
}
