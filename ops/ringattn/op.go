package ringattn

import (
	"context"
	"fmt"
	"hash"
	"hash/fnv"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops/meter"
)

// Attention adds softmax(scale·QKᵀ)V to the graph of q, k and v, which are all [S, H*D], all [S, H, D] or all
// [B, S, H, D], token-major, with K heads for k and v, whose width Dv may differ from D; the result is q's shape with Dv
// for D. float32 and float64. Mismatches of dtype, shape, length or config are errors here, not when the graph runs.
func Attention(q, k, v *gorgonia.Node, cfg Config) (*gorgonia.Node, error) {
	out, _, err := Apply(q, k, v, cfg)
	return out, err
}

// Apply is Attention that also returns the op, the handle on what a run did.
func Apply(q, k, v *gorgonia.Node, cfg Config) (*gorgonia.Node, *Op, error) {
	op, err := newOp(q, k, v, cfg)
	if err != nil {
		return nil, nil, err
	}
	out, err := gorgonia.ApplyOp(op, op.nodes(q, k, v)...)
	if err != nil {
		return nil, nil, fmt.Errorf("ringattn: adding the op to the graph: %w", err)
	}
	return out, op, nil
}

// Op is one attention of a graph: a gorgonia.Op for both of its machines, and the handle on its last run. Its methods may
// be called between runs.
type Op struct {
	cfg    Config
	geo    geometry
	dims   int
	dtype  tensor.Dtype
	id     uint64
	engine engine

	mu              sync.Mutex
	ctx             context.Context
	err             error // the first, for good
	forwards, backs int
	fresh           bool // a forward has run that no backward has used
	at              moment
	replay          *Saved
	taken           []*tensor.Dense // dK, dV and dSinks, from the backward to the take ops
}

// nodes are the op's inputs.
func (o *Op) nodes(q, k, v *gorgonia.Node) gorgonia.Nodes {
	if o.cfg.Sinks == nil {
		return gorgonia.Nodes{q, k, v}
	}
	return gorgonia.Nodes{q, k, v, o.cfg.Sinks}
}

// ids makes every op's hash its own: gorgonia merges nodes of equal hash, and two ops never share a state.
var ids atomic.Uint64

func newOp(q, k, v *gorgonia.Node, cfg Config) (*Op, error) {
	if q == nil || k == nil || v == nil {
		return nil, fmt.Errorf("ringattn: q, k and v must be nodes, one is nil")
	}
	dt := q.Dtype()
	if known := cfg.DType == BFloat16 || cfg.DType == Float16; known && dt != tensor.Float32 {
		return nil, fmt.Errorf("ringattn: DType %s takes nodes of float32, these are %v", cfg.DType, dt)
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.EnsureDefaults()
	if k.Dtype() != dt || v.Dtype() != dt {
		return nil, fmt.Errorf("ringattn: q, k, v have dtypes %v, %v, %v; convert them to one", dt, k.Dtype(), v.Dtype())
	}
	if s := cfg.Sinks; s != nil && s.Dtype() != dt {
		return nil, fmt.Errorf("ringattn: Sinks are of dtype %v, q is of %v; convert them", s.Dtype(), dt)
	}
	geo, err := measure(q.Shape(), k.Shape(), v.Shape(), cfg)
	if err != nil {
		return nil, err
	}
	o := &Op{cfg: cfg, geo: geo, dims: len(geo.q), dtype: dt, id: ids.Add(1), ctx: cfg.Context}
	switch dt {
	case tensor.Float32:
		o.engine, err = newEngine[float32](geo, cfg)
	case tensor.Float64:
		o.engine, err = newEngine[float64](geo, cfg)
	default:
		err = fmt.Errorf("ringattn: dtype %v; give float32 or float64", dt)
	}
	return o, err
}

// guard runs one pass. A panic becomes an error, because gorgonia runs ops on goroutines where nobody can recover; any
// error is kept, because gorgonia's errors hide theirs from errors.Is; and it frees the other ranks.
func (o *Op) guard(pass string, f func() error) (err error) {
	defer meter.Start(meter.Attention).End()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		if err == nil {
			return
		}
		err = fmt.Errorf("ringattn: %s: %w", pass, err)
		o.mu.Lock()
		if o.err == nil {
			o.err = err
		}
		o.mu.Unlock()
		if o.cfg.Comm != nil {
			o.cfg.Comm.Abort(err)
		}
	}()
	return f()
}

// Do runs the forward pass.
func (o *Op) Do(in ...gorgonia.Value) (out gorgonia.Value, err error) {
	err = o.guard("forward", func() error {
		if len(in) != o.Arity() {
			return fmt.Errorf("%d inputs, want q, k, v and the sinks, if any: %d", len(in), o.Arity())
		}
		o.mu.Lock()
		ctx, replay, at := o.ctx, o.replay, o.at
		o.replay = nil
		o.mu.Unlock()

		var err error
		if replay != nil {
			out, err = o.engine.replay(*replay)
		} else {
			out, err = o.engine.forward(ctx, in, at)
		}
		if err != nil {
			return err
		}
		o.mu.Lock()
		o.fresh = true
		if replay == nil {
			o.forwards++
		}
		o.mu.Unlock()
		return nil
	})
	return out, err
}

// Arity is 3: q, k, v; with sinks 4.
func (o *Op) Arity() int {
	if o.cfg.Sinks == nil {
		return 3
	}
	return 4
}

// Type is Tensor a → Tensor a → Tensor a → Tensor a; the sinks are a vector before the result.
func (o *Op) Type() hm.Type { return hm.NewFnType(append(o.inputTypes(), typeOf(o.dims))...) }

func (o *Op) inputTypes() []hm.Type {
	ts := []hm.Type{typeOf(o.dims), typeOf(o.dims), typeOf(o.dims)}
	if o.cfg.Sinks != nil {
		ts = append(ts, typeOf(1))
	}
	return ts
}

// typeOf is a tensor of so many dimensions; all of an op are of one dtype.
func typeOf(dims int) hm.Type { return gorgonia.TensorType{Dims: dims, Of: hm.TypeVariable('a')} }

// InferShape returns the output's shape and refuses shapes other than those the op was built for.
func (o *Op) InferShape(ds ...gorgonia.DimSizer) (tensor.Shape, error) {
	shapes, err := gorgonia.DimSizersToShapes(ds)
	if err != nil {
		return nil, err
	}
	if len(shapes) != o.Arity() || !shapes[0].Eq(o.geo.q) || !shapes[1].Eq(o.geo.k) || !shapes[2].Eq(o.geo.v) {
		return nil, fmt.Errorf("ringattn: shapes %v, the op was built for %v, %v, %v", shapes, o.geo.q, o.geo.k, o.geo.v)
	}
	return o.geo.out.Clone(), nil
}

// ReturnsPtr is true: later ops may write into the output, which is a copy of what backward uses.
func (o *Op) ReturnsPtr() bool { return true }

// CallsExtern is false: the op allocates its output itself.
func (o *Op) CallsExtern() bool { return false }

// OverwritesInput is -1: inputs are never written.
func (o *Op) OverwritesInput() int { return -1 }

// WriteHash writes every field and the instance.
func (o *Op) WriteHash(h hash.Hash) {
	_, size := o.cfg.place()
	c := o.cfg
	_, _ = fmt.Fprintf(h, "ringattn{%d %v %v %v heads:%d/%d batch:%d causal:%t window:%v documents:%v mask:%v scale:%v softcap:%v alibi:%v sinks:%t "+
		"dropout:%v/%d/%d chunk:%v dtype:%s device:%s layout:%s shards:%t travel:%s ulysses:%d inner:%d seq:%d ring:%d comm:%t devices:%d}",
		o.id, o.dtype, o.geo.q, o.geo.k, o.geo.call.Heads, o.geo.call.KVHeads, o.geo.call.Batch, c.Causal, c.Window, c.CuSeqlens, c.Mask,
		o.geo.call.Scale, c.Softcap, c.ALiBiSlopes, c.Sinks != nil, c.Dropout, c.DropoutSeed, c.Layer, c.Chunk, c.DType, c.Device, c.Layout, c.Shards != nil, c.Travel,
		c.UlyssesSize, c.InnerRing, c.SeqLen, size, c.Comm != nil, c.Devices)
}

// Hashcode is the FNV-1a hash of WriteHash, as gorgonia's own ops have it.
func (o *Op) Hashcode() uint32 { return hashcode(o) }

func hashcode(o interface{ WriteHash(hash.Hash) }) uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

// String names the op in gorgonia's errors and pictures.
func (o *Op) String() string { return fmt.Sprintf("RingAttention#%d", o.id) }
