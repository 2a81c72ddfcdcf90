package main

import (
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress draws a bar on stderr when that is a terminal, and prints whole lines around it. It is safe for concurrent use.
type progress struct {
	out *output

	mu   sync.Mutex
	bar  *progressbar.ProgressBar
	what string
}

// show draws how much of something is done; a bar of another name makes place.
func (p *progress) show(what string, done, total int) {
	if !p.out.terminal() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil || p.what != what {
		p.clear()
		p.bar, p.what = newBar(p.out, what, total, progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true)), what
	}
	_ = p.bar.Set(done)
}

// finely is what the bar of a step counts to.
const finely = 1000

// within draws how much of one long step is done, with a text that may change, in place of other bars.
func (p *progress) within(text string, done float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	const what = "step"
	if p.bar == nil || p.what != what {
		p.clear()
		p.bar, p.what = newBar(p.out, text, finely, progressbar.OptionSetPredictTime(false)), what
	} else {
		p.bar.Describe(text)
	}
	_ = p.bar.Set(int(finely * done))
}

// line prints one line of text without breaking the bar.
func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	p.out.notef(format, args...)
	if p.bar != nil {
		_ = p.bar.RenderBlank()
	}
}

// close takes the bar off the screen.
func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	p.bar = nil
}

func newBar(out *output, what string, total int, more ...progressbar.Option) *progressbar.ProgressBar {
	theme := progressbar.ThemeDefault
	if out.colour() {
		theme.Saucer = "[green]█[reset]"
	}
	return progressbar.NewOptions(total, append(more,
		progressbar.OptionSetWriter(out.stderr),
		progressbar.OptionSetDescription(what),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionEnableColorCodes(out.colour()),
		progressbar.OptionSetTheme(theme),
		progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish())...)
}
