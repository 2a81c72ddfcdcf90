package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/gradcheck"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/config"
	modelcheck "github.com/ringgrad/ringgrad/trainer/gradcheck"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// checkConfig checks the attention of a run: shape, masks, dropout, layout and its way round the ring.
func checkConfig(ctx context.Context, out *output, f gradcheckFlags) error {
	cfg, err := config.Load(f.config, f.set)
	if err != nil {
		return err
	}
	if cfg.AttentionDtype != config.Default().AttentionDtype {
		return fmt.Errorf("gradcheck: attention_dtype is %s, and exact gradients are what is checked; add --set attention_dtype=%s",
			cfg.AttentionDtype, config.Default().AttentionDtype)
	}
	m, err := modelOf(cfg)
	if err != nil {
		return err
	}
	var all gradcheck.SuiteReport
	shapes := shapesOf(cfg, m)
	if n := shapes[0].MaxTokens(); n < shapes[0].Tokens {
		out.notef("checking the first %s of %s tokens: dense attention takes their square", thousands(int64(n)), thousands(int64(shapes[0].Tokens)))
	}
	for i, shape := range shapes {
		report, err := gradcheck.CheckShape(ctx, shape)
		if err != nil {
			return computed(err)
		}
		for _, c := range report.Checks {
			if shape.Window != nil && len(shapes) > 1 {
				c.Name += fmt.Sprintf(", window of %d", shape.Window.Left+1)
			}
			all.Checks = append(all.Checks, c)
		}
		all.OK = report.OK && (i == 0 || all.OK)
	}
	return printSuite(out, all)
}

// shapesOf are the attentions of a run, one for each window that layers have.
func shapesOf(cfg config.Config, m hf.Config) []gradcheck.Shape {
	shape := gradcheck.Shape{
		Batch: cfg.MicroBatchSize, Tokens: cfg.SequenceLen, Heads: m.NumHeads, KVHeads: m.NumKVHeads, Dim: m.HeadDim, Scale: m.SoftmaxScale,
		Causal: true, Softcap: m.AttentionSoftcap, Sinks: m.Sinks, Dropout: m.AttentionDropout, Packed: cfg.SamplePacking,
		Layout: shard.Layout(cfg.RingAttnFunc), Ring: cfg.ContextParallelSize, Device: ring.Device(cfg.Device),
		Way: gradcheck.Way{Travel: ring.Travel(cfg.RingTravel), Ulysses: cfg.UlyssesSize, InnerRing: cfg.RingInnerSize},
	}
	if p := cfg.AttentionDropout; p != nil {
		shape.Dropout = *p
	}
	if shape.Packed { // a micro-batch is one sequence
		shape.Batch, shape.Tokens = 1, shape.Tokens*shape.Batch
	}
	var shapes []gradcheck.Shape
	seen := map[int]bool{}
	for layer := range m.NumLayers {
		w := m.Window(layer)
		if seen[w] {
			continue
		}
		seen[w] = true
		if shape.Window = nil; w > 0 {
			shape.Window = &mask.Window{Left: w - 1, Right: mask.Unbounded}
		}
		shapes = append(shapes, shape)
	}
	return shapes
}

// checkSuite runs the op's suite and the model's invariance to the ring, in one table.
func checkSuite(ctx context.Context, out *output, o gradcheck.Options) error {
	if o.Full {
		out.notef("running the full suite; this takes two or three minutes")
	}
	report, err := gradcheck.Suite(ctx, o)
	if err != nil {
		return computed(err)
	}
	checks, err := modelChecks(ctx, o)
	if err != nil {
		return computed(err)
	}
	for _, c := range checks {
		report.Checks = append(report.Checks, c)
		report.OK = report.OK && c.OK
	}
	return printSuite(out, report)
}

// modelChecks holds the whole model against one rank and against differences of its loss, as lines of the suite's table.
func modelChecks(ctx context.Context, o gradcheck.Options) ([]gradcheck.Check, error) {
	rings := modelcheck.Options{Rings: o.Rings, Layouts: o.Layouts, DTypes: o.DTypes, Device: o.Device}
	if o.Quick {
		rings = modelcheck.Options{Rings: []int{3}, Layouts: []shard.Layout{shard.Zigzag}, DTypes: []string{modelcheck.Float32}, Device: o.Device}
	}
	invariance := newModelCheck("model: W ranks = one, share of the limit")
	results, err := modelcheck.Invariance(ctx, rings)
	if err != nil {
		return nil, err
	}
	for _, r := range results {
		name, worst := r.Worst()
		invariance.add(fmt.Sprintf("ring %d %s %s %s", r.Ring, r.Layout, r.DType, name), worst/r.Limit, r.OK)
	}
	invariance.end()
	if o.Device != "" { // finite differences take float64
		return []gradcheck.Check{invariance.Check}, nil
	}
	finite := newModelCheck("model: finite differences, share of the limit")
	differences, err := modelcheck.FiniteDifferences(ctx, 3, shard.Zigzag)
	if err != nil {
		return nil, err
	}
	for _, r := range differences {
		finite.add(r.Parameter, r.MaxRel/r.Limit, r.OK)
	}
	finite.end()
	return []gradcheck.Check{invariance.Check, finite.Check}, nil
}

// modelCheck gathers runs whose limits differ: figures are shares of the run's own limit.
type modelCheck struct {
	gradcheck.Check
	start time.Time
}

func newModelCheck(name string) *modelCheck {
	return &modelCheck{Check: gradcheck.Check{Name: name, OK: true, Limit: 1}, start: time.Now()}
}

func (c *modelCheck) add(at string, share float64, ok bool) {
	c.Runs++
	if c.At == "" || !(share <= c.Worst) {
		c.Worst, c.At = share, at
	}
	if !ok {
		c.OK = false
		c.Failures = append(c.Failures, fmt.Sprintf("%s: %.2g times its limit", at, share))
	}
}

func (c *modelCheck) end() { c.Seconds = time.Since(c.start).Seconds() }

func printSuite(out *output, report gradcheck.SuiteReport) error {
	bad := 0
	for _, c := range report.Checks {
		if !c.OK {
			bad++
		}
	}
	var err error
	if out.json {
		err = out.document(report)
	} else {
		err = printChecks(out, report.Checks)
	}
	if err != nil {
		return err
	}
	return verdict(bad, len(report.Checks), "checks")
}

func printChecks(out *output, checks []gradcheck.Check) error {
	rows := make([][]string, len(checks))
	for i, c := range checks {
		rows[i] = []string{c.Name, fmt.Sprint(c.Runs), figureText(c.Worst), figureText(c.Limit), fmt.Sprintf("%.1f s", c.Seconds), passed(c.OK)}
	}
	if err := out.table([]string{"check", "runs", "worst", "limit", "time", ""}, rows); err != nil {
		return err
	}
	for _, c := range checks {
		for _, failure := range c.Failures {
			if err := out.paragraph(c.Name+": "+failure, "    "); err != nil {
				return err
			}
		}
	}
	return nil
}
