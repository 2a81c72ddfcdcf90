package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/ringgrad/ringgrad/trainer"
)

// patience is how long a command that has nothing to save may take to notice a signal.
const patience = 300 * time.Millisecond

// signals turns the first SIGINT or SIGTERM into a polite request and the second one into the end of the process.
type signals struct {
	out   *output
	exit  func(status int)
	inbox chan os.Signal
	done  chan struct{}

	mu     sync.Mutex
	polite func() // what the first signal calls
}

// watchSignals starts to watch. Until handle says otherwise, the first signal ends the returned context, and soon the process.
func watchSignals(parent context.Context, out *output) (*signals, context.Context) {
	ctx, cancel := context.WithCancel(parent)
	s := &signals{out: out, exit: os.Exit, inbox: make(chan os.Signal, 2), done: make(chan struct{})}
	s.polite = func() {
		cancel()
		time.AfterFunc(patience, s.endNow)
	}
	signal.Notify(s.inbox, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer cancel()
		if s.arrived() {
			s.mu.Lock()
			polite := s.polite
			s.mu.Unlock()
			polite()
			if s.arrived() {
				s.endNow()
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
