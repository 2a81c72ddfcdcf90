package gradcheck

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn"
)

// graphPerRank checks the other way into the op, where every rank builds a graph over its own rows.
func (o Options) graphPerRank(ctx context.Context, c *Check) error {
	for _, causal := range []bool{true, false} {
		in := random(5, ringattn.DenseInputs{Batch: 2, Tokens: 19, Heads: 4, KVHeads: 2, Dim: 8, ValueDim: 6, Causal: causal}, 1)
		want := ringattn.Dense(in)
		for _, l := range o.Layouts {
			for _, w := range o.Rings {
				s := setup{Ring: w, Layout: l, DType: Float64}
				got, err := attendPerRank(ctx, in, s)
				if err != nil {
					return fmt.Errorf("%s: %w", describe(in, s), err)
				}
				_, rel := compare(got, want)
				c.observe(rel.Worst(), describe(in, s))
			}
		}
	}
	return nil
}

// attendPerRank runs a problem through as many graphs as there are ranks, and puts their rows together.
func attendPerRank(ctx context.Context, in ringattn.DenseInputs, s setup) (ringattn.DenseResult, error) {
	sharding, err := in.Config(ringattn.Config{Layout: s.Layout}).Sharding(in.Tokens, s.Ring)
	if err != nil {
		return ringattn.DenseResult{}, err
	}
	all := ringattn.DenseResult{
		Out: make([]float64, len(in.DOut)), LSE: make([]float64, in.Batch*in.Heads*in.Tokens),
		DQ: make([]float64, len(in.Q)), DK: make([]float64, len(in.K)), DV: make([]float64, len(in.V)),
	}
	err = local.Run(ctx, s.Ring, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		p := portion{sharding, c.Rank()}
		x, err := newSession(p.of(in), s.DType, ringattn.Config{Layout: s.Layout, SeqLen: in.Tokens, Comm: c, Context: ctx})
		if err != nil {
			return err
		}
		defer x.close()
		r, err := x.run()
		if err == nil {
			p.put(all, r, in)
		}
		return err
	})
	return all, err
}

// portion is the rows of one rank.
type portion struct {
	sharding shard.Sharding
	rank     int
}

// of cuts the rank's rows out of a problem. An empty shard becomes one row of zeros, because gorgonia has no empty tensors.
func (p portion) of(in ringattn.DenseInputs) ringattn.DenseInputs {
	rows := p.sharding.Len(p.rank)
	cut := func(x []float64, width int) []float64 {
		if rows == 0 {
			return make([]float64, in.Batch*width)
		}
		var out []float64
		n := in.Tokens * width
		for b := range in.Batch {
			out = append(out, shard.Scatter(p.sharding, p.rank, x[b*n:][:n], width)...)
		}
		return out
	}
	part := in
	part.Tokens = max(rows, 1)
	part.Q, part.K = cut(in.Q, in.Heads*in.Dim), cut(in.K, in.KVHeads*in.Dim)
	part.V, part.DOut = cut(in.V, in.KVHeads*in.ValueDim), cut(in.DOut, in.Heads*in.ValueDim)
	return part
}

// put writes the rank's rows into the whole. Ranks write different rows, so they may do so at once.
func (p portion) put(all, r ringattn.DenseResult, in ringattn.DenseInputs) {
	rows := p.sharding.Len(p.rank)
	if rows == 0 {
		return
	}
	paste := func(to, from []float64, blocks, width int) {
		n, m := in.Tokens*width, rows*width
		for b := range blocks {
			shard.Gather(p.sharding, p.rank, from[b*m:][:m], to[b*n:][:n], width)
		}
	}
	paste(all.Out, r.Out, in.Batch, in.Heads*in.ValueDim)
	paste(all.LSE, r.LSE, in.Batch*in.Heads, 1)
	paste(all.DQ, r.DQ, in.Batch, in.Heads*in.Dim)
	paste(all.DK, r.DK, in.Batch, in.KVHeads*in.Dim)
	paste(all.DV, r.DV, in.Batch, in.KVHeads*in.ValueDim)
}
