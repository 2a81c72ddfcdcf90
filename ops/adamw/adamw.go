// Package adamw is the optimizer step of torch.optim.AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) on plain float32
// slices: the same operations in the same order, so that curves agree with those of PyTorch to rounding.
//
// The caller owns parameters and moments and counts the steps; nothing is kept between calls. Parameters that take no weight
// decay (norms, biases) are updated by calls of their own with WeightDecay 0.
package adamw

import (
	"errors"
	"fmt"
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// Config holds what stays the same over a training run. The zero value means PyTorch's defaults.
type Config struct {
	Beta1   float64 // decay of the first moment; 0: 0.9
	Beta2   float64 // decay of the second moment; 0: 0.999
	Epsilon float64 // added to the denominator; 0: 1e-8
}

// EnsureDefaults replaces zeros by PyTorch's defaults.
func (c *Config) EnsureDefaults() {
	if c.Beta1 == 0 {
		c.Beta1 = 0.9
	}
	if c.Beta2 == 0 {
		c.Beta2 = 0.999
	}
	if c.Epsilon == 0 {
		c.Epsilon = 1e-8
	}
}

// Validate joins what is wrong with the configuration.
func (c Config) Validate() error {
	var problems []error
	for _, beta := range []struct {
		name  string
		value float64
	}{{"beta1", c.Beta1}, {"beta2", c.Beta2}} {
		if !(beta.value >= 0 && beta.value < 1) {
			problems = append(problems, fmt.Errorf("adamw: %s is %v: want 0 <= %s < 1", beta.name, beta.value, beta.name))
		}
	}
	if !(c.Epsilon > 0) {
		problems = append(problems, fmt.Errorf("adamw: epsilon is %v: want a positive number", c.Epsilon))
	}
	return errors.Join(problems...)
}

// Step is one update of one parameter. Param, M and V are written; all four slices have one length.
type Step struct {
	LR          float64
	WeightDecay float64
	Step        int // 1 for the first update
	Param       []float32
	Grad        []float32 // read only
	M, V        []float32 // the moments; zero before the first update
	GradScale   float64   // factor on Grad, for example the clipping coefficient; 0 stands for 1
}

// Update does one step, with c's zeros replaced by the defaults:
//
//	p = p·(1 - lr·wd)
//	m = m + (1-β1)·(g - m),   v = β2·v + (1-β2)·g²
//	p = p - lr/(1-β1^t) · m / (√v/√(1-β2^t) + ε)
//
// Factors are computed in float64, elements in float32. It runs in parallel; elements do not depend on each other, so bits do
// not depend on the number of threads. Wrong settings and lengths are errors, and nothing is written then.
func Update(c Config, s Step) error {
	c.EnsureDefaults()
	if err := errors.Join(c.Validate(), s.validate()); err != nil {
		return err
	}
	f := factorsOf(c, s)
	eachBlock(len(s.Param), func(_, from, to int) {
		cpu.AdamW(s.Param[from:to], s.Grad[from:to], s.M[from:to], s.V[from:to], f)
	})
	return nil
}

// SumOfSquares is the square of grad's 2-norm, in float64: what clipping by the norm of all gradients adds up. It runs in parallel,
// and the bits do not depend on the number of threads.
func SumOfSquares(grad []float32) float64 {
	sums := make([]float64, blocks(len(grad)))
	eachBlock(len(grad), func(b, from, to int) { sums[b] = cpu.Dot(grad[from:to], grad[from:to]) })
	total := 0.0
	for _, s := range sums {
		total += s
	}
	return total
}

// block is the number of elements of a parallel call.
const block = 1 << 14

func blocks(n int) int { return (n + block - 1) / block }

// eachBlock calls f in parallel for blocks [from, to) that cover n elements.
func eachBlock(n int, f func(b, from, to int)) {
	cpu.Parallel(blocks(n), func(b int) { f(b, b*block, min(n, (b+1)*block)) })
}

func (s Step) validate() error {
	var problems []error
	n := len(s.Param)
	if len(s.Grad) != n || len(s.M) != n || len(s.V) != n {
		problems = append(problems, fmt.Errorf("adamw: %d parameters with %d gradients and %d and %d moments: want one length",
			n, len(s.Grad), len(s.M), len(s.V)))
	}
	if s.Step < 1 {
		problems = append(problems, fmt.Errorf("adamw: step is %d: count from 1", s.Step))
	}
	if !(s.LR >= 0) || !(s.WeightDecay >= 0) {
		problems = append(problems, fmt.Errorf("adamw: learning rate %v and weight decay %v: want neither negative", s.LR, s.WeightDecay))
	}
	return errors.Join(problems...)
}

func factorsOf(c Config, s Step) *cpu.AdamWFactors[float32] {
	t := float64(s.Step)
	f := cpu.AdamWFactors[float32]{
		Grad:      1,
		Keep:      float32(1 - s.LR*s.WeightDecay),
		ToM:       float32(1 - c.Beta1),
		KeepV:     float32(c.Beta2),
		ToV:       float32(1 - c.Beta2),
		RootBias2: float32(math.Sqrt(1 - math.Pow(c.Beta2, t))),
		Epsilon:   float32(c.Epsilon),
		Rate:      float32(-s.LR / (1 - math.Pow(c.Beta1, t))),
	}
	if s.GradScale != 0 {
		f.Grad = float32(s.GradScale)
	}
	return &f
}
