package main

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/estimate"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// Sizes of the two measurements. Rows and tokens double until the work takes long enough to be at full speed, which with small models
// on fast processors is late.
const (
	speedRows   = 512  // of a matrix product, at first
	speedWidth  = 1024 // widest matrix
	speedTokens = 1024 // in attention, at first
	speedHeads  = 4    // most heads
	speedRounds = 5
	speedTime   = 10 * time.Millisecond // long enough
	speedMost   = 8                     // times the first size, at most
)

// measureSpeed times a matrix product and an attention of the model's shape, both forward and backward.
func measureSpeed(ctx context.Context, m hf.Config) (s estimate.Speed, err error) {
	if s.Products, err = growing(speedRows, func(rows int) (timing, error) { return productSpeed(m, rows) }); err != nil {
		return s, err
	}
	s.Attention, err = growing(speedTokens, func(tokens int) (timing, error) { return attentionSpeed(ctx, m, tokens) })
	return s, err
}

// timing is what a measurement found.
type timing struct{ seconds, gflops float64 }

// growing measures with twice the size until that takes long enough.
func growing(size int, measure func(size int) (timing, error)) (gflops float64, err error) {
	for most := size * speedMost; ; size *= 2 {
		t, err := measure(size)
		if err != nil || t.seconds >= speedTime.Seconds() || size >= most {
			return t.gflops, err
		}
	}
}

// productSpeed runs y = x·wᵀ and its gradients.
func productSpeed(m hf.Config, rows int) (timing, error) {
	in, out := min(m.HiddenSize, speedWidth), min(m.IntermediateSize, speedWidth)
	g := gorgonia.NewGraph()
	node := func(name string, shape ...int) *gorgonia.Node {
		value := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(noise(tensor.Shape(shape).TotalSize())))
		return gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithShape(shape...), gorgonia.WithName(name), gorgonia.WithValue(value))
	}
	x, w, dy := node("x", rows, in), node("w", out, in), node("dy", rows, out)
	y, err := ops.Linear(x, w, nil)
	if err != nil {
		return timing{}, err
	}
	if _, err := ops.Backpropagate(gorgonia.Nodes{y}, gorgonia.Nodes{dy}, gorgonia.Nodes{x, w}); err != nil {
		return timing{}, err
	}
	vm := gorgonia.NewTapeMachine(g)
	defer func() { _ = vm.Close() }()
	return timed(6*float64(rows)*float64(in)*float64(out), func() error {
		defer vm.Reset()
		return vm.RunAll()
	})
}

// attentionSpeed runs causal attention on one rank, with the window of the first layer if it has one.
func attentionSpeed(ctx context.Context, m hf.Config, tokens int) (timing, error) {
	sharding, err := shard.New(shard.Contiguous, tokens, 1)
	if err != nil {
		return timing{}, err
	}
	spec, pairs := mask.Spec{Causal: true}, float64(tokens)*float64(tokens)/2
	if w := m.Window(0); w > 0 {
		spec.Window = &mask.Window{Left: w - 1, Right: mask.Unbounded}
		short := float64(min(w, tokens))
		pairs = short * (float64(tokens) - short/2)
	}
	seen, err := mask.New(spec, tokens)
	if err != nil {
		return timing{}, err
	}
	heads := min(m.NumHeads, speedHeads)
	kvHeads := max(1, heads*m.NumKVHeads/m.NumHeads)
	for heads%kvHeads != 0 {
		kvHeads--
	}
	call := ring.Call{Batch: 1, Heads: heads, KVHeads: kvHeads, Dim: m.HeadDim, ValueDim: m.HeadDim,
		Scale: 1 / math.Sqrt(float64(m.HeadDim)), Mask: seen, Softcap: m.AttentionSoftcap, Sharding: sharding}
	rank, err := ring.NewRank[float32](nil, call)
	if err != nil {
		return timing{}, err
	}
	q, kv := tokens*heads*m.HeadDim, tokens*kvHeads*m.HeadDim
	in, dOut := ring.Inputs[float32]{Q: noise(q), K: noise(kv), V: noise(kv)}, noise(q)
	return timed(3.5*4*pairs*float64(heads*m.HeadDim), func() error {
		saved, err := rank.Forward(ctx, in)
		if err != nil {
			return err
		}
		_, err = rank.Backward(ctx, in, saved, dOut)
		return err
	})
}

// timed is the median of rounds of work that takes the given operations.
func timed(flops float64, work func() error) (timing, error) {
	seconds := make([]float64, speedRounds)
	for i := range seconds {
		start := time.Now()
		if err := work(); err != nil {
			return timing{}, err
		}
		seconds[i] = time.Since(start).Seconds()
	}
	slices.Sort(seconds)
	median := max(seconds[speedRounds/2], 1e-9)
	return timing{median, flops / 1e9 / median}, nil
}

// noise is normal and the same on every call.
func noise(n int) []float32 {
	random := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64())
	}
	return x
}
