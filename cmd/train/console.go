package main

import (
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/trainer"
)

// console shows a run on stderr: a header, a bar on a terminal, one line per logged step.
type console struct {
	progress
	training string // name of the bar of steps
	steps    int
	notes    []string // what came up while files were read, kept for the header
}

func newConsole(out *output) *console {
	return &console{progress: progress{out: out}, training: "training"}
}

func (c *console) observer() trainer.Observer {
	return trainer.Observer{
		Started:   c.started,
		Stepped:   c.stepped,
		Advanced:  func(step int) { c.show(c.training, step, c.steps) },
		Evaluated: func(step int, loss float64) { c.line("step %d: validation loss %.4f", step, loss) },
		Saved:     func(_ int, folder string) { c.line("saved %s", folder) },
		Measuring: c.measuring,
		Noted:     c.noted,
	}
}

func (c *console) started(p trainer.Plan) {
	for _, row := range headerRows(p, c.out.job) {
		c.line("%-10s %s", row[0], row[1])
	}
	for _, warning := range c.out.job.warnings() {
		c.line("%s", warning)
	}
	c.showNotes()
	c.steps = p.Steps
	c.show(c.training, p.FirstStep, p.Steps)
}

func (c *console) noted(message string) {
	if c.steps > 0 {
		c.line("%s", message)
	} else {
		c.notes = append(c.notes, message)
	}
}

// showNotes prints the notes so far, which a run that is refused does without.
func (c *console) showNotes() {
	for _, note := range c.notes {
		c.line("%s", note)
	}
	c.notes = nil
}

// stepped prints figures below each other.
func (c *console) stepped(r trainer.StepReport) {
	c.line("step %*d/%d  loss %.4f  grad %6.3f  lr %.2e  %6s tok/s  ring wait %4.1f %%  left %s",
		len(fmt.Sprint(r.Steps)), r.Step, r.Steps, r.Loss, r.GradNorm, r.LearningRate,
		thousands(int64(r.TokensPerSecond)), 100*r.RingWait, r.Left.Round(time.Second))
}

// measuring has a bar of its own while it lasts.
func (c *console) measuring(what string, done, total int) {
	c.show("measuring "+what, done, total)
	if done == total {
		c.line("measured %s: %d documents", what, total)
	}
}

func headerRows(p trainer.Plan, j *job) [][2]string {
	rows := [][2]string{
		{"model", p.Model},
		{"parameters", thousands(p.Parameters)},
		{"data", fmt.Sprintf("%s tokens to train on, %s held back", thousands(p.TrainTokens), thousands(p.ValTokens))},
		{"step", fmt.Sprintf("%s tokens: %d x %s%s%s; %s", thousands(p.TokensPerStep), p.MicroBatch, thousands(int64(p.SequenceLen)), accumulated(p.Accumulation), beside(p.Rings), count(p.Steps, "step"))},
		{"ring", fmt.Sprintf("%s, %s, %s tokens a rank, attention in %s%s", count(p.Ring, "rank"), p.Layout, thousands(int64((p.SequenceLen+p.Ring-1)/p.Ring)), p.Attention, waysOf(p))},
		{"memory", fmt.Sprintf("%s in %s, %s of it for each rank (estimated)", bytesText(p.Memory.Process), whole(p.Processes), bytesText(p.Memory.Rank))},
		{"wire", fmt.Sprintf("%s between ranks each step", bytesText(p.WireBytes))},
		{"output", p.OutputDir},
	}
	if j != nil {
		rows = append(rows, [2]string{"processes", j.describe()})
	}
	return rows
}

// waysOf names what of a run's attention is not as usual.
func waysOf(p trainer.Plan) (text string) {
	for _, way := range []struct {
		unusual bool
		name    string
	}{
		{p.Ring > 1 && p.Travel != "kv", p.Travel + " travels"},
		{p.Ulysses > 1, fmt.Sprintf("Ulysses groups of %d", p.Ulysses)},
		{p.InnerRing > 1, fmt.Sprintf("inner rings of %d", p.InnerRing)},
		{p.ZeroStage > 0 && p.Rings > 1, "optimizer shared out"},
		{p.Packed, "packed documents"},
		{p.Dropout > 0, fmt.Sprintf("dropout %g", p.Dropout)},
	} {
		if way.unusual {
			text += ", " + way.name
		}
	}
	return text
}

func accumulated(times int) string {
	if times == 1 {
		return ""
	}
	return fmt.Sprintf(", accumulated %d times", times)
}

// beside says how many rings take their own sequences.
func beside(rings int) string {
	if rings == 1 {
		return ""
	}
	return fmt.Sprintf(" in each of %d rings", rings)
}

// whole is what memory is counted of.
func whole(processes int) string {
	if processes == 1 {
		return "all"
	}
	return "each process"
}
