package main

import (
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/trainer"
)

// A step is long from longStep on; until then the line that ends it will do.
const longStep = 10 * time.Second

// follow shows how far a long step is, until the returned function is called: as a bar that moves each second on a terminal, else as
// lines that come further apart the longer the step lasts.
func (c *console) follow(progress func() (trainer.Progress, bool)) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticks := time.NewTicker(time.Second)
		defer ticks.Stop()
		var due lines
		for {
			select {
			case <-quit:
				return
			case <-ticks.C:
			}
			p, ok := progress()
			if !ok || p.Elapsed < longStep {
				continue
			}
			if c.out.terminal() {
				c.within(stepText(p), p.Done)
			} else if due.now(p) {
				c.line("%s, %.1f %% done", stepText(p), 100*p.Done)
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// lines says when the next line is due: a tenth of the time so far after the last, but 10 s at least and a minute at most.
type lines struct {
	step int
	next time.Duration
}

func (l *lines) now(p trainer.Progress) bool {
	if l.step != p.Step {
		*l = lines{step: p.Step}
	}
	if p.Elapsed < l.next {
		return false
	}
	l.next = p.Elapsed + min(max(p.Elapsed/10, longStep), time.Minute)
	return true
}

// stepText is a long step in words.
func stepText(p trainer.Progress) string {
	text := fmt.Sprintf("step %d/%d: %s; %s", p.Step, p.Steps, p.Part, p.Elapsed.Round(time.Second))
	if p.Left > 0 {
		text += fmt.Sprintf(", left %s", p.Left.Round(time.Second))
	}
	return text
}
