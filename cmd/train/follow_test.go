package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringgrad/ringgrad/trainer"
)

// TestALongStepIsToldInLinesThatComeFurtherApart follows two steps, of 8 seconds and of 20 minutes, where there is no terminal.
func TestALongStepIsToldInLinesThatComeFurtherApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const short, long = 8 * time.Second, 20 * time.Minute
		var stderr bytes.Buffer
		start := time.Now()
		stop := newConsole(newOutput(nil, &stderr)).follow(func() (trainer.Progress, bool) {
			p := trainer.Progress{Step: 1, Steps: 2, Part: "forward", Elapsed: time.Since(start)}
			if p.Elapsed > short {
				p = trainer.Progress{Step: 2, Steps: 2, Part: "backward, layer 1 of 1, hop 2 of 7", Elapsed: p.Elapsed - short}
			}
			p.Done = p.Elapsed.Seconds() / long.Seconds()
			p.Left = long - p.Elapsed
			return p, p.Elapsed < long
		})
		time.Sleep(short + long + time.Hour)
		stop()
		lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
		if want := "step 2/2: backward, layer 1 of 1, hop 2 of 7; 10s, left 19m50s, 0.8 % done"; lines[0] != want {
			t.Errorf("the first line is %q, want %q", lines[0], want)
		}
		if n := len(lines); n < 20 || n > 40 {
			t.Errorf("%d lines in 20 minutes:\n%s", n, stderr.String())
		}
		for _, line := range lines {
			if len(line) > 100 {
				t.Errorf("%d columns: %s", len(line), line)
			}
		}
	})
}
