package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/ringgrad/ringgrad/trainer"
)

// patience is how long a command that has nothing to save may take to notice a signal.
const patience = 300 * time.Millisecond

// signals turns the first SIGINT, SIGTERM or SIGUSR1 into a polite request and the second one into the end of the process.
type signals struct {
	out   *output
	exit  func(status int)
	inbox chan os.Signal
	done  chan struct{}

	mu     sync.Mutex
	polite func() // what the first signal calls
	second func() // what the second one calls, in place of ending the process
}

// watchSignals starts to watch. Until handle says otherwise, the first signal ends the returned context, and soon the process.
func watchSignals(parent context.Context, out *output) (*signals, context.Context) {
	ctx, cancel := context.WithCancel(parent)
	s := &signals{out: out, exit: os.Exit, inbox: make(chan os.Signal, 2), done: make(chan struct{})}
	s.polite = func() {
		cancel()
		time.AfterFunc(patience, s.endNow)
	}
	s.second = s.endNow
	signal.Notify(s.inbox, endSignals...)
	go func() {
		defer cancel()
		if s.arrived() {
			if out.job != nil {
				out.job.asked.Store(true)
			}
			s.mu.Lock()
			polite := s.polite
			s.mu.Unlock()
			polite()
			if s.arrived() {
				s.mu.Lock()
				second := s.second
				s.mu.Unlock()
				second()
			}
		}
	}()
	return s, ctx
}

// arrived waits for a signal; false when close came first.
func (s *signals) arrived() bool {
	select {
	case <-s.inbox:
		return true
	case <-s.done:
		return false
	}
}

// handle makes the first signal call polite, which must end the command in its own time.
func (s *signals) handle(polite func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polite = polite
}

// handleBoth makes both signals call f, which must end the command in its own time, the second time at once.
func (s *signals) handleBoth(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.polite, s.second = f, f
}

// endNow ends the process, unless the command has ended meanwhile.
func (s *signals) endNow() {
	select {
	case <-s.done:
	default:
		s.out.failure(trainer.ErrInterrupted)
		s.exit(exitInterrupted)
	}
}

func (s *signals) close() {
	signal.Stop(s.inbox)
	close(s.done)
}
