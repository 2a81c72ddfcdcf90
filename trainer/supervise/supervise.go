package supervise

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/ringgrad/ringgrad/trainer/checkpoint"
)

// Supervisor starts a command until it has done its work.
type Supervisor struct {
	Config
	signals chan struct{}

	// What touches the world, replaced in tests.
	probe  func(ctx context.Context, host string) error
	launch func(command []string) (job, error)
}

// job is a command under way.
type job interface {
	done() <-chan ending // told once, when nothing of it is left
	signal(name string)  // tells its leader, one of Signals
	kill()               // ends it
}

// New checks a config.
func New(c Config) (*Supervisor, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.EnsureDefaults()
	s := &Supervisor{Config: c, signals: make(chan struct{}, 2)}
	s.probe, s.launch = c.runProbe, c.startProcess
	return s, nil
}

// Interrupt asks the command to end, and Run with it; a second time kills it. It returns at once.
func (s *Supervisor) Interrupt() {
	select {
	case s.signals <- struct{}{}:
	default: // two are enough
	}
}

// Run starts the command, again and again if need be, and returns when it has ended with 0 or why there is no further start. The
// error is ErrInterrupted, wraps ErrRefused, or tells what else it was; the report is complete in any case.
func (s *Supervisor) Run(ctx context.Context) (Report, error) {
	r := &run{Supervisor: s, report: Report{Starts: []Start{}}}
	err := r.loop(ctx)
	r.report.OK, r.report.Restarts = err == nil, max(0, len(r.report.Starts)-1)
	if err != nil {
		r.report.Reason = strings.TrimPrefix(err.Error(), "supervise: ")
	}
	return r.report, err
}

// run is the state of one Run.
type run struct {
	*Supervisor
	report     Report
	interrupts int
}

func (r *run) loop(ctx context.Context) error {
	idle, pause := 0, firstPause // restarts in a row without progress
	for {
		hosts, err := r.gather(ctx)
		if err != nil {
			return err
		}
		start, end, err := r.once(ctx, hosts)
		if err != nil {
			return err
		}
		restart := len(r.report.Starts) > 0
		r.report.Starts = append(r.report.Starts, start)
		if start.ToStep > start.FromStep {
			idle, pause = 0, firstPause
		} else if restart {
			idle++
		}
		final, err := r.verdict(ctx, start, end, idle)
		text := fmt.Sprintf("ended with %s after %.1f s at step %d", end.text, start.Seconds, start.ToStep)
		if final {
			r.notef("%s", text)
			return err
		}
		r.notef("%s; restart %d in %s", text, len(r.report.Starts), seconds(pause))
		if err := r.sleep(ctx, pause); err != nil {
			return err
		}
		if err := r.free(ctx); err != nil {
			return err
		}
		pause = longer(pause)
	}
}

// Exit statuses of the command that mean something (see cmd/train).
const (
	statusRefused     = 2
	statusInterrupted = 130
)

// verdict says whether a start was the last one, and why.
func (r *run) verdict(ctx context.Context, s Start, end ending, idle int) (final bool, err error) {
	switch {
	case ctx.Err() != nil:
		return true, fmt.Errorf("supervise: %w", context.Cause(ctx))
	case r.interrupts > 0, end.status == statusInterrupted && !s.Stalled: // the former even with 0, which MPICH's mpiexec gives then
		return true, ErrInterrupted
	case end.status == 0 && !s.Stalled:
		r.report.Reason = "the command ended with " + end.text
		return true, nil
	case end.status == statusRefused && !s.Stalled:
		return true, fmt.Errorf("supervise: %w, which a restart does not mend; the command ended with %s", ErrRefused, end.because())
	case idle >= r.MaxRestarts:
		return true, fmt.Errorf("supervise: %s; the command ended with %s", r.noProgress(s, idle), end.because())
	}
	return false, nil
}

func (r *run) noProgress(s Start, idle int) string {
	newest := "there is no checkpoint"
	if s.ToStep > 0 {
		newest = fmt.Sprintf("the newest checkpoint is that of step %d", s.ToStep)
	}
	switch idle {
	case 0:
		return "no restarts are allowed, and " + newest
	case 1:
		return "a restart brought no progress, and " + newest
	}
	return fmt.Sprintf("%d restarts in a row brought no progress, and %s", idle, newest)
}

// once starts the command and waits for its end.
func (r *run) once(ctx context.Context, hosts []Host) (Start, ending, error) {
	hostfile := ""
	if len(hosts) > 0 {
		var err error
		if hostfile, err = writeHosts(hosts); err != nil {
			return Start{}, ending{}, err
		}
		defer func() { _ = os.Remove(hostfile) }()
	}
	start := Start{Hosts: names(hosts), FromStep: r.newest()}
	r.notef("start %d%s", len(r.report.Starts)+1, onHosts(start.Hosts))
	began := time.Now()
	j, err := r.launch(fill(r.Command, hostfile, len(hosts)))
	if err != nil {
		return Start{}, ending{}, fmt.Errorf("supervise: the command cannot be started: %w: %w", err, ErrRefused)
	}
	w := watch{run: r, job: j, pulse: newPulse(r.OutputDir, r.Stall)}
	end := w.wait(ctx)
	start.Seconds, start.Status, start.Stalled, start.ToStep = time.Since(began).Seconds(), end.status, w.stalled, r.newest()
	return start, end, nil
}

func onHosts(names []string) string {
	if len(names) == 0 {
		return ""
	}
	plural := "s"
	if len(names) == 1 {
		plural = ""
	}
	return fmt.Sprintf(" on %d host%s: %s", len(names), plural, strings.Join(names, " "))
}

// newest is the step of the newest checkpoint, 0 for none. One that is being written has another name.
func (r *run) newest() int {
	entry, err := checkpoint.Latest(r.OutputDir)
	if err != nil && !errors.Is(err, checkpoint.ErrNone) {
		r.notef("%v", err)
	}
	return entry.Step
}

// free waits, for as long as a job may take to end, until no rank has the output folder: those on other hosts end when they notice
// that their launcher is gone, and until then a start would be refused.
func (r *run) free(ctx context.Context) error {
	told := false
	for limit := time.Now().Add(r.KillAfter); time.Now().Before(limit); {
		unlock, err := checkpoint.Lock(r.OutputDir)
		if err == nil {
			unlock()
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) { // nothing has been written yet
			return nil
		}
		if !told {
			r.notef("waiting: %v", err)
			told = true
		}
		if err := r.sleep(ctx, firstPause); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits for a pause to end, or for an interrupt.
func (r *run) sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.signals:
		r.interrupts++
		return ErrInterrupted
	case <-ctx.Done():
		return fmt.Errorf("supervise: %w", context.Cause(ctx))
	}
}

func (r *run) notef(format string, args ...any) { r.Note("supervise: " + fmt.Sprintf(format, args...)) }
