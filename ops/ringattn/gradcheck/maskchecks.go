package gradcheck

import (
	"context"
	"fmt"
	"slices"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// forMasks is what the checks of masks run where the caller leaves it open: the balanced layout, which goes by the mask, and every way
// through the ring too.
func (o Options) forMasks() Options {
	if o.few() && len(o.Ways) == 0 {
		o.Ways = fewer(o, []Way{{Travel: ring.Q}, {}})
		o.EnsureDefaults()
	}
	if len(o.Layouts) == 0 {
		o.Layouts = shard.Layouts()
	}
	if len(o.Ways) == 0 {
		o.Ways = []Way{{}, {Travel: ring.Q}, {Ulysses: 2}, {InnerRing: 2}}
		if o.Full {
			o.Ways = Ways(ring.Travels(), []int{1, 2, 4}, []int{1, 2})
		}
	}
	o.EnsureDefaults()
	return o
}

// maskChecks are the suite's lines about options.
func (o Options) maskChecks() []check {
	return []check{
		{name: "masks: ring = dense", limit: limit(o.exact(), false), run: o.masksAgainstDense(1)},
		{name: "masks: ring = dense, hot logits", limit: limit(o.exact(), true), run: o.masksAgainstDense(hotDeviation)},
		{name: "masks: ring = dense, a graph a rank", limit: limit(o.exact(), false), run: o.masksPerRank},
		{name: "masks: finite differences", limit: 1e-6, run: o.masksFinite, needs64: true},
		{name: "masks: float32 error / plain float32's", limit: 2, run: o.masksPlainRatio},
		{name: "masks: float32 error, W = 8 / W = 1", limit: 1.1, run: o.masksRingRatio},
		{name: "masks: bits that differ in a second run", limit: 0, run: o.masksRepeat},
	}
}

// small are rings of 4 and 3 if there are any, else the smallest.
func (o Options) small() (rings []int) {
	for _, w := range []int{4, 3} {
		if slices.Contains(o.Rings, w) {
			rings = append(rings, w)
		}
	}
	if rings == nil {
		rings = []int{slices.Min(o.Rings)}
	}
	return rings
}

func (o Options) maskLengths() []int {
	switch {
	case o.Quick, o.few():
		return []int{31}
	case o.Full:
		return []int{1, 2, 5, 16, 37, 64, 129}
	}
	return []int{1, 7, 37}
}

// masksAgainstDense compares every variant in every setup with the dense reference.
func (o Options) masksAgainstDense(deviation float64) func(context.Context, *Check) error {
	return func(ctx context.Context, c *Check) error {
		lengths := o.maskLengths()
		if deviation > 1 {
			lengths = lengths[len(lengths)-1:]
		}
		for _, tokens := range lengths {
			all := variants(tokens)
			if deviation > 1 {
				all = fewer(o, all)
			}
			for seed, v := range all {
				if err := o.denseRun(ctx, c, random(uint64(seed), v.DenseInputs, deviation)); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// masksPerRank builds a graph a rank for every variant.
func (o Options) masksPerRank(ctx context.Context, c *Check) error {
	for seed, v := range fewer(o, variants(19)) {
		if err := o.perRankRun(ctx, c, random(uint64(seed), v.DenseInputs, 1)); err != nil {
			return err
		}
	}
	return nil
}

// masksFinite checks gradients entry by entry, those of sinks too.
func (o Options) masksFinite(ctx context.Context, c *Check) error {
	all := variants(7)
	if o.Quick {
		all = all[len(all)-2:]
	}
	for seed, v := range all {
		in := v.DenseInputs
		in.Batch, in.Heads, in.KVHeads, in.Dim, in.ValueDim = 1, 2, min(in.KVHeads, 2), 3, 2
		if in.ALiBiSlopes != nil {
			in.ALiBiSlopes = slopes(in.Heads)
		}
		if in.Sinks != nil {
			in.Sinks = sinks(in.Heads)
		}
		in = random(uint64(seed), in, 1)
		for i, way := range o.Ways {
			s := setup{Ring: o.small()[0], Layout: o.Layouts[(seed+i)%len(o.Layouts)], DType: Float64, Way: way, Device: o.Device}
			if o.leavesOut(s, in) {
				continue
			}
			if err := finiteDifference(ctx, c, in, s, 0); err != nil {
				return fmt.Errorf("%s: %w", describe(in, s), err)
			}
		}
	}
	return nil
}

// accurate are the problems whose float32 error is measured: long enough for errors to average out. Sinks have few gradients, whose error
// is a matter of luck; they are compared with float64 only.
func (o Options) accurate() (all []ringattn.DenseInputs) {
	for seed, set := range []func(in *ringattn.DenseInputs){
		func(in *ringattn.DenseInputs) { in.Causal, in.CuSeqlens = true, documents(in.Tokens) },
		func(in *ringattn.DenseInputs) { in.Window = &mask.Window{Left: in.Tokens / 4, Right: in.Tokens / 8} },
		func(in *ringattn.DenseInputs) { in.Softcap = 2 },
		func(in *ringattn.DenseInputs) { in.ALiBiSlopes = slopes(in.Heads) },
		func(in *ringattn.DenseInputs) { in.Causal, in.Dropout = true, 0.2 },
		func(in *ringattn.DenseInputs) { in.Mask = sharedQuestion(in.Tokens) },
		func(in *ringattn.DenseInputs) { everything(in); in.Dim, in.ValueDim = 48, 32 },
	} {
		in := o.accuracyProblem(false)
		set(&in)
		all = append(all, rounded(random(uint64(seed), in, 1)))
	}
	return all
}

// ratios measures the float32 error of a setup of W ranks in both directions of travel.
func (o Options) ratios(ctx context.Context, c *Check, rings []int, yardstick func(in ringattn.DenseInputs, want ringattn.DenseResult) (Errors, error)) error {
	for _, in := range fewer(o, o.accurate()) {
		want := ringattn.Dense(in)
		alone, err := yardstick(in, want)
		if err != nil {
			return err
		}
		delete(alone, "d_sinks")
		for _, w := range rings {
			for i, travel := range []ring.Travel{ring.KV, ring.Q} {
				s := setup{Ring: w, Layout: o.Layouts[(w+i)%len(o.Layouts)], DType: Float32, Way: Way{Travel: travel}, Device: o.Device}
				if err := observeRatios(ctx, c, in, s, want, alone); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (o Options) masksPlainRatio(ctx context.Context, c *Check) error {
	return o.ratios(ctx, c, fewer(o, []int{1, 8, 3}), func(in ringattn.DenseInputs, want ringattn.DenseResult) (Errors, error) {
		return accuracy(ringattn.Dense32(in), want), nil
	})
}

func (o Options) masksRingRatio(ctx context.Context, c *Check) error {
	return o.ratios(ctx, c, []int{8}, func(in ringattn.DenseInputs, want ringattn.DenseResult) (Errors, error) {
		got, _, err := attend(ctx, in, setup{Ring: 1, Layout: shard.Contiguous, DType: Float32, Device: o.Device})
		return accuracy(got, want), err
	})
}

// masksRepeat runs everything again in every way.
func (o Options) masksRepeat(ctx context.Context, c *Check) error {
	for _, v := range fewer(o, variants(37)) {
		for i, way := range o.Ways {
			for _, w := range o.small() {
				s := setup{Ring: w, Layout: o.Layouts[i%len(o.Layouts)], DType: []string{Float32, o.exact()}[i%2], Way: way, Device: o.Device}
				in := random(uint64(i), v.DenseInputs, 1)
				if o.leavesOut(s, in) {
					continue
				}
				if err := repeated(ctx, c, in, s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
