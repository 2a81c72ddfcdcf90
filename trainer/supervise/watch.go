package supervise

import (
	"context"
	"os"
	"path/filepath"
	"time"
)

// watch waits for the end of a start, and brings it about when it must.
type watch struct {
	*run
	job     job
	pulse   pulse
	stalled bool
	limit   <-chan time.Time // when the job is killed, once it was asked to end
}

func (w *watch) wait(ctx context.Context) ending {
	cancelled := ctx.Done()
	look, stop := w.pulse.ticks()
	defer stop()
	for {
		select {
		case end := <-w.job.done():
			return end
		case <-w.signals:
			w.interrupted()
		case <-look:
			if !w.stalled && w.pulse.stopped() {
				w.stalled = true
				w.ask("TERM", "metrics.jsonl has had no new line for %v", w.Stall) // there is nothing to save
			}
		case <-w.limit:
			w.notef("the command has not ended within %v: killing it", w.KillAfter)
			w.job.kill()
		case <-cancelled:
			cancelled = nil
			w.job.kill()
		}
	}
}

func (w *watch) interrupted() {
	w.interrupts++
	if w.interrupts == 1 {
		w.ask(w.Signal, "interrupted")
		return
	}
	w.notef("interrupted again: killing the command")
	w.job.kill()
}

// ask gives the job time to end by itself.
func (w *watch) ask(signal, why string, args ...any) {
	w.notef(why+": the command has %v to end; a second signal kills it", append(args, w.KillAfter)...)
	w.limit = time.After(w.KillAfter)
	w.job.signal(signal)
}

// pulse looks whether the run's metrics grow.
type pulse struct {
	path  string
	limit time.Duration // 0: nobody looks
	size  int64
	since time.Time
}

func newPulse(dir string, limit time.Duration) pulse {
	p := pulse{path: filepath.Join(dir, "metrics.jsonl"), limit: limit, since: time.Now()}
	p.size = p.now()
	return p
}

// now is the size of the file; any change of it is life, a cut at the beginning of a resumed run too.
func (p *pulse) now() int64 {
	info, err := os.Stat(p.path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// ticks says when to look.
func (p *pulse) ticks() (_ <-chan time.Time, stop func()) {
	if p.limit == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(max(p.limit/20, time.Millisecond))
	return t.C, t.Stop
}

// stopped reports whether the file has stayed the same for longer than the limit.
func (p *pulse) stopped() bool {
	if size := p.now(); size != p.size {
		p.size, p.since = size, time.Now()
	}
	return time.Since(p.since) > p.limit
}
