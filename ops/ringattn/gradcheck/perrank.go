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
		if err := o.perRankRun(ctx, c, in); err != nil {
			return err
		}
	}
	return nil
}

func (o Options) perRankRun(ctx context.Context, c *Check, in ringattn.DenseInputs) error {
	want := ringattn.Dense(in)
	for _, s := range o.setups() {
		if o.leavesOut(s, in) {
			continue
		}
		got, err := attendPerRank(ctx, in, s)
		if err != nil {
			return fmt.Errorf("%s: %w", describe(in, s), err)
		}
		_, rel := compare(got, want)
		c.observe(rel.Worst(), describe(in, s))
	}
	return nil
}

// attendPerRank runs a problem through as many graphs as there are ranks, and puts their rows together.
func attendPerRank(ctx context.Context, in ringattn.DenseInputs, s setup) (ringattn.DenseResult, error) {
	cfg := in.Config(s.config(ctx))
	keys, err := cfg.Sharding(in.Tokens, s.Ring)
	if err != nil {
		return ringattn.DenseResult{}, err
	}
	queries, err := cfg.QuerySharding(in.Tokens, s.Ring)
	if err != nil {
		return ringattn.DenseResult{}, err
	}
	all := ringattn.DenseResult{
		Out: make([]float64, len(in.DOut)), LSE: make([]float64, in.Batch*in.Heads*in.Queries()),
		DQ: make([]float64, len(in.Q)), DK: make([]float64, len(in.K)), DV: make([]float64, len(in.V)),
	}
	sinks := make([][]float64, s.Ring)
	err = local.Run(ctx, s.Ring, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		q, kv := portion{queries, c.Rank()}, portion{keys, c.Rank()}
		cfg := s.config(ctx)
		cfg.Devices, cfg.SeqLen, cfg.Comm = 0, in.Tokens, c
		x, err := newSessionOf(part(in, q, kv), q.rows(), kv.rows(), s.DType, cfg)
		if err != nil {
			return err
		}
		defer x.close()
		r, err := x.run()
		if err == nil {
			put(all, r, in, q, kv)
			sinks[c.Rank()] = r.DSinks
		}
		return err
	})
	if in.Sinks != nil {
		all.DSinks = make([]float64, in.Heads)
		for _, r := range sinks {
			for h, x := range r {
				all.DSinks[h] += x
			}
		}
	}
	return all, err
}

// portion is the rows of one rank.
type portion struct {
	sharding shard.Sharding
	rank     int
}

// rows is how many rows a node has: an empty shard is one row of zeros, because gorgonia has no empty tensors.
func (p portion) rows() int { return max(p.sharding.Len(p.rank), 1) }

// cut returns the portion of an array [batch, all rows, width].
func (p portion) cut(x []float64, batch, width int) (out []float64) {
	if p.sharding.Len(p.rank) == 0 {
		return make([]float64, batch*width)
	}
	n := p.sharding.Tokens() * width
	for b := range batch {
		out = append(out, shard.Scatter(p.sharding, p.rank, x[b*n:][:n], width)...)
	}
	return out
}

// paste writes the portion into an array [batch, all rows, width].
func (p portion) paste(to, from []float64, batch, width int) {
	if p.sharding.Len(p.rank) == 0 {
		return
	}
	n, m := p.sharding.Tokens()*width, p.sharding.Len(p.rank)*width
	for b := range batch {
		shard.Gather(p.sharding, p.rank, from[b*m:][:m], to[b*n:][:n], width)
	}
}

// part is a problem with the data of one rank's queries and keys.
func part(in ringattn.DenseInputs, q, kv portion) ringattn.DenseInputs {
	in.Q, in.DOut = q.cut(in.Q, in.Batch, in.Heads*in.Dim), q.cut(in.DOut, in.Batch, in.Heads*in.ValueDim)
	in.K, in.V = kv.cut(in.K, in.Batch, in.KVHeads*in.Dim), kv.cut(in.V, in.Batch, in.KVHeads*in.ValueDim)
	return in
}

// put writes a rank's rows into the whole. Ranks write different rows, so they may do so at once.
func put(all, r ringattn.DenseResult, in ringattn.DenseInputs, q, kv portion) {
	q.paste(all.Out, r.Out, in.Batch, in.Heads*in.ValueDim)
	q.paste(all.LSE, r.LSE, in.Batch*in.Heads, 1)
	q.paste(all.DQ, r.DQ, in.Batch, in.Heads*in.Dim)
	kv.paste(all.DK, r.DK, in.Batch, in.KVHeads*in.Dim)
	kv.paste(all.DV, r.DV, in.Batch, in.KVHeads*in.ValueDim)
}
