package ringattn

import (
	"fmt"
	"math"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"gorgonia.org/tensor"
)

// geometry is what the three nodes and the config agree on.
type geometry struct {
	call ring.Call
	rows int  // positions a node of this graph holds per sequence: S of this rank, or T in one graph
	pad  bool // the rank's shard is empty and the nodes' one row stands for it: gorgonia has no empty tensors
	out  tensor.Shape
	k, v tensor.Shape
	q    tensor.Shape
}

// measure checks the shapes of q, k and v against each other and against the config.
func measure(q, k, v tensor.Shape, c Config) (geometry, error) {
	if len(q) != len(k) || len(q) != len(v) {
		return geometry{}, fmt.Errorf("ringattn: q, k, v have %d, %d, %d dimensions; give the same form to all three", len(q), len(k), len(v))
	}
	g := geometry{q: q.Clone(), k: k.Clone(), v: v.Clone(), out: q.Clone()}
	var err error
	switch len(q) {
	case 2:
		err = g.fromRows(c)
	case 3, 4:
		err = g.fromHeads(c)
	default:
		err = fmt.Errorf("ringattn: q has shape %v; give [S, H*D], [S, H, D] or [B, S, H, D]", q)
	}
	if err != nil {
		return geometry{}, err
	}
	g.call.Causal, g.call.Scale, g.call.BFloat16 = c.Causal, c.SoftmaxScale, c.DType == BFloat16
	if g.call.Scale == 0 {
		g.call.Scale = 1 / math.Sqrt(float64(g.call.Dim))
	}
	if err := g.shard(c); err != nil {
		return geometry{}, err
	}
	if err := g.call.Validate(); err != nil {
		return geometry{}, fmt.Errorf("ringattn: q %v, k %v, v %v: %w", q, k, v, err)
	}
	return g, nil
}

// fromRows reads nodes of 2 dimensions: q [B*S, H*D], k [B*S, K*D], v [B*S, K*Dv].
func (g *geometry) fromRows(c Config) error {
	heads, kvHeads, batch := c.NumHeads, c.NumKVHeads, max(c.Batch, 1)
	if heads == 0 {
		return fmt.Errorf("ringattn: q %v has 2 dimensions, which do not show the heads; set NumHeads", g.q)
	}
	if kvHeads == 0 {
		kvHeads = heads
	}
	if err := g.sameLength(0); err != nil {
		return err
	}
	for _, w := range []struct {
		name         string
		width, heads int
	}{{"q", g.q[1], heads}, {"k", g.k[1], kvHeads}, {"v", g.v[1], kvHeads}} {
		if w.width%w.heads != 0 {
			return fmt.Errorf("ringattn: %s is %d wide, which is not a multiple of its %d heads", w.name, w.width, w.heads)
		}
	}
	if g.q[0]%batch != 0 {
		return fmt.Errorf("ringattn: q has %d rows, which are not a multiple of Batch %d", g.q[0], batch)
	}
	if qd, kd := g.q[1]/heads, g.k[1]/kvHeads; qd != kd {
		return fmt.Errorf("ringattn: q has head dim %d (%d over %d heads), k has %d (%d over %d KV heads)", qd, g.q[1], heads, kd, g.k[1], kvHeads)
	}
	g.rows = g.q[0] / batch
	g.call = ring.Call{Batch: batch, Heads: heads, KVHeads: kvHeads, Dim: g.q[1] / heads, ValueDim: g.v[1] / kvHeads}
	g.out[1] = heads * g.call.ValueDim
	return nil
}

// fromHeads reads nodes of 3 and 4 dimensions: q [S,H,D] or [B,S,H,D], k and v with K heads.
func (g *geometry) fromHeads(c Config) error {
	n := len(g.q)
	batch := 1
	if n == 4 {
		batch = g.q[0]
		if g.k[0] != batch || g.v[0] != batch {
			return fmt.Errorf("ringattn: q %v, k %v, v %v differ in batch", g.q, g.k, g.v)
		}
	}
	if err := g.sameLength(n - 3); err != nil {
		return err
	}
	heads, kvHeads, dim := g.q[n-2], g.k[n-2], g.q[n-1]
	if g.v[n-2] != kvHeads {
		return fmt.Errorf("ringattn: k has %d heads, v has %d", kvHeads, g.v[n-2])
	}
	if g.k[n-1] != dim {
		return fmt.Errorf("ringattn: q has head dim %d, k has %d", dim, g.k[n-1])
	}
	for _, f := range []struct {
		name       string
		want, have int
	}{{"NumHeads", c.NumHeads, heads}, {"NumKVHeads", c.NumKVHeads, kvHeads}, {"Batch", c.Batch, batch}} {
		if f.want != 0 && f.want != f.have {
			return fmt.Errorf("ringattn: %s is %d, but the nodes q %v, k %v have %d", f.name, f.want, g.q, g.k, f.have)
		}
	}
	g.rows = g.q[n-3]
	g.call = ring.Call{Batch: batch, Heads: heads, KVHeads: kvHeads, Dim: dim, ValueDim: g.v[n-1]}
	g.out[n-1] = g.call.ValueDim
	return nil
}

func (g *geometry) sameLength(axis int) error {
	if q, k, v := g.q[axis], g.k[axis], g.v[axis]; q != k || q != v {
		return fmt.Errorf("ringattn: q, k, v have %d, %d, %d rows; this is self-attention, give all three the same positions", q, k, v)
	}
	return nil
}

// shard fixes who holds which positions.
func (g *geometry) shard(c Config) error {
	rank, size := c.place()
	tokens := g.rows
	if c.Devices <= 1 && c.SeqLen != 0 {
		tokens = c.SeqLen
	}
	if c.Comm != nil && size > 1 && c.SeqLen == 0 {
		return fmt.Errorf("ringattn: Comm has %d ranks and SeqLen is 0: set SeqLen to the length of the whole sequence", size)
	}
	s, err := shard.New(c.Layout, tokens, size)
	if err != nil {
		return fmt.Errorf("ringattn: %w", err)
	}
	g.call.Sharding = s
	if c.Devices > 1 {
		return nil
	}
	want := s.Len(rank)
	g.pad = want == 0 && g.rows == 1
	if g.rows != want && !g.pad {
		return fmt.Errorf("ringattn: rank %d of %d holds %d of %d positions (%s), but q %v has %d rows per sequence",
			rank, size, want, tokens, c.Layout, g.q, g.rows)
	}
	return nil
}
