package model

import (
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"gorgonia.org/tensor"
)

// Options of a Model.
type Options struct {
	Layout shard.Layout // how positions are dealt to ranks; "" is contiguous
	// Device and AttentionDType are those of ringattn.Config: "" is the CPU, and T.
	Device         ring.Device
	AttentionDType ringattn.DType
	// Travel, UlyssesSize and InnerRing are those of ringattn.Config.
	Travel                 ring.Travel
	UlyssesSize, InnerRing int
	// Dropout of attention weights in LossAndGrad, from 0 to below 1. Which pairs go follows from DropoutSeed, Batch.Step, the layer and
	// the positions, whatever the ring.
	Dropout     float64
	DropoutSeed uint64
	// Checkpoint asks for activation checkpointing. A Model always keeps only each layer's input and what attention saved (see
	// the package comment), so both values give the same.
	Checkpoint bool
	// Entered, where it is set, is told what the rank is about to compute: "forward, layer 1 of 24".
	Entered func(part string)
}

// Model is one rank's part of a model. Its methods are collective: all ranks of the communicator call them together with the same
// batch. One goroutine uses a Model at a time. After an error the ring is broken; make new ranks.
type Model[T ops.Float] struct {
	cfg       hf.Config
	comm      *dist.Comm
	attention ringattn.Config // of all layers and batches
	rank      int
	size      int

	chunkRows int               // most rows of a chunk
	entered   func(part string) // never nil

	embedding []T           // [vocabulary, hidden], shared
	dHead     []T           // gradient of the head's matrix, kept between steps: a heap seldom has so much room in one piece
	layers    []weightsOf   // this rank's headers over the weights of each layer
	norm, w   *tensor.Dense // of the head

	dealt       dealt
	shapes      cache[batchShape, *shape[T]]
	projections cache[int, *projection[T]]
}

// New makes the part of comm's rank; a nil comm is one rank alone. The parameters are shared with the caller and other ranks.
func New[T ops.Float](cfg hf.Config, p *Params[T], comm *dist.Comm, o Options) (*Model[T], error) {
	if err := p.check(cfg); err != nil {
		return nil, err
	}
	m := &Model[T]{cfg: cfg, comm: comm, size: 1, chunkRows: chunkRows, attention: ringattn.Config{
		NumHeads: cfg.NumHeads, NumKVHeads: cfg.NumKVHeads, Causal: true, SoftmaxScale: cfg.SoftmaxScale, Softcap: cfg.AttentionSoftcap,
		Layout: o.Layout, Device: o.Device, DType: o.AttentionDType, Travel: o.Travel, UlyssesSize: o.UlyssesSize, InnerRing: o.InnerRing,
		Dropout: o.Dropout, DropoutSeed: o.DropoutSeed, Comm: comm,
	}}
	m.attention.EnsureDefaults()
	if err := m.attention.Validate(); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
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
		m.layers = append(m.layers, weightsOf{i, cfg.Window(i), headers(attendParameters(cfg, i)), headers(feedParameters(cfg, i))})
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

// Close frees the compiled graphs. The Model may still be used, and builds them again.
func (m *Model[T]) Close() error { return errors.Join(m.shapes.clear(), m.projections.clear()) }
