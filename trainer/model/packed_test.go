package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// packedBounds has long and short documents, two of one token, and empty ones at the beginning, in between and at the end.
var packedBounds = []int{0, 0, 9, 10, 10, 23, 24, 29, 29}

// packedBatch is testBatch with documents, whose last tokens have no label.
func packedBatch(cfg hf.Config, bounds []int) Batch {
	b := testBatch(cfg, 1, bounds[len(bounds)-1])
	b.Documents = bounds
	for _, end := range bounds {
		if end > 0 {
			b.Labels[end-1] = IgnoreLabel
		}
	}
	return b
}

// documentsOf are the documents of a packed batch as batches of their own.
func documentsOf(b Batch) (documents []Batch) {
	for d := 1; d < len(b.Documents); d++ {
		if from, to := b.Documents[d-1], b.Documents[d]; from < to {
			documents = append(documents, Batch{IDs: b.IDs[from:to], Labels: b.Labels[from:to], B: 1, T: to - from})
		}
	}
	return documents
}

// stepped is what training on some batches gives: the sum of losses and of gradients, over all ranks and batches.
type stepped[T ops.Float] struct {
	loss  float64
	grads map[string][]T
}

func stepOn[T ops.Float](ctx context.Context, m *Model[T], c *dist.Comm, batches ...Batch) (stepped[T], error) {
	s := stepped[T]{grads: map[string][]T{}}
	for _, b := range batches {
		local, _, err := m.LossAndGrad(ctx, b, 0.1, func(name string, grad []T) error {
			if c != nil {
				if err := dist.AllReduce(ctx, c, grad); err != nil {
					return err
				}
			}
			if s.grads[name] == nil {
				s.grads[name] = make([]T, len(grad))
			}
			for i, g := range grad {
				s.grads[name][i] += g
			}
			return nil
		})
		if err != nil {
			return s, err
		}
		sum := []float64{local}
		if c != nil {
			if err := dist.AllReduce(ctx, c, sum); err != nil {
				return s, err
			}
		}
		s.loss += sum[0]
	}
	return s, nil
}

// far is the largest error of loss and gradients, each relative to the largest entry of its own.
func (s stepped[T]) far(want stepped[T]) (worst float64, at string) {
	worst, at = math.Abs(s.loss-want.loss)/want.loss, "loss"
	for name, grad := range want.grads {
		off, largest := 0.0, 1e-12
		for i, w := range grad {
			off, largest = max(off, math.Abs(float64(s.grads[name][i]-w))), max(largest, math.Abs(float64(w)))
		}
		if off/largest > worst || math.IsNaN(off) {
			worst, at = off/largest, name
		}
	}
	return worst, at
}

// everyRing runs f with the model of every rank of rings of 1 to 8 in all layouts.
func everyRing[T ops.Float](t *testing.T, cfg hf.Config, o Options, f func(ctx context.Context, m *Model[T], c *dist.Comm, at string) error) {
	t.Helper()
	p := Init[T](cfg, 1)
	for _, o.Layout = range shard.Layouts() {
		for size := 1; size <= 8; size++ {
			err := local.Run(t.Context(), size, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
				m, err := New(cfg, p, c, o)
				if err != nil {
					return err
				}
				return errors.Join(f(ctx, m, c, fmt.Sprintf("%s, %s, ring of %d", cfg.ModelType, o.Layout, size)), m.Close())
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestPackedDocumentsAreTheDocumentsOneByOne in loss and gradients, over all rings and layouts, with windows, caps and sinks, also
// when other documents of the same length were in the graphs before.
func TestPackedDocumentsAreTheDocumentsOneByOne(t *testing.T) {
	for _, change := range append([]map[string]any{{"model_type": "qwen3"}}, masked...) {
		packedIsOneByOne[float32](t, testConfig(t, change), 1e-5)
		packedIsOneByOne[float64](t, testConfig(t, change), 1e-10)
	}
}

func packedIsOneByOne[T ops.Float](t *testing.T, cfg hf.Config, limit float64) {
	t.Helper()
	b, before := packedBatch(cfg, packedBounds), packedBatch(cfg, []int{0, 14, 29})
	one, err := New(cfg, Init[T](cfg, 1), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := stepOn(t.Context(), one, nil, documentsOf(b)...)
	if err != nil {
		t.Fatal(err)
	}
	most := 0.0
	everyRing(t, cfg, Options{}, func(ctx context.Context, m *Model[T], c *dist.Comm, at string) error {
		if _, err := stepOn(ctx, m, c, before); err != nil {
			return err
		}
		got, err := stepOn(ctx, m, c, b)
		if off, name := got.far(want); err == nil && c.Rank() == 0 {
			most = max(most, off)
			if !(off <= limit) {
				t.Errorf("%T, %s: %s differs by %.2g of its largest entry, limit %g", *new(T), at, name, off, limit)
			}
		}
		return err
	})
	t.Logf("%T %s: packed differs from one by one by %.2g at most", *new(T), cfg.ModelType, most)
}

// TestDropoutDoesNotDependOnTheRing, and differs from step to step; evaluation has none.
func TestDropoutDoesNotDependOnTheRing(t *testing.T) {
	cfg := testConfig(t, map[string]any{"model_type": "gemma2", "head_dim": 6, "sliding_window": 4})
	b := packedBatch(cfg, packedBounds)
	later := b
	later.Step = 1
	o := Options{Dropout: 0.4, DropoutSeed: 3}
	one, err := New(cfg, Init[float64](cfg, 1), nil, o)
	if err != nil {
		t.Fatal(err)
	}
	var want [2]stepped[float64]
	for i, b := range []Batch{b, later} {
		if want[i], err = stepOn(t.Context(), one, nil, b); err != nil {
			t.Fatal(err)
		}
	}
	if want[0].loss == want[1].loss {
		t.Error("two steps drop the same")
	}
	plain, err := New(cfg, Init[float64](cfg, 1), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	whole, err := plain.Losses(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if evaluated, err := one.Losses(t.Context(), b); err != nil || !slices.Equal(evaluated, whole) {
		t.Errorf("evaluation drops something (%v)", err)
	}
	everyRing(t, cfg, o, func(ctx context.Context, m *Model[float64], c *dist.Comm, at string) error {
		for i, b := range []Batch{b, later} {
			got, err := stepOn(ctx, m, c, b)
			if err != nil {
				return err
			}
			if off, name := got.far(want[i]); c.Rank() == 0 && !(off <= 1e-10) {
				t.Errorf("%s: %s differs by %.2g of its largest entry", at, name, off)
			}
		}
		return nil
	})
}

// TestDropoutsGradientIsThatOfItsLoss moves weights of every kind and compares with the loss under the same step's dropout.
func TestDropoutsGradientIsThatOfItsLoss(t *testing.T) {
	cfg := testConfig(t, nil)
	p := Init[float64](cfg, 1)
	m, err := New(cfg, p, nil, Options{Dropout: 0.4, DropoutSeed: 3})
	if err != nil {
		t.Fatal(err)
	}
	b := packedBatch(cfg, packedBounds)
	b.Step = 7
	loss := func() stepped[float64] {
		s, err := stepOn(t.Context(), m, nil, b)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	grads := loss().grads
	for _, parameter := range p.All() {
		const step = 1e-5
		x, at := parameter.Data, len(parameter.Data)/2
		start := x[at]
		x[at] = start + step
		up := loss().loss
		x[at] = start - step
		down := loss().loss
		x[at] = start
		if got, want := grads[parameter.Name][at], 0.1*(up-down)/(2*step); math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
			t.Errorf("%s: gradient %v, differences say %v", parameter.Name, got, want)
		}
	}
}

// TestEveryWayRoundTheRingGivesTheSame: what travels, Ulysses and double rings.
func TestEveryWayRoundTheRingGivesTheSame(t *testing.T) {
	cfg := testConfig(t, map[string]any{"model_type": "gpt_oss", "head_dim": 6, "sliding_window": 5, "num_local_experts": 1, "num_experts_per_tok": 1, "swiglu_limit": 0.5})
	p := Init[float64](cfg, 1)
	b := packedBatch(cfg, packedBounds)
	one, err := New(cfg, p, nil, Options{Dropout: 0.3})
	if err != nil {
		t.Fatal(err)
	}
	want, err := stepOn(t.Context(), one, nil, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{
		{Travel: ring.Q}, {Travel: ring.Auto}, {UlyssesSize: 2}, {UlyssesSize: 2, Travel: ring.Q, InnerRing: 2}, {InnerRing: 4, Travel: ring.Q}, {InnerRing: 2},
	} {
		o.Dropout = 0.3
		for _, o.Layout = range []shard.Layout{shard.Zigzag, shard.Balanced} {
			err := local.Run(t.Context(), 8, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
				m, err := New(cfg, p, c, o)
				if err != nil {
					return err
				}
				got, err := stepOn(ctx, m, c, b)
				if off, name := got.far(want); err == nil && c.Rank() == 0 && !(off <= 1e-10) {
					t.Errorf("%+v: %s differs by %.2g of its largest entry", o, name, off)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestBadDocumentsAreNamed before anything is computed.
func TestBadDocumentsAreNamed(t *testing.T) {
	cfg := testConfig(t, nil)
	m := alone(t, cfg, Init[float32](cfg, 1))
	two := testBatch(cfg, 2, 4)
	two.Documents = []int{0, 4}
	short := testBatch(cfg, 1, 4)
	short.Documents = []int{0, 3}
	for want, b := range map[string]Batch{"a batch of 2 sequences with documents": two, "ends at 3, the sequence has 4": short} {
		if _, err := m.Losses(t.Context(), b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
