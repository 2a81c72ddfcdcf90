package model

import (
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"gorgonia.org/tensor"
)

// Options of a Model.
type Options struct {
	Layout shard.Layout // how positions are dealt to ranks; "" is contiguous
	// AttentionDType is that of ringattn.Config: "" is T.
	AttentionDType ringattn.DType
	// Checkpoint asks for activation checkpointing. A Model always keeps only each layer's input and what attention saved (see
	// the package comment), so both values give the same.
	Checkpoint bool
	// Entered, where it is set, is told what the rank is about to compute: "forward, layer 1 of 24".
	Entered func(part string)
}

// Model is one rank's part of a model. Its methods are collective: all ranks of the communicator call them together with the same
// batch. One goroutine uses a Model at a time. After an error the ring is broken; make new ranks.
type Model[T ops.Float] struct {
	cfg    hf.Config
	comm   *dist.Comm
	layout shard.Layout
	dtype  ringattn.DType // of attention
	rank   int
	size   int

	chunkRows int               // most rows of a chunk
	entered   func(part string) // never nil

	embedding []T           // [vocabulary, hidden], shared
	dHead     []T           // gradient of the head's matrix, kept between steps: a heap seldom has so much room in one piece
	layers    []weightsOf   // this rank's headers over the weights of each layer
	norm, w   *tensor.Dense // of the head

	shapes      cache[batchShape, *shape[T]]
	projections cache[int, *projection[T]]
}

// New makes the part of comm's rank; a nil comm is one rank alone. The parameters are shared with the caller and other ranks.
func New[T ops.Float](cfg hf.Config, p *Params[T], comm *dist.Comm, o Options) (*Model[T], error) {
	if err := p.check(cfg); err != nil {
		return nil, err
	}
	if o.Layout == "" {
		o.Layout = shard.Contiguous
	}
	if _, err := shard.ParseLayout(string(o.Layout)); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	m := &Model[T]{cfg: cfg, comm: comm, layout: o.Layout, dtype: o.AttentionDType, size: 1, chunkRows: chunkRows}
	if m.entered = o.Entered; m.entered == nil {
		m.entered = func(string) {}
	}
	if comm != nil {
		m.rank, m.size = comm.Rank(), comm.Size()
	}
	get := func(name string) *tensor.Dense {
		t, _ := p.Get(name) // check has seen them all
		return header(t.Data, t.Shape...)
	}
	embedding, _ := p.Get(hf.EmbeddingName)
	m.embedding = embedding.Data
	headers := func(parameters []hf.Parameter) (list []*tensor.Dense) {
		for _, parameter := range parameters {
			t, _ := p.Get(parameter.Name)
			list = append(list, header(t.Data, shapeInGraph(parameter)...))
		}
		return list
	}
	for i := range cfg.NumLayers {
		m.layers = append(m.layers, weightsOf{cfg.Window(i), headers(attendParameters(cfg, i)), headers(feedParameters(cfg, i))})
	}
	m.norm, m.w = get(hf.NormName), get(m.headName())
	return m, nil
}

// headName is the parameter that the logits come from.
func (m *Model[T]) headName() string {
	if m.cfg.TieWordEmbeddings {
		return hf.EmbeddingName
	}
	return hf.HeadName
}

// Config is the model's config.
func (m *Model[T]) Config() hf.Config { return m.cfg }

// Sharding says which of T positions each rank holds; the order of a rank's local rows is its order.
func (m *Model[T]) Sharding(tokens int) shard.Sharding {
	s, err := shard.New(m.layout, tokens, m.size)
	if err != nil {
		panic(fmt.Sprintf("model: sharding of %d tokens: %v", tokens, err)) // layout and size were checked by New
	}
	return s
}

// Close frees the compiled graphs. The Model may still be used, and builds them again.
func (m *Model[T]) Close() error { return errors.Join(m.shapes.clear(), m.projections.clear()) }

// batchShape is what graphs are built for.
type batchShape struct{ b, t int }

// shape is everything a rank keeps for batches of one shape.
type shape[T ops.Float] struct {
	sharding shard.Sharding
	real     int // B·S, 0 where the rank has no rows
	rows     int // rows of the graphs: real, or B rows of padding
	layer    *layer[T]
	head     *head[T]

	// What the backward needs, made by a forward and let go of layer by layer: inputs of the layers and, last, of the head,
	// [rows, hidden] each, and what attention saved.
	x     [][]T
	saved []ringattn.Saved
}

func (s *shape[T]) close() error { return errors.Join(s.layer.close(), s.head.close()) }

// shape finds or builds the graphs for a batch.
func (m *Model[T]) shape(b Batch) (*shape[T], error) {
	return m.shapes.get(batchShape{b.B, b.T}, func() (*shape[T], error) {
		var s *shape[T]
		err := ops.Build(func() (err error) {
			s, err = m.build(b)
			return err
		})
		return s, err
	})
}

func (m *Model[T]) build(b Batch) (*shape[T], error) {
	s := &shape[T]{sharding: m.Sharding(b.T)}
	s.real = b.B * s.sharding.Len(m.rank)
	s.rows = max(s.real, b.B)
	table, err := rotations(m.cfg, s.sharding, m.rank, b.B)
	if err != nil {
		return nil, err
	}
	chunks := chunksOf(s.rows, m.chunkRows)
	plan := layerPlan{cfg: m.cfg, rows: s.rows, chunks: chunks, table: table, attention: ringattn.Config{
		NumHeads: m.cfg.NumHeads, NumKVHeads: m.cfg.NumKVHeads, Batch: b.B, Causal: true,
		SoftmaxScale: m.cfg.SoftmaxScale, Softcap: m.cfg.AttentionSoftcap,
		Layout: m.layout, DType: m.dtype, SeqLen: b.T, Comm: m.comm,
	}}
	if s.layer, err = newLayer[T](plan); err != nil {
		return nil, err
	}
	if s.head, err = newHead[T](m.cfg, chunks); err != nil {
		return nil, err
	}
	s.x, s.saved = make([][]T, m.cfg.NumLayers+1), make([]ringattn.Saved, m.cfg.NumLayers)
	return s, nil
}
