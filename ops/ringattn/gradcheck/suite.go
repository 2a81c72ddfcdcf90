package gradcheck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"gorgonia.org/tensor"
)

// SuiteReport is the outcome of Suite and of CheckShape: a line a check.
type SuiteReport struct {
	OK     bool    `json:"ok"`
	Checks []Check `json:"checks"`
}

// Check is the outcome of one check over many runs.
type Check struct {
	Name     string   `json:"name"`
	Runs     int      `json:"runs"`
	Worst    float64  `json:"worst"` // the largest figure of all runs; what it is, the name says
	Limit    float64  `json:"limit"` // what it may be
	At       string   `json:"at"`    // the run that has it
	OK       bool     `json:"ok"`
	Seconds  float64  `json:"seconds"`
	Failures []string `json:"failures,omitempty"` // the first few runs that fell short
}

const keptFailures = 5

// observe enters one run's figure.
func (c *Check) observe(figure float64, at string) {
	c.Runs++
	if figure > c.Worst || c.At == "" {
		c.Worst, c.At = figure, at
	}
	if !(figure <= c.Limit) {
		c.fail("%s: %.3g", at, figure)
	}
}

func (c *Check) fail(format string, args ...any) {
	c.OK = false
	if len(c.Failures) < keptFailures {
		c.Failures = append(c.Failures, fmt.Sprintf(format, args...))
	}
}

// suite collects checks; an ended context ends it.
type suite struct {
	ctx    context.Context
	report SuiteReport
}

// add runs one check.
func (s *suite) add(name string, limit float64, f func(ctx context.Context, c *Check) error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	c := Check{Name: name, Limit: limit, OK: true}
	start := time.Now()
	if err := f(s.ctx, &c); err != nil {
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		c.fail("%v", err)
	}
	c.Seconds = time.Since(start).Seconds()
	s.report.OK = s.report.OK && c.OK
	s.report.Checks = append(s.report.Checks, c)
	return nil
}

// check is a line of the suite.
type check struct {
	name  string
	limit float64
	run   func(context.Context, *Check) error

	needs64 bool // left out on devices without float64
}

// Suite is the built-in proof that the op is right: ring against dense attention in float64, finite differences, float32
// error, and bits that repeat, over masks and the other options, head groups, layouts, ring sizes and ways through the ring. Quick takes
// a few seconds, Full minutes. The error is for bad options and an ended context; what falls short is in the report.
func Suite(ctx context.Context, o Options) (SuiteReport, error) {
	masks := o.forMasks()
	o.EnsureDefaults()
	if err := errors.Join(o.Validate(), o.RefuseNarrow()); err != nil {
		return SuiteReport{}, err
	}
	s := suite{ctx: ctx, report: SuiteReport{OK: true}}
	for _, l := range o.Layouts {
		o := o
		o.Layouts = []shard.Layout{l}
		if err := s.add("ring = dense, "+string(l), limit(o.exact(), false), o.againstDense(1, o.lengths())); err != nil {
			return s.report, err
		}
	}
	for _, c := range append([]check{
		{name: "ring = dense, hot logits", limit: limit(o.exact(), true), run: o.againstDense(hotDeviation, []int{29})},
		{name: "ring = dense, a graph a rank", limit: limit(o.exact(), false), run: o.graphPerRank},
		{name: "finite differences", limit: 1e-6, run: o.finiteDifferences, needs64: true},
		{name: "float32 error / plain float32's", limit: 2, run: o.plainRatio},
		{name: "float32 error, W = 8 / W = 1", limit: 1.1, run: o.ringRatio},
		{name: "bits that differ in a second run", limit: 0, run: o.repeat},
	}, masks.maskChecks()...) {
		if c.needs64 && o.exact() != Float64 {
			continue
		}
		if err := s.add(c.name, c.limit, c.run); err != nil {
			return s.report, err
		}
	}
	return s.report, nil
}

func (o Options) lengths() []int {
	switch {
	case o.few():
		return []int{33}
	case o.Quick:
		return []int{7, 33}
	case o.Full:
		return []int{1, 2, 3, 7, 16, 37, 64, 129, 257}
	}
	return []int{1, 7, 37, 65}
}

// heads are the groupings: multi-head, grouped-query, multi-query, and values wider and narrower than keys.
func (o Options) heads() []ringattn.DenseInputs {
	all := []ringattn.DenseInputs{
		{Batch: 1, Heads: 2, KVHeads: 2, Dim: 8, ValueDim: 8},
		{Batch: 1, Heads: 4, KVHeads: 2, Dim: 8, ValueDim: 12},
		{Batch: 1, Heads: 3, KVHeads: 1, Dim: 8, ValueDim: 5},
	}
	if o.Full {
		all = append(all, ringattn.DenseInputs{Batch: 2, Heads: 6, KVHeads: 3, Dim: 17, ValueDim: 17},
			ringattn.DenseInputs{Batch: 1, Heads: 1, KVHeads: 1, Dim: 64, ValueDim: 64},
			ringattn.DenseInputs{Batch: 1, Heads: 1, KVHeads: 1, Dim: 256, ValueDim: 256})
	}
	return all
}

// againstDense compares every shape in every setup with the dense reference, and counts hops.
func (o Options) againstDense(deviation float64, lengths []int) func(context.Context, *Check) error {
	return func(ctx context.Context, c *Check) error {
		for seed, shape := range o.heads() {
			for _, shape.Tokens = range lengths {
				for _, shape.Causal = range []bool{true, false} {
					in := random(uint64(seed), shape, deviation)
					if err := o.denseRun(ctx, c, in); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}
}

func (o Options) denseRun(ctx context.Context, c *Check, in ringattn.DenseInputs) error {
	want := ringattn.Dense(in)
	for _, s := range o.setups() {
		if o.leavesOut(s, in) {
			continue
		}
		got, sends, err := attend(ctx, in, s)
		if err != nil {
			return fmt.Errorf("%s: %w", describe(in, s), err)
		}
		_, rel := compare(got, want)
		c.observe(rel.Worst(), describe(in, s))
		// of a double ring the largest inner and outer hops are those of different ranks; package ring's tests look at each
		if most := sends.hops(); most > s.Ring-1 && s.InnerRing <= 1 {
			c.fail("%s: %d hops of a rank, at most %d are needed", describe(in, s), most, s.Ring-1)
		}
	}
	return nil
}

// finiteDifferences checks the op's gradients entry by entry, without any reference.
func (o Options) finiteDifferences(ctx context.Context, c *Check) error {
	shape := ringattn.DenseInputs{Batch: 1, Tokens: 7, Heads: 2, KVHeads: 1, Dim: 3, ValueDim: 4}
	rings := []int{1, 3, 8}
	if o.Quick {
		rings = []int{3}
	}
	for _, shape.Causal = range []bool{true, false} {
		in := random(1, shape, 1)
		for _, l := range o.Layouts {
			for _, w := range rings {
				s := setup{Ring: w, Layout: l, DType: Float64, Device: o.Device}
				if err := finiteDifference(ctx, c, in, s, 0); err != nil {
					return fmt.Errorf("%s: %w", describe(in, s), err)
				}
			}
		}
	}
	return nil
}

func finiteDifference(ctx context.Context, c *Check, in ringattn.DenseInputs, s setup, elements int) error {
	x := &session{problem: in, queries: in.Queries(), keys: in.Tokens, dtype: tensor.Float64, cfg: s.config(ctx)}
	if err := ops.Build(x.build); err != nil {
		return err
	}
	r, err := Graph(ctx, GraphCheck{Inputs: x.inputs(), Output: x.out, MaxElements: elements})
	if err != nil {
		return err
	}
	for _, in := range r.Inputs {
		c.observe(in.MaxRel, describe(x.problem, s)+", d"+in.Name)
	}
	for _, p := range r.Problems {
		c.fail("%s: %s", describe(x.problem, s), p)
	}
	return nil
}

// repeat runs setups again and counts the entries whose bits differ.
func (o Options) repeat(ctx context.Context, c *Check) error {
	for _, dtype := range []string{Float32, o.exact()} {
		in := random(3, ringattn.DenseInputs{Batch: 1, Tokens: 37, Heads: 4, KVHeads: 2, Dim: 8, ValueDim: 8, Causal: true}, 1)
		for _, l := range o.Layouts {
			if err := repeated(ctx, c, in, setup{Ring: slices.Max(o.Rings), Layout: l, DType: dtype, Device: o.Device}); err != nil {
				return err
			}
		}
	}
	return nil
}

func repeated(ctx context.Context, c *Check, in ringattn.DenseInputs, s setup) error {
	x, err := newSession(in, s.DType, s.config(ctx))
	if err != nil {
		return err
	}
	defer x.close()
	first, err := x.run()
	if err != nil {
		return err
	}
	for range 3 {
		again, err := x.run()
		if err != nil {
			return err
		}
		c.observe(float64(differing(first, again)), describe(in, s))
	}
	return nil
}

func differing(a, b ringattn.DenseResult) (n int) {
	for i, x := range tensors(a) {
		if !sameBits(x, tensors(b)[i]) {
			n++
		}
	}
	return n
}
