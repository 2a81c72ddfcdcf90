package gradcheck

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// Shape is the attention of one configuration.
type Shape struct {
	Batch          int // 0 means 1
	Tokens         int // T of the whole sequence
	Heads, KVHeads int // KVHeads 0 means Heads
	Dim, ValueDim  int // ValueDim 0 means Dim
	Scale          float64
	Causal         bool
	Layout         shard.Layout // "" means contiguous
	Ring           int          // W; 0 means 1
	Way                         // through the ring

	Window  *mask.Window // nil means all
	Packed  bool         // the sequence holds documents: a long one, one of a token, an empty one, and two more
	Softcap float64
	Sinks   bool
	Dropout float64
	Device  ring.Device // of the float32 checks; those in float64 run on the CPU
	DType   string      // what the configuration runs in: "float64", or "" or "float32", which adds float32 checks
}

// EnsureDefaults replaces zero values by what they mean.
func (s *Shape) EnsureDefaults() {
	s.Batch, s.Ring = max(s.Batch, 1), max(s.Ring, 1)
	if s.KVHeads == 0 {
		s.KVHeads = s.Heads
	}
	if s.ValueDim == 0 {
		s.ValueDim = s.Dim
	}
	if s.Layout == "" {
		s.Layout = shard.Contiguous
	}
	if s.DType == "" {
		s.DType = Float32
	}
}

// Validate reports sizes that make no attention; the op itself reports the rest.
func (s Shape) Validate() error {
	var errs []error
	if s.Tokens < 1 {
		errs = append(errs, fmt.Errorf("gradcheck: %d tokens: give at least 1", s.Tokens))
	}
	if s.Heads < 1 || s.KVHeads < 1 || s.Heads%s.KVHeads != 0 {
		errs = append(errs, fmt.Errorf("gradcheck: %d heads with %d KV heads: give a multiple", s.Heads, s.KVHeads))
	}
	if s.Dim < 1 || s.ValueDim < 1 {
		errs = append(errs, fmt.Errorf("gradcheck: head dim %d, value dim %d: give at least 1", s.Dim, s.ValueDim))
	}
	o := Options{Rings: []int{s.Ring}, Layouts: []shard.Layout{s.Layout}, DTypes: []string{s.DType}, Ways: []Way{s.Way}}
	return errors.Join(append(errs, o.Validate(), o.RefuseNarrow(), ring.CheckArithmetic(s.Device, ""))...)
}

// referenceWork bounds T²·H·D of a problem whose dense reference is worked out, which takes some seconds.
const referenceWork = 1 << 28

// MaxTokens is the longest sequence that CheckShape checks for s: the dense reference takes time T². What is longer is cut
// to it, leaving the same remainder for the uneven shards.
func (s Shape) MaxTokens() int {
	s.EnsureDefaults()
	t := s.Tokens
	for t > 4*s.Ring && t*t > referenceWork/max(s.Batch*s.Heads*(s.Dim+s.ValueDim), 1) {
		t = t/2 + (s.Tokens-t/2)%(2*s.Ring)
	}
	return min(t, s.Tokens)
}

// CheckShape proves one configuration: ring against dense, with mild and with hot logits; finite differences; that runs
// repeat; and for float32 the error against a plain float32 program and against a ring of one. Sequences longer than
// MaxTokens are cut to it.
func CheckShape(ctx context.Context, shape Shape) (SuiteReport, error) {
	shape.EnsureDefaults()
	if err := shape.Validate(); err != nil {
		return SuiteReport{}, err
	}
	in := shape.problem()
	exact := setup{Ring: shape.Ring, Layout: shape.Layout, DType: Float64, Way: shape.Way}
	own := exact
	own.DType = shape.DType
	s := suite{ctx: ctx, report: SuiteReport{OK: true}}
	checks := []check{
		{name: "ring = dense", limit: limit(Float64, false), run: func(ctx context.Context, c *Check) error { return equalsDense(ctx, c, random(1, in, 1), exact) }},
		{name: "ring = dense, hot logits", limit: limit(Float64, true), run: func(ctx context.Context, c *Check) error {
			return equalsDense(ctx, c, random(2, in, hotDeviation), exact)
		}},
		{name: "finite differences", limit: 1e-6, run: func(ctx context.Context, c *Check) error {
			return finiteDifference(ctx, c, random(3, in, 1), exact, 8)
		}},
		{name: "bits that differ in a second run", limit: 0, run: func(ctx context.Context, c *Check) error {
			return repeated(ctx, c, random(4, in, 1), own)
		}},
	}
	if shape.DType == Float32 {
		checks = append(checks, float32Checks(in, shape)...)
	}
	for _, c := range checks {
		if err := s.add(c.name, c.limit, c.run); err != nil {
			return s.report, err
		}
	}
	return s.report, nil
}

// problem is the shape's attention, without its numbers but for the sinks.
func (s Shape) problem() ringattn.DenseInputs {
	t := s.MaxTokens()
	in := ringattn.DenseInputs{
		Batch: s.Batch, Tokens: t, Heads: s.Heads, KVHeads: s.KVHeads, Dim: s.Dim, ValueDim: s.ValueDim, Scale: s.Scale,
		Causal: s.Causal, Window: s.Window, Softcap: s.Softcap, Dropout: s.Dropout, DropoutSeed: 1, Step: 2, Layer: 3,
	}
	if s.Packed {
		half := t / 2
		in.CuSeqlens = []int{0, half, min(half+1, t), min(half+1, t), min(half+1+t/3, t), t}
	}
	if s.Sinks {
		for h := range s.Heads {
			in.Sinks = append(in.Sinks, float64(h%3)-0.5)
		}
	}
	return in
}

// equalsDense compares one setup with the dense reference.
func equalsDense(ctx context.Context, c *Check, in ringattn.DenseInputs, s setup) error {
	got, _, err := attend(ctx, in, s)
	if err != nil {
		return fmt.Errorf("%s: %w", describe(in, s), err)
	}
	_, rel := compare(got, ringattn.Dense(in))
	c.observe(rel.Worst(), describe(in, s))
	return nil
}

func float32Checks(in ringattn.DenseInputs, shape Shape) []check {
	in = rounded(random(5, in, 1))
	inFloat32 := setup{Ring: shape.Ring, Layout: shape.Layout, DType: Float32, Way: shape.Way, Device: shape.Device}
	// of few numbers the error is a matter of luck
	plainLimit, ringLimit := 2.0, 1.1
	if n := len(in.Q); n < 1<<14 {
		plainLimit, ringLimit = 4, 2
	}
	return []check{
		{name: "float32 error / plain float32's", limit: plainLimit, run: func(ctx context.Context, c *Check) error {
			want := ringattn.Dense(in)
			return observeRatios(ctx, c, in, inFloat32, want, accuracy(ringattn.Dense32(in), want))
		}},
		{name: fmt.Sprintf("float32 error, W = %d / W = 1", shape.Ring), limit: ringLimit, run: func(ctx context.Context, c *Check) error {
			alone, _, err := attend(ctx, in, setup{Ring: 1, Layout: shard.Contiguous, DType: Float32, Device: shape.Device})
			if err != nil {
				return err
			}
			want := ringattn.Dense(in)
			return observeRatios(ctx, c, in, inFloat32, want, accuracy(alone, want))
		}},
	}
}
