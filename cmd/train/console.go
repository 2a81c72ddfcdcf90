package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/eval"
)

// console shows a run on stderr: a header, a bar on a terminal, one plain line per logged step.
type console struct {
	out *output
	bar *progressbar.ProgressBar
}

func newConsole(out *output) *console { return &console{out: out} }

func (c *console) observer() trainer.Observer {
	return trainer.Observer{
		Started:   c.started,
		Stepped:   c.stepped,
		Advanced:  c.advanced,
		Evaluated: func(step int, loss float64) { c.line("step %d: validation loss %.4f", step, loss) },
		Saved:     func(_ int, folder string) { c.line("saved %s", folder) },
		Measuring: c.measuring,
		Noted:     func(message string) { c.line("%s", message) },
	}
}

func (c *console) started(p trainer.Plan) {
	for _, row := range headerRows(p) {
		c.line("%-10s %s", row[0], row[1])
	}
	if c.out.terminal() {
		c.bar = progressbar.NewOptions(p.Steps,
			progressbar.OptionSetWriter(c.out.stderr),
			progressbar.OptionSetItsString("step"),
			progressbar.OptionShowCount(),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionEnableColorCodes(c.out.colour()),
			progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish())
		_ = c.bar.Set(p.FirstStep)
	}
}

func (c *console) stepped(r trainer.StepReport) {
	c.line("step %d/%d  loss %.4f  grad norm %.3f  lr %.2e  %s tok/s  ring wait %.1f %%  left %s",
		r.Step, r.Steps, r.Loss, r.GradNorm, r.LearningRate, thousands(int64(r.TokensPerSecond)), 100*r.RingWait, r.Left.Round(time.Second))
}

func (c *console) advanced(step int) {
	if c.bar != nil {
		_ = c.bar.Set(step)
	}
}

func (c *console) measuring(what string, done, total int) {
	if done == total || c.bar == nil && done%max(1, total/4) == 0 {
		c.line("measuring %s: %d of %d documents", what, done, total)
	}
}

// line prints one line of text without breaking a bar.
func (c *console) line(format string, args ...any) {
	if c.bar != nil {
		_ = c.bar.Clear()
	}
	c.out.notef(format, args...)
	if c.bar != nil {
		_ = c.bar.RenderBlank()
	}
}

func (c *console) close() {
	if c.bar != nil {
		_ = c.bar.Clear()
	}
}

func headerRows(p trainer.Plan) [][2]string {
	return [][2]string{
		{"model", p.Model},
		{"parameters", thousands(p.Parameters)},
		{"data", fmt.Sprintf("%s tokens to train on, %s held back", thousands(p.TrainTokens), thousands(p.ValTokens))},
		{"step", fmt.Sprintf("%s tokens: %d x %s, accumulated %d times; %d steps", thousands(p.TokensPerStep), p.MicroBatch, thousands(int64(p.SequenceLen)), p.Accumulation, p.Steps)},
		{"ring", fmt.Sprintf("%d ranks, %s, %s tokens a rank", p.Ring, p.Layout, thousands(int64((p.SequenceLen+p.Ring-1)/p.Ring)))},
		{"memory", fmt.Sprintf("%s in all, %s of it for each rank (estimated)", bytesText(p.Memory.Process), bytesText(p.Memory.Rank))},
		{"wire", fmt.Sprintf("%s between ranks each step", bytesText(p.WireBytes))},
		{"output", p.OutputDir},
	}
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	var b strings.Builder
	for i, r := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// bytesText writes a size with a binary unit.
func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	x, i := float64(n), 0
	for x >= 1024 && i < len(units)-1 {
		x /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}

// printResult ends a run: one JSON document, or a closing table.
func printResult(out *output, r trainer.Result) error {
	if out.json {
		return out.document(r)
	}
	rows := [][]string{
		{"steps", fmt.Sprint(r.Steps)},
		{"tokens", thousands(r.Tokens)},
		{"time", time.Duration(r.Seconds * float64(time.Second)).Round(time.Second).String()},
		{"tokens per second", thousands(int64(float64(r.Tokens) / max(r.Seconds, 1e-9)))},
		{"last loss", fmt.Sprintf("%.4f", r.Loss)},
	}
	if r.EvalLoss != nil {
		rows = append(rows, []string{"validation loss", fmt.Sprintf("%.4f", *r.EvalLoss)})
	}
	rows = append(rows, []string{"model", r.OutputDir})
	if err := out.table([]string{"run", "result"}, rows); err != nil {
		return err
	}
	if r.LossBy == nil {
		return nil
	}
	return printPosition(out, *r.LossBy)
}

// printPosition shows the three columns of loss by position.
func printPosition(out *output, p trainer.Position) error {
	rows := make([][]string, 0, len(p.After.ByPosition)+1)
	for i, after := range p.After.ByPosition {
		rows = append(rows, []string{
			fmt.Sprintf("%s – %s", thousands(int64(after.From)), thousands(int64(after.To))),
			lossAt(p.Before, i), lossAt(p.Windowed, i), lossAt(p.After, i),
		})
	}
	rows = append(rows, []string{"all", fmt.Sprintf("%.3f", p.Before.Loss), fmt.Sprintf("%.3f", p.Windowed.Loss), fmt.Sprintf("%.3f", p.After.Loss)})
	header := []string{"position", "before, full context", fmt.Sprintf("before, window of %d", p.Window), "after, full context"}
	if _, err := fmt.Fprintf(out.stdout, "loss in nats by position, %d held-back documents\n", p.Documents); err != nil {
		return err
	}
	if err := out.table(header, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out.stdout, "plot: %s\n", p.Plot)
	return err
}

func lossAt(r eval.Result, bin int) string {
	if bin >= len(r.ByPosition) {
		return ""
	}
	return fmt.Sprintf("%.3f", r.ByPosition[bin].Loss)
}

// printDryRun shows the resolved config and what the run would take.
func printDryRun(out *output, cfg config.Config, p trainer.Plan) error {
	if out.json {
		return out.document(map[string]any{"config": cfg, "plan": p})
	}
	if _, err := fmt.Fprintf(out.stdout, "%s\n", cfg.YAML()); err != nil {
		return err
	}
	return printPlan(out, p)
}

// trainingError sorts the errors of a run: what was given (a held output folder) is exit status 2, an interruption 130, the rest 1.
func trainingError(err error) error {
	if errors.Is(err, trainer.ErrInterrupted) || errors.Is(err, trainer.ErrInput) {
		return err
	}
	return failed{err}
}
