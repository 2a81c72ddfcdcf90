package supervise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Pauses grow from the first to the longest.
const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// longer is the pause after pause.
func longer(pause time.Duration) time.Duration { return min(2*pause, longestPause) }

// silent is a host that does not answer, and why it is thought so.
type silent struct {
	host Host
	err  error
}

// gather probes until enough hosts answer, and returns those to use.
func (r *run) gather(ctx context.Context) ([]Host, error) {
	if len(r.Hosts) == 0 {
		return nil, nil
	}
	deadline := time.Now().Add(r.Wait)
	told := ""
	for pause := firstPause; ; pause = longer(pause) {
		living, missing, err := r.probeAll(ctx)
		if err != nil {
			return nil, err
		}
		if now := fmt.Sprint(missing); now != told { // what stays as it was is told once
			told = now
			for _, s := range missing {
				r.notef("%s does not answer (%v)", s.host.Name, s.err)
			}
		}
		if len(living) >= r.MinHosts {
			if r.MaxHosts > 0 {
				living = living[:min(len(living), r.MaxHosts)]
			}
			return living, nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil, r.tooFew(living, missing)
		}
		pause = min(pause, left)
		r.notef("%d of %d hosts answer, at least %d are needed; probing again in %s", len(living), len(r.Hosts), r.MinHosts, seconds(pause))
		if err := r.sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}

func (r *run) tooFew(living []Host, missing []silent) error {
	list := make([]string, len(missing))
	for i, s := range missing {
		list[i] = fmt.Sprintf("%s (%v)", s.host.Name, s.err)
	}
	return fmt.Errorf("supervise: %d of %d hosts answer after %v of probing, and at least %d are needed; no answer from %s", len(living), len(r.Hosts), r.Wait, r.MinHosts, strings.Join(list, ", "))
}

// probeAll asks all hosts at once. An interrupt ends it.
func (r *run) probeAll(ctx context.Context) (living []Host, missing []silent, err error) {
	limited, stop := context.WithTimeout(ctx, r.ProbeTimeout)
	defer stop()
	errs := make([]error, len(r.Hosts))
	var asked sync.WaitGroup
	for i, h := range r.Hosts {
		asked.Go(func() { errs[i] = r.probe(limited, h.Name) })
	}
	all := make(chan struct{})
	go func() { asked.Wait(); close(all) }()
	select {
	case <-all:
	case <-r.signals:
		r.interrupts++
		stop()
		<-all
		return nil, nil, ErrInterrupted
	}
	if ctx.Err() != nil {
		return nil, nil, fmt.Errorf("supervise: %w", context.Cause(ctx))
	}
	for i, h := range r.Hosts {
		if errs[i] == nil {
			living = append(living, h)
		} else {
			missing = append(missing, silent{h, errs[i]})
		}
	}
	return living, missing, nil
}

// drain is how long output is read after a command has ended, where what it started still holds the pipe.
const drain = 200 * time.Millisecond

// runProbe runs the probe of a host, whose error says in a few words why there was no answer.
func (c Config) runProbe(ctx context.Context, host string) error {
	var said bytes.Buffer
	words := strings.Fields(strings.ReplaceAll(c.Probe, hostPlace, host))
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stderr, cmd.WaitDelay = &said, drain
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	err := cmd.Run()
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("no answer within %v", c.ProbeTimeout)
	case exited && exit.Exited():
		return errors.New(strings.Join(append([]string{fmt.Sprintf("exit %d", exit.ExitCode())}, lastLines(said.String())...), ": "))
	}
	return err
}

// lastLines is the last line of text that says something, if there is one.
func lastLines(text string) []string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return []string{last}
	}
	return nil
}
