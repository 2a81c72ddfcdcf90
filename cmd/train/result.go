package main

import (
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/eval"
)

// runResult is `train --json`: the speed of the run beside what the machine can do.
type runResult struct {
	trainer.Result
	FMAPeak float64 `json:"fma_peak_gflops"` // of the processors in use, together, after the run
}

// printResult ends a run: one JSON document, or a closing table.
func printResult(out *output, r runResult) error {
	if out.json {
		return out.document(r)
	}
	rows := [][]string{
		{"steps", fmt.Sprint(r.Steps)},
		{"tokens", thousands(r.Tokens)},
		{"time", roundTime(r.Seconds)},
		{"speed", fmt.Sprintf("%.1f Gflop/s in the steps, %.3f of the FMA peak", r.GFlops, r.GFlops/r.FMAPeak)},
		{"peak memory", fmt.Sprintf("%s, %.3f of the estimate", bytesText(r.PeakMemory), float64(r.PeakMemory)/float64(r.EstimatedMemory))},
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

// roundTime keeps tenths of what takes less than a minute.
func roundTime(seconds float64) string {
	if seconds < 60 {
		return fmt.Sprintf("%.1f s", seconds)
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

// printPosition shows the three columns of loss by position.
func printPosition(out *output, p trainer.Position) error {
	rows := make([][]string, 0, len(p.After.ByPosition)+1)
	for i, after := range p.After.ByPosition {
		rows = append(rows, []string{positions(after.From, after.To), lossAt(p.Before, i), lossAt(p.Windowed, i), lossAt(p.After, i)})
	}
	rows = append(rows, []string{"all", fmt.Sprintf("%.3f", p.Before.Loss), fmt.Sprintf("%.3f", p.Windowed.Loss), fmt.Sprintf("%.3f", p.After.Loss)})
	if err := out.printf("loss in nats by position, %s held back\n", count(p.Documents, "document")); err != nil {
		return err
	}
	header := []string{"position", "before, full context", fmt.Sprintf("before, window of %d", p.Window), "after, full context"}
	if err := out.table(header, rows); err != nil {
		return err
	}
	return out.printf("plot: %s\n", p.Plot)
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
	if err := out.printf("%s\n", cfg.YAML()); err != nil {
		return err
	}
	return printPlan(out, p)
}
