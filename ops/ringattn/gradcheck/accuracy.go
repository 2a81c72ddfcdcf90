package gradcheck

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn"
)

// accuracy is the float32 error of one problem: root mean squares relative to the float64 reference, tensor by tensor.
func accuracy(got, want ringattn.DenseResult) Errors {
	e := Errors{}
	g, w := tensors(got), tensors(want)
	for i := range w {
		e[names[i]] = rms(g[i], w[i])
	}
	return e
}

// accuracyProblem is large enough that errors average out, and small enough for the dense reference.
func (o Options) accuracyProblem(causal bool) ringattn.DenseInputs {
	in := ringattn.DenseInputs{Batch: 1, Tokens: 255, Heads: 4, KVHeads: 2, Dim: 32, ValueDim: 32, Causal: causal}
	if o.few() {
		in.Heads, in.KVHeads = 2, 1
	}
	if o.Full {
		in.Tokens, in.Dim, in.ValueDim = 1023, 64, 64
	}
	return rounded(random(11, in, 1))
}

// plainRatio is the ring's float32 error over that of a plain float32 program.
func (o Options) plainRatio(ctx context.Context, c *Check) error {
	for _, causal := range []bool{true, false} {
		in := o.accuracyProblem(causal)
		want := ringattn.Dense(in)
		plain := accuracy(ringattn.Dense32(in), want)
		for _, w := range fewer(o, []int{1, 8, 3}) {
			s := setup{Ring: w, Layout: shard.Zigzag, DType: Float32, Device: o.Device}
			if err := observeRatios(ctx, c, in, s, want, plain); err != nil {
				return err
			}
		}
	}
	return nil
}

// ringRatio is the float32 error of a ring of 8 over that of a ring of 1.
func (o Options) ringRatio(ctx context.Context, c *Check) error {
	for _, causal := range []bool{true, false} {
		in := o.accuracyProblem(causal)
		want := ringattn.Dense(in)
		got, _, err := attend(ctx, in, setup{Ring: 1, Layout: shard.Contiguous, DType: Float32, Device: o.Device})
		if err != nil {
			return err
		}
		alone := accuracy(got, want)
		for _, l := range o.Layouts {
			if err := observeRatios(ctx, c, in, setup{Ring: 8, Layout: l, DType: Float32, Device: o.Device}, want, alone); err != nil {
				return err
			}
		}
	}
	return nil
}

// observeRatios runs a setup and enters each tensor's error over the yardstick's.
func observeRatios(ctx context.Context, c *Check, in ringattn.DenseInputs, s setup, want ringattn.DenseResult, yardstick Errors) error {
	got, _, err := attend(ctx, in, s)
	if err != nil {
		return fmt.Errorf("%s: %w", describe(in, s), err)
	}
	for name, e := range accuracy(got, want) {
		if _, measured := yardstick[name]; !measured {
			continue
		}
		c.observe(ratio(e, yardstick[name]), describe(in, s)+", "+name)
	}
	return nil
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return incomparable
	}
	return min(a/b, incomparable)
}
