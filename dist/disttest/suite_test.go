package disttest

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

// A mutant is an engine with one rule broken.
type mutant struct {
	dist.Engine
	rule string

	mu   sync.Mutex
	held func() // a send that is started late
}

func (m *mutant) Isend(b []byte, to, tag int) dist.Handle {
	switch m.rule {
	case "tags are told apart":
		tag = 0
	case "empty messages travel":
		if len(b) == 0 {
			return ended{}
		}
	case "a rank sends to itself":
		if to == m.Rank() {
			return failed{errors.New("no sending to oneself")}
		}
	case "messages are in order":
		return m.swapped(b, to, tag)
	case "big messages are whole":
		if len(b) > 1<<20 {
			b = slices.Clone(b)
			b[len(b)-1]++
		}
	}
	return m.Engine.Isend(b, to, tag)
}

func (m *mutant) Irecv(b []byte, from, tag int) dist.Handle {
	switch m.rule {
	case "tags are told apart":
		tag = 0
	case "sizes are compared":
		if len(b) == 12 {
			return m.Engine.Irecv(b[:8], from, tag)
		}
	}
	return m.Engine.Irecv(b, from, tag)
}

func (m *mutant) Abort(cause error) {
	switch m.rule {
	case "abort is heard":
	case "abort tells the cause":
		m.Engine.Abort(errors.New("something"))
	default:
		m.Engine.Abort(cause)
	}
}

func (m *mutant) Close() error {
	if m.rule == "leaving is heard" {
		return nil
	}
	return m.Engine.Close()
}

// swapped starts every second send before the one in front of it.
func (m *mutant) swapped(b []byte, to, tag int) dist.Handle {
	m.mu.Lock()
	defer m.mu.Unlock()
	late := &lateSend{started: make(chan struct{})}
	start := func() {
		late.handle = m.Engine.Isend(b, to, tag)
		close(late.started)
	}
	if m.held == nil {
		m.held = start
		return late
	}
	start()
	m.held()
	m.held = nil
	return late
}

type lateSend struct {
	started chan struct{}
	handle  dist.Handle
}

func (l *lateSend) Wait(ctx context.Context) error {
	select {
	case <-l.started:
		return l.handle.Wait(ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

type failed struct{ err error }

func (f failed) Wait(context.Context) error { return f.err }

// Every rule that an engine can break is seen by one of the cases, and no case fails without a reason.
func TestTheSuiteFindsBrokenEngines(t *testing.T) {
	cases := slices.Concat(transfers, collectives, groups, failures)
	for _, rule := range []string{
		"", "tags are told apart", "empty messages travel", "a rank sends to itself", "messages are in order", "big messages are whole",
		"sizes are compared", "abort is heard", "abort tells the cause", "leaving is heard",
	} {
		found := 0
		for _, c := range cases {
			synctest.Test(t, func(t *testing.T) {
				engines := local.NewWorld(3)
				for i, e := range engines {
					engines[i] = &mutant{Engine: e, rule: rule}
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if errors.Join(each(ctx, engines, c.rank)...) != nil {
					found++
				}
			})
		}
		if (found > 0) != (rule != "") {
			t.Errorf("rule %q broken: %d of %d cases failed", rule, found, len(cases))
		}
	}
}

func TestSameComparesBits(t *testing.T) {
	minusZero, nan := math.Copysign(0, -1), math.NaN()
	for _, c := range []struct {
		got, want []float64
		same      bool
	}{
		{[]float64{1, 2}, []float64{1, 2}, true},
		{[]float64{1, 2}, []float64{1, 3}, false},
		{[]float64{1}, []float64{1, 1}, false},
		{[]float64{0}, []float64{minusZero}, false},
		{[]float64{nan}, []float64{nan}, true},
	} {
		if err := same("numbers", c.got, c.want); (err == nil) != c.same {
			t.Errorf("%v and %v: %v", c.got, c.want, err)
		}
	}
}

func TestWantErrorTellsWhatCame(t *testing.T) {
	if err := wantError("wait", nil, dist.ErrSize); err == nil {
		t.Error("no error passed for ErrSize")
	}
	if err := wantError("wait", errors.New("other"), dist.ErrSize); err == nil {
		t.Error("another error passed for ErrSize")
	}
	if err := wantError("wait", dist.ErrSize, dist.ErrSize); err != nil {
		t.Error(err)
	}
}
