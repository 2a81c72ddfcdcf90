package gradcheck

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ringgrad/ringgrad/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// GraphCheck asks whether the gradients of a graph are those of its output.
type GraphCheck struct {
	// Inputs are what to differentiate by: float64 nodes with values bound to them, used by Output.
	Inputs gorgonia.Nodes
	// Output is any float64 node; a random vector makes a number of it.
	Output *gorgonia.Node
	// Step is the step of the central differences, relative to entries over 1; 0 means 1e-5.
	Step float64
	// Limit is the error allowed, relative to the largest entry of an input's gradient; 0 means 1e-6.
	Limit float64
	// MaxElements bounds how many entries of an input are checked, drawn at random; 0 means 256. Each costs two runs.
	MaxElements int
	// Seed of the random numbers.
	Seed uint64
}

// EnsureDefaults replaces zero values by what they mean.
func (c *GraphCheck) EnsureDefaults() {
	if c.Step == 0 {
		c.Step = 1e-5
	}
	if c.Limit == 0 {
		c.Limit = 1e-6
	}
	if c.MaxElements == 0 {
		c.MaxElements = 256
	}
}

// Validate reports every node that cannot be checked, joined into one error.
func (c GraphCheck) Validate() error {
	if c.Output == nil || len(c.Inputs) == 0 {
		return errors.New("gradcheck: graph: give an Output and at least one of Inputs")
	}
	var errs []error
	if c.Output.Dtype() != tensor.Float64 {
		errs = append(errs, fmt.Errorf("gradcheck: graph: output %v is %v; build the graph in float64", c.Output, c.Output.Dtype()))
	}
	for _, n := range c.Inputs {
		if n == nil {
			errs = append(errs, errors.New("gradcheck: graph: an input is nil"))
			continue
		}
		if d, ok := n.Value().(*tensor.Dense); !ok || d.Dtype() != tensor.Float64 || d.RequiresIterator() {
			errs = append(errs, fmt.Errorf("gradcheck: graph: input %v holds %T; bind a contiguous float64 *tensor.Dense to it", n, n.Value()))
		}
		if n.Graph() != c.Output.Graph() {
			errs = append(errs, fmt.Errorf("gradcheck: graph: input %v is of another graph than the output", n))
		}
	}
	return errors.Join(errs...)
}

// GraphReport is what Graph found.
type GraphReport struct {
	OK       bool
	Inputs   []InputReport
	Problems []string // what is wrong besides figures: inputs overwritten, a second run that differs
}

// InputReport compares one input's gradient with finite differences.
type InputReport struct {
	Name           string
	Checked        int     // entries compared
	MaxAbs, MaxRel float64 // error, and the same divided by the largest entry of the numeric gradient
}

// Graph compares the gradients that gorgonia's TapeMachine computes with central finite differences, entry by entry. It
// also runs the graph twice, which must give the same bits, and looks whether a run has written into its inputs. Nodes for
// the gradients are added to the graph; the values bound to its inputs are copied, and bound again when it returns. An error
// is returned for a check that cannot run, among them a graph that gorgonia cannot differentiate or run.
func Graph(ctx context.Context, c GraphCheck) (GraphReport, error) {
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		return GraphReport{}, err
	}
	x := &graphCheck{GraphCheck: c, random: rand.New(rand.NewPCG(c.Seed, 1))}
	for _, n := range c.Inputs {
		original := n.Value().(*tensor.Dense)
		defer func() { _ = gorgonia.Let(n, original) }() // it was bound before
		x.data = append(x.data, slices.Clone(original.Float64s()))
	}
	if err := ops.Build(x.build); err != nil {
		return GraphReport{}, fmt.Errorf("gradcheck: graph: %w", err)
	}
	defer func() { _, _ = x.full.Close(), x.forward.Close() }()
	if err := x.check(ctx); err != nil {
		return GraphReport{}, err
	}
	x.report.OK = len(x.report.Problems) == 0
	for _, in := range x.report.Inputs {
		x.report.OK = x.report.OK && in.MaxRel <= c.Limit
	}
	return x.report, nil
}

// graphCheck is the check of one graph.
type graphCheck struct {
	GraphCheck
	random        *rand.Rand
	data          [][]float64 // the inputs' values
	weights       []float64   // the random vector: the gradient of the output
	grads         gorgonia.Nodes
	full, forward gorgonia.VM
	report        GraphReport
}

// build adds the gradients and compiles two programs: all of it, and the output alone.
func (x *graphCheck) build() error {
	shape := x.Output.Shape()
	x.weights = make([]float64, max(shape.TotalSize(), 1))
	for i := range x.weights {
		x.weights[i] = x.random.NormFloat64()
	}
	g := x.Output.Graph()
	var dy *gorgonia.Node
	if shape.IsScalar() {
		dy = gorgonia.NewScalar(g, tensor.Float64, gorgonia.WithName("gradcheck.dy"), gorgonia.WithValue(x.weights[0]))
	} else {
		dy = gorgonia.NewTensor(g, tensor.Float64, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName("gradcheck.dy"),
			gorgonia.WithValue(tensor.New(tensor.WithShape(shape...), tensor.WithBacking(slices.Clone(x.weights)))))
	}
	program, registers, err := gorgonia.CompileFunction(g, g.ExactSubgraphRoots(x.Output).Inputs(), gorgonia.Nodes{x.Output})
	if err != nil {
		return err
	}
	x.forward = gorgonia.NewTapeMachine(g, gorgonia.WithPrecompiled(program, registers))
	if x.grads, err = gorgonia.Backpropagate(gorgonia.Nodes{x.Output}, gorgonia.Nodes{dy}, x.Inputs); err != nil {
		return err
	}
	x.full = gorgonia.NewTapeMachine(g)
	return nil
}

func (x *graphCheck) check(ctx context.Context) error {
	analytic, err := x.gradients()
	if err != nil {
		return err
	}
	again, err := x.gradients()
	if err != nil {
		return err
	}
	for i, n := range x.Inputs {
		if !sameBits(analytic[i], again[i]) {
			x.report.Problems = append(x.report.Problems, fmt.Sprintf("a second run gave another gradient of %s: an op keeps state, or works in place on a value that is still needed", n.Name()))
		}
	}
	for i, n := range x.Inputs {
		r, err := x.compare(ctx, i, analytic[i])
		if err != nil {
			return err
		}
		r.Name = n.Name()
		x.report.Inputs = append(x.report.Inputs, r)
	}
	return nil
}

// gradients runs the whole graph and looks after its inputs.
func (x *graphCheck) gradients() ([][]float64, error) {
	bound, err := x.bind(-1, 0, 0)
	if err != nil {
		return nil, err
	}
	if err := runMachine(x.full); err != nil {
		return nil, err
	}
	var out [][]float64
	for i, n := range x.Inputs {
		if !sameBits(bound[i], x.data[i]) {
			p := fmt.Sprintf("the run has written into the input %s", n.Name())
			if !slices.Contains(x.report.Problems, p) {
				x.report.Problems = append(x.report.Problems, p)
			}
		}
		out = append(out, float64s(x.grads[i].Value()))
	}
	return out, nil
}

// bind gives the inputs copies of their values, entry at of input i moved by step; it returns the copies.
func (x *graphCheck) bind(i, at int, step float64) ([][]float64, error) {
	copies := make([][]float64, len(x.Inputs))
	for j, n := range x.Inputs {
		copies[j] = slices.Clone(x.data[j])
		if j == i {
			copies[j][at] += step
		}
		if err := gorgonia.Let(n, tensor.New(tensor.WithShape(n.Shape()...), tensor.WithBacking(copies[j]))); err != nil {
			return nil, fmt.Errorf("gradcheck: graph: binding %v: %w", n, err)
		}
	}
	return copies, nil
}

// value is the weighted sum of the output's entries with one entry of one input moved.
func (x *graphCheck) value(i, at int, step float64) (float64, error) {
	if _, err := x.bind(i, at, step); err != nil {
		return 0, err
	}
	if err := runMachine(x.forward); err != nil {
		return 0, err
	}
	return dot(float64s(x.Output.Value()), x.weights), nil
}

// compare works out the numeric gradient of input i in some of its entries.
func (x *graphCheck) compare(ctx context.Context, i int, analytic []float64) (InputReport, error) {
	n := len(x.data[i])
	if len(analytic) != n {
		return InputReport{}, fmt.Errorf("gradcheck: graph: the gradient of %v has %d entries, its value %d", x.Inputs[i], len(analytic), n)
	}
	entries := x.random.Perm(n)[:min(n, x.MaxElements)]
	var got, want []float64
	for _, at := range entries {
		if ctx.Err() != nil {
			return InputReport{}, context.Cause(ctx)
		}
		step := x.Step * max(1, math.Abs(x.data[i][at]))
		up, err := x.value(i, at, step)
		if err != nil {
			return InputReport{}, err
		}
		down, err := x.value(i, at, -step)
		if err != nil {
			return InputReport{}, err
		}
		got, want = append(got, analytic[at]), append(want, (up-down)/(2*step))
	}
	abs := difference(got, want)
	// a gradient that is 0 everywhere has no scale of its own; rounding leaves about 1e-11 of one
	return InputReport{Checked: len(entries), MaxAbs: abs, MaxRel: min(abs/max(magnitude(want), 1e-3), incomparable)}, nil
}

func runMachine(m gorgonia.VM) error {
	defer m.Reset()
	if err := m.RunAll(); err != nil {
		return fmt.Errorf("gradcheck: graph: running it: %w", ops.Cause(err))
	}
	return nil
}

func sameBits(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) })
}
