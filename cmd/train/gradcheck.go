package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/gradcheck"
	"github.com/ringgrad/ringgrad/trainer/config"
	modelcheck "github.com/ringgrad/ringgrad/trainer/gradcheck"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// gradcheckFlags are the flags of `train gradcheck`; at most one of golden, model and config says what is checked.
type gradcheckFlags struct {
	golden, model, config  string
	set                    []string
	rings, layouts, dtypes []string
	quick, full            bool
}

func newGradcheck(out *output) *cobra.Command {
	var f gradcheckFlags
	cmd := &cobra.Command{
		Use:   "gradcheck",
		Short: "Check attention and model gradients against dense attention, finite differences and golden files",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			switch {
			case f.golden != "":
				return checkGolden(cmd.Context(), out, f.golden, o)
			case f.model != "":
				return checkModel(cmd.Context(), out, f.model, o)
			case f.config != "":
				return checkConfig(cmd.Context(), out, f)
			}
			return checkSuite(cmd.Context(), out, o)
		},
	}
	cmd.Flags().StringVar(&f.golden, "golden", "", "check the cases of this file or folder")
	cmd.Flags().StringVar(&f.model, "model", "", "check a model folder against its reference.safetensors")
	cmd.Flags().StringVar(&f.config, "config", "", "check this configuration's attention shape, mask, layout and ring")
	cmd.Flags().StringSliceVar(&f.rings, "ring", nil, "ring sizes, comma-separated")
	cmd.Flags().StringSliceVar(&f.layouts, "layout", nil, "contiguous, zigzag, striped")
	cmd.Flags().StringSliceVar(&f.dtypes, "dtype", nil, "float64, float32")
	cmd.Flags().BoolVar(&f.quick, "quick", false, "the built-in suite in a few seconds")
	cmd.Flags().BoolVar(&f.full, "full", false, "the built-in suite with everything")
	addSet(cmd, &f.set)
	cmd.MarkFlagsMutuallyExclusive("golden", "model", "config")
	cmd.MarkFlagsMutuallyExclusive("quick", "full")
	return cmd
}

// options turns the flags into what the checks take; empty lists mean their defaults.
func (f gradcheckFlags) options() (gradcheck.Options, error) {
	o := gradcheck.Options{DTypes: f.dtypes, Quick: f.quick, Full: f.full}
	for _, text := range f.rings {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return o, fmt.Errorf("gradcheck: --ring %q is not a number of ranks; give for example --ring 1,2,3", text)
		}
		o.Rings = append(o.Rings, n)
	}
	for _, text := range f.layouts {
		layout, err := shard.ParseLayout(strings.TrimSpace(text))
		if err != nil {
			return o, fmt.Errorf("gradcheck: --layout: %w", err)
		}
		o.Layouts = append(o.Layouts, layout)
	}
	if len(f.set) > 0 && f.config == "" {
		return o, fmt.Errorf("gradcheck: --set changes a config's keys; give --config FILE with it")
	}
	return o, o.Validate()
}

func checkGolden(ctx context.Context, out *output, path string, o gradcheck.Options) error {
	report, err := gradcheck.CheckGolden(ctx, []string{path}, o)
	if err != nil {
		return err
	}
	if out.json {
		return verdict(report.OK, out.document(report))
	}
	rows := make([][]string, 0, len(report.Cases))
	for _, c := range report.Cases {
		figure, sends := fmt.Sprintf("%.1e", c.MaxRel.Worst()), ""
		if c.Error != "" {
			figure = c.Error
		}
		if c.Sends != nil {
			sends = fmt.Sprintf("%d+%d+%d", c.Sends.ForwardKV, c.Sends.BackwardKV, c.Sends.BackwardDKV)
		}
		rows = append(rows, []string{c.Case, fmt.Sprint(c.Ring), string(c.Layout), c.DType, figure, sends, passed(c.OK)})
	}
	return verdict(report.OK, out.table([]string{"case", "ring", "layout", "dtype", "worst error", "hops", ""}, rows))
}

func checkModel(ctx context.Context, out *output, dir string, o gradcheck.Options) error {
	results, err := modelcheck.CheckModel(ctx, dir, modelcheck.Options{Rings: o.Rings, Layouts: o.Layouts, DTypes: o.DTypes})
	if err != nil {
		return err
	}
	ok := true
	rows := make([][]string, 0, len(results))
	for _, r := range results {
		ok = ok && r.OK
		worst := 0.0
		for _, e := range r.MaxRel {
			worst = max(worst, float64(e))
		}
		rows = append(rows, []string{r.Model, fmt.Sprint(r.Ring), string(r.Layout), r.DType, fmt.Sprintf("%.6f", r.Loss), fmt.Sprintf("%.6f", r.LossExpected), fmt.Sprintf("%.1e", worst), passed(r.OK)})
	}
	if out.json {
		return verdict(ok, out.document(map[string]any{"ok": ok, "models": results}))
	}
	return verdict(ok, out.table([]string{"model", "ring", "layout", "dtype", "loss", "expected", "worst error", ""}, rows))
}

// checkConfig checks the shape, layout and ring of a run.
func checkConfig(ctx context.Context, out *output, f gradcheckFlags) error {
	cfg, err := config.Load(f.config, f.set)
	if err != nil {
		return err
	}
	var m hf.Config
	if cfg.BaseModel != "" {
		m, err = hf.ReadConfig(cfg.BaseModel)
	} else {
		m, err = hf.ConfigFromMap(cfg.Model)
	}
	if err != nil {
		return err
	}
	report, err := gradcheck.CheckShape(ctx, gradcheck.Shape{
		Batch: cfg.MicroBatchSize, Tokens: cfg.SequenceLen, Heads: m.NumHeads, KVHeads: m.NumKVHeads, Dim: m.HeadDim, Causal: true, Layout: shard.Layout(cfg.RingAttnFunc), Ring: cfg.ContextParallelSize,
	})
	if err != nil {
		return err
	}
	return printSuite(out, report)
}

// checkSuite runs the op's suite and the model's invariance to the ring, in one table.
func checkSuite(ctx context.Context, out *output, o gradcheck.Options) error {
	report, err := gradcheck.Suite(ctx, o)
	if err != nil {
		return err
	}
	checks, err := modelChecks(ctx, o)
	if err != nil {
		return err
	}
	for _, c := range checks {
		report.Checks = append(report.Checks, c)
		report.OK = report.OK && c.OK
	}
	return printSuite(out, report)
}

// modelChecks holds the whole model against one rank and against differences of its loss, as lines of the suite's table.
func modelChecks(ctx context.Context, o gradcheck.Options) ([]gradcheck.Check, error) {
	rings := modelcheck.Options{Rings: o.Rings, Layouts: o.Layouts, DTypes: o.DTypes}
	if o.Quick {
		rings = modelcheck.Options{Rings: []int{3}, Layouts: []shard.Layout{shard.Zigzag}, DTypes: []string{modelcheck.Float32}}
	}
	invariance := modelCheck{Check: gradcheck.Check{Name: "model: loss, logits, gradients of W ranks against one", OK: true}, start: time.Now()}
	results, err := modelcheck.Invariance(ctx, rings)
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		name, worst := r.Worst()
		invariance.add(fmt.Sprintf("ring %d %s %s %s", r.Ring, r.Layout, r.DType, name), worst/r.Limit, r.OK)
	}
	finite := modelCheck{Check: gradcheck.Check{Name: "model: gradients against differences of the loss", OK: true}, start: time.Now()}
	differences, err := modelcheck.FiniteDifferences(ctx, 3, shard.Zigzag)
	if err != nil {
		return nil, err
	}
	for _, r := range differences {
		finite.add(r.Parameter, r.MaxRel/r.Limit, r.OK)
	}
	return []gradcheck.Check{invariance.done(), finite.done()}, nil
}

// modelCheck gathers runs whose limits differ: figures are shares of the run's own limit.
type modelCheck struct {
	gradcheck.Check
	start time.Time
}

func (c *modelCheck) add(at string, share float64, ok bool) {
	c.Runs++
	if share > c.Worst || c.At == "" {
		c.Worst, c.At = share, at
	}
	if !ok {
		c.OK = false
		c.Failures = append(c.Failures, fmt.Sprintf("%s: %.2g times its limit", at, share))
	}
}

func (c *modelCheck) done() gradcheck.Check {
	c.Limit, c.Seconds = 1, time.Since(c.start).Seconds()
	return c.Check
}

func printSuite(out *output, report gradcheck.SuiteReport) error {
	if out.json {
		return verdict(report.OK, out.document(report))
	}
	rows := make([][]string, 0, len(report.Checks))
	for _, c := range report.Checks {
		rows = append(rows, []string{c.Name, fmt.Sprint(c.Runs), fmt.Sprintf("%.1e", c.Worst), fmt.Sprintf("%.1e", c.Limit), fmt.Sprintf("%.1f s", c.Seconds), passed(c.OK)})
	}
	if err := out.table([]string{"check", "runs", "worst", "limit", "time", ""}, rows); err != nil {
		return err
	}
	for _, c := range report.Checks {
		for _, failure := range c.Failures {
			out.notef("%s: %s", c.Name, failure)
		}
	}
	return verdict(report.OK, nil)
}

func passed(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAILED"
}

// verdict ends a check: exit status 1 when it did not hold.
func verdict(ok bool, err error) error {
	if err == nil && !ok {
		return errChecksFailed
	}
	return err
}
