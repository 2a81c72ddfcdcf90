package ringattn

import (
	"fmt"
	"math"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"gorgonia.org/tensor"
)

// geometry is what the nodes and the config agree on.
type geometry struct {
	call    ring.Call
	queries axis // the rows of q and of the output
	keys    axis // those of k and v
	out     tensor.Shape
	k, v    tensor.Shape
	q       tensor.Shape
}

// axis is one side of the attention as the nodes of this graph hold it.
type axis struct {
	sharding shard.Sharding
	rows     int  // positions a node holds per sequence: S of this rank, or T in one graph
	pad      bool // the rank's shard is empty and the nodes' one row stands for it: gorgonia has no empty tensors
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
	g.call.Scale, g.call.Device, g.call.DType, g.call.Softcap, g.call.Slopes = c.SoftmaxScale, c.Device, c.DType, c.Softcap, c.ALiBiSlopes
	g.call.Sinks, g.call.Dropout = c.Sinks != nil, ring.Dropout{P: c.Dropout, Seed: c.DropoutSeed, Layer: c.Layer}
	g.call.Travel, g.call.Ulysses, g.call.Inner = c.Travel, c.UlyssesSize, c.InnerRing
	if g.call.Scale == 0 {
		g.call.Scale = 1 / math.Sqrt(float64(g.call.Dim))
	}
	if c.CuSeqlens != nil && g.call.Batch > 1 {
		return geometry{}, fmt.Errorf("ringattn: q has shape %v, a batch of %d, with CuSeqlens: documents are packed into a batch of 1", q, g.call.Batch)
	}
	if s := c.Sinks; s != nil && !s.Shape().Eq(tensor.Shape{g.call.Heads}) {
		return geometry{}, fmt.Errorf("ringattn: Sinks have shape %v, want one for each of the %d query heads: %v", s.Shape(), g.call.Heads, tensor.Shape{g.call.Heads})
	}
	if err := g.shard(c); err != nil {
		return geometry{}, err
	}
	if err := g.call.Validate(); err != nil {
		return geometry{}, fmt.Errorf("ringattn: q %v, k %v, v %v: %w", q, k, v, err)
	}
	g.call = g.call.Prepare()
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
	if err := g.sameLength(0, c.Chunk != nil); err != nil {
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
	for _, x := range []struct {
		name string
		rows int
	}{{"q", g.q[0]}, {"k", g.k[0]}} {
		if x.rows%batch != 0 {
			return fmt.Errorf("ringattn: %s has %d rows, which are not a multiple of Batch %d", x.name, x.rows, batch)
		}
	}
	if qd, kd := g.q[1]/heads, g.k[1]/kvHeads; qd != kd {
		return fmt.Errorf("ringattn: q has head dim %d (%d over %d heads), k has %d (%d over %d KV heads)", qd, g.q[1], heads, kd, g.k[1], kvHeads)
	}
	g.queries.rows, g.keys.rows = g.q[0]/batch, g.k[0]/batch
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
	if err := g.sameLength(n-3, c.Chunk != nil); err != nil {
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
	g.queries.rows, g.keys.rows = g.q[n-3], g.k[n-3]
	g.call = ring.Call{Batch: batch, Heads: heads, KVHeads: kvHeads, Dim: dim, ValueDim: g.v[n-1]}
	g.out[n-1] = g.call.ValueDim
	return nil
}

func (g *geometry) sameLength(axis int, chunk bool) error {
	q, k, v := g.q[axis], g.k[axis], g.v[axis]
	if k != v {
		return fmt.Errorf("ringattn: q, k, v have %d, %d, %d rows; give k and v the same positions", q, k, v)
	}
	if q != k && !chunk {
		return fmt.Errorf("ringattn: q, k, v have %d, %d, %d rows; this is self-attention, give all three the same positions, or set Chunk", q, k, v)
	}
	return nil
}

// shard fixes the mask and who holds which positions.
func (g *geometry) shard(c Config) error {
	rank, size := c.place()
	tokens, queries := g.keys.rows, g.queries.rows
	if c.Devices <= 1 && c.SeqLen != 0 {
		tokens = c.SeqLen
		if c.Chunk == nil {
			queries = tokens
		}
	}
	if c.Comm != nil && size > 1 && c.SeqLen == 0 {
		return fmt.Errorf("ringattn: Comm has %d ranks and SeqLen is 0: set SeqLen to the length of the whole sequence", size)
	}
	if err := g.chunk(c, &queries, size); err != nil {
		return err
	}
	m, err := mask.New(c.spec(), tokens)
	if err != nil {
		return fmt.Errorf("ringattn: %w", err)
	}
	g.call.Mask = m
	if g.keys.sharding, err = c.deal(tokens, size, m); err == nil {
		g.queries.sharding = g.keys.sharding
		if c.Chunk != nil {
			g.queries.sharding, err = ring.Deal(c.Layout, queries, size, c.Chunk.Offset, m)
			g.call.Queries, g.call.QueryOffset = g.queries.sharding, c.Chunk.Offset
		}
	}
	if err != nil {
		return fmt.Errorf("ringattn: %w", err)
	}
	g.call.Sharding = g.keys.sharding
	if c.Devices > 1 {
		return nil
	}
	if err := g.queries.settle(rank, "q", g.q); err != nil {
		return err
	}
	return g.keys.settle(rank, "k", g.k)
}

// chunk checks where the queries lie.
func (g *geometry) chunk(c Config, queries *int, size int) error {
	switch {
	case c.Chunk == nil:
		return nil
	case c.Comm != nil && size > 1 && c.Chunk.Len == 0:
		return fmt.Errorf("ringattn: Comm has %d ranks and Chunk.Len is 0: set it to the number of queries of all ranks", size)
	case c.Comm != nil && size > 1:
		*queries = c.Chunk.Len
	case c.Chunk.Len != 0 && c.Chunk.Len != *queries:
		return fmt.Errorf("ringattn: Chunk.Len is %d, q %v has %d rows", c.Chunk.Len, g.q, *queries)
	}
	return nil
}

// Sharding says which positions each of so many ranks holds of the keys of a sequence, and of its queries unless there is a Chunk: what
// an SPMD graph needs to know of its nodes.
func (c Config) Sharding(tokens, ranks int) (shard.Sharding, error) {
	m, err := mask.New(c.spec(), tokens)
	if err != nil {
		return shard.Sharding{}, fmt.Errorf("ringattn: %w", err)
	}
	return c.deal(tokens, ranks, m)
}

// QuerySharding says which of the Chunk's queries each of so many ranks holds, for a sequence of so many keys.
func (c Config) QuerySharding(tokens, ranks int) (shard.Sharding, error) {
	if c.Chunk == nil {
		return c.Sharding(tokens, ranks)
	}
	m, err := mask.New(c.spec(), tokens)
	if err != nil {
		return shard.Sharding{}, fmt.Errorf("ringattn: %w", err)
	}
	return ring.Deal(c.Layout, c.Chunk.Len, ranks, c.Chunk.Offset, m)
}

// deal is the sharding of the keys.
func (c Config) deal(tokens, ranks int, m *mask.Mask) (shard.Sharding, error) {
	s := c.Shards
	if s == nil {
		return ring.Deal(c.Layout, tokens, ranks, 0, m)
	}
	if s.Tokens() != tokens || s.Ranks() != ranks {
		return shard.Sharding{}, fmt.Errorf("the Shards deal %d tokens to %d ranks, here are %d and %d", s.Tokens(), s.Ranks(), tokens, ranks)
	}
	return *s, nil
}

// settle compares the rows of a node with the rank's shard.
func (a *axis) settle(rank int, name string, shape tensor.Shape) error {
	s := a.sharding
	want := s.Len(rank)
	a.pad = want == 0 && a.rows == 1
	if a.rows != want && !a.pad {
		return fmt.Errorf("ringattn: rank %d of %d holds %d of %d positions (%s), but %s %v has %d rows per sequence",
			rank, s.Ranks(), want, s.Tokens(), s.Layout(), name, shape, a.rows)
	}
	return nil
}
