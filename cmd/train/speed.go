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
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/estimate"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// Sizes of the two measurements: long enough to be at full speed, short enough not to be noticed.
const (
	speedRows   = 512  // of a matrix product
	speedWidth  = 1024 // widest matrix
	speedTokens = 1024 // in attention
	speedHeads  = 4    // most heads
	speedRounds = 5
)

// measureSpeed times a matrix product and an attention of the model's shape, both forward and backward.
func measureSpeed(ctx context.Context, m hf.Config) (s estimate.Speed, err error) {
	if s.Products, err = productSpeed(m); err != nil {
		return s, err
	}
	s.Attention, err = attentionSpeed(ctx, m)
	return s, err
}

// productSpeed runs y = x·wᵀ and its gradients.
func productSpeed(m hf.Config) (float64, error) {
	in, out := min(m.HiddenSize, speedWidth), min(m.IntermediateSize, speedWidth)
	g := gorgonia.NewGraph()
	node := func(name string, shape ...int) *gorgonia.Node {
		value := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(noise(tensor.Shape(shape).TotalSize())))
		return gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithShape(shape...), gorgonia.WithName(name), gorgonia.WithValue(value))
	}
	x, w, dy := node("x", speedRows, in), node("w", out, in), node("dy", speedRows, out)
	y, err := ops.Linear(x, w, nil)
	if err != nil {
		return 0, err
	}
	if _, err := ops.Backpropagate(gorgonia.Nodes{y}, gorgonia.Nodes{dy}, gorgonia.Nodes{x, w}); err != nil {
		return 0, err
	}
	vm := gorgonia.NewTapeMachine(g)
	defer func() { _ = vm.Close() }()
	return gflops(6*speedRows*float64(in)*float64(out), func() error {
		defer vm.Reset()
		return vm.RunAll()
	})
}

// attentionSpeed runs causal attention on one rank.
func attentionSpeed(ctx context.Context, m hf.Config) (float64, error) {
	sharding, err := shard.New(shard.Contiguous, speedTokens, 1)
	if err != nil {
		return 0, err
	}
	heads := min(m.NumHeads, speedHeads)
	kvHeads := max(1, heads*m.NumKVHeads/m.NumHeads)
	for heads%kvHeads != 0 {
		kvHeads--
	}
	call := ring.Call{Batch: 1, Heads: heads, KVHeads: kvHeads, Dim: m.HeadDim, ValueDim: m.HeadDim,
		Scale: 1 / math.Sqrt(float64(m.HeadDim)), Causal: true, Sharding: sharding}
	rank, err := ring.NewRank[float32](nil, call)
	if err != nil {
		return 0, err
	}
	q, kv := speedTokens*heads*m.HeadDim, speedTokens*kvHeads*m.HeadDim
	in, dOut := ring.Inputs[float32]{Q: noise(q), K: noise(kv), V: noise(kv)}, noise(q)
	return gflops(3.5*2*speedTokens*float64(q), func() error {
		saved, err := rank.Forward(ctx, in)
		if err != nil {
			return err
		}
		_, err = rank.Backward(ctx, in, saved, dOut)
		return err
	})
}

// gflops is the median speed of work that takes the given operations.
func gflops(flops float64, work func() error) (float64, error) {
	seconds := make([]float64, speedRounds)
	for i := range seconds {
		start := time.Now()
		if err := work(); err != nil {
			return 0, err
		}
		seconds[i] = time.Since(start).Seconds()
	}
	slices.Sort(seconds)
	return flops / 1e9 / max(seconds[speedRounds/2], 1e-9), nil
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
