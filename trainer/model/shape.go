package model

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// batchShape is what graphs are built for. With the balanced layout the rows of a rank depend on the documents, too.
type batchShape struct{ b, t, rows int }

// shape is everything a rank keeps for batches of one shape.
type shape[T ops.Float] struct {
	sharding  shard.Sharding
	documents []int // of the batch that attention and rotations are set to
	table     *ops.RoPETable
	real      int // B·S, 0 where the rank has no rows
	rows      int // rows of the graphs: real, or B rows of padding
	layer     *layer[T]
	head      *head[T]

	// What the backward needs, made by a forward and let go of layer by layer: inputs of the layers and, last, of the head,
	// [rows, hidden] each, and what attention saved.
	x     [][]T
	saved []ringattn.Saved
}

func (s *shape[T]) close() error { return errors.Join(s.layer.close(), s.head.close()) }

// dealt is the last sharding: the batches of a run are often alike.
type dealt struct {
	tokens    int
	documents []int
	sharding  shard.Sharding
}

// Sharding says which positions of a batch's sequences each rank holds; the order of a rank's local rows is its order. All layers
// share it: balanced gives every rank the same work over all of them.
func (m *Model[T]) Sharding(b Batch) shard.Sharding {
	if d := m.dealt; d.tokens == b.T && d.tokens > 0 && slices.Equal(d.documents, b.Documents) {
		return d.sharding
	}
	s, err := m.deal(b)
	if err != nil {
		panic(fmt.Sprintf("model: sharding of %d tokens: %v", b.T, err)) // layout and size were checked by New, documents by the batch
	}
	m.dealt = dealt{b.T, slices.Clone(b.Documents), s}
	return s
}

// deal is the sharding of a batch's sequences.
func (m *Model[T]) deal(b Batch) (shard.Sharding, error) {
	windows := map[int]*mask.Mask{}
	masks := make([]*mask.Mask, m.cfg.NumLayers)
	for i := range masks {
		w := m.cfg.Window(i)
		if windows[w] == nil {
			var err error
			if windows[w], err = mask.New(mask.Spec{Causal: true, Window: windowOf(w), CuSeqlens: b.Documents}, b.T); err != nil {
				return shard.Sharding{}, err
			}
		}
		masks[i] = windows[w]
	}
	return ring.Deal(m.attention.Layout, b.T, m.size, 0, masks...)
}

// windowOf is a layer's window of so many positions up to the own one as masks have it; nil for 0, all.
func windowOf(positions int) *mask.Window {
	if positions == 0 {
		return nil
	}
	return &mask.Window{Left: positions - 1, Right: mask.Unbounded} // causal order bounds the right
}

// shape finds or builds the graphs for a batch, and sets them to its documents.
func (m *Model[T]) shape(b Batch) (*shape[T], error) {
	sharding := m.Sharding(b)
	s, err := m.shapes.get(batchShape{b.B, b.T, sharding.Len(m.rank)}, func() (s *shape[T], err error) {
		err = ops.Build(func() error {
			s, err = m.build(b, sharding)
			return err
		})
		return s, err
	})
	if err != nil || slices.Equal(s.documents, b.Documents) {
		return s, err
	}
	s.sharding, s.documents = sharding, slices.Clone(b.Documents)
	if err := s.layer.setDocuments(s.documents, m.shards(sharding)); err != nil {
		return nil, err
	}
	return s, rotate(s.table, m.cfg, s.positions(m.rank, b.B))
}

// shards is what a layer's attention is told of the sharding: balanced would deal by its own window alone.
func (m *Model[T]) shards(s shard.Sharding) *shard.Sharding {
	if m.attention.Layout != shard.Balanced {
		return nil
	}
	return &s
}

func (m *Model[T]) build(b Batch, sharding shard.Sharding) (*shape[T], error) {
	s := &shape[T]{sharding: sharding, documents: slices.Clone(b.Documents)}
	s.real = b.B * s.sharding.Len(m.rank)
	s.rows = max(s.real, b.B)
	s.table = newRotations(m.cfg, s.rows)
	if err := rotate(s.table, m.cfg, s.positions(m.rank, b.B)); err != nil {
		return nil, err
	}
	chunks := chunksOf(s.rows, m.chunkRows)
	attention := m.attention
	attention.Batch, attention.SeqLen, attention.CuSeqlens, attention.Shards = b.B, b.T, s.documents, m.shards(sharding)
	plan := layerPlan{cfg: m.cfg, rows: s.rows, chunks: chunks, table: s.table, attention: attention}
	var err error
	if s.layer, err = newLayer[T](plan); err != nil {
		return nil, err
	}
	if s.head, err = newHead[T](m.cfg, chunks); err != nil {
		return nil, err
	}
	s.x, s.saved = make([][]T, m.cfg.NumLayers+1), make([]ringattn.Saved, m.cfg.NumLayers)
	return s, nil
}

// positions lists the place in its document of each of a rank's rows, of all sequences; rows of padding are at 0.
func (s *shape[T]) positions(rank, batch int) []int {
	if s.sharding.Len(rank) == 0 {
		return make([]int, batch)
	}
	var positions []int
	for _, segment := range s.sharding.Segments(rank) {
		for i := range segment.Count {
			positions = append(positions, segment.At(i)-startOf(s.documents, segment.At(i)))
		}
	}
	return slices.Repeat(positions, batch)
}

// startOf is where the document of a position begins, among bounds of documents; 0 without them.
func startOf(documents []int, position int) int {
	next, _ := slices.BinarySearch(documents, position+1) // the first bound behind it
	if next == 0 {
		return 0
	}
	return documents[next-1]
}
