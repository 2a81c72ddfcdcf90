package ringattn

import (
	"context"
	"fmt"
	"maps"
	"unsafe"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"gorgonia.org/gorgonia"
)

// Counts returns how often the op went round the ring forward and backward. A replayed forward does not count.
func (o *Op) Counts() (forward, backward int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.forwards, o.backs
}

// Err returns the op's first error, for good; errors.Is and errors.As see through it, which they do not through the error
// that gorgonia's RunAll returns.
func (o *Op) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// SetContext replaces the context of later runs; nil means context.Background().
func (o *Op) SetContext(ctx context.Context) {
	if ctx == nil {
		ctx = context.Background()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ctx = ctx
}

// SetStep tells dropout the step of training, and which layer of a model the next run is where one op serves several. Both are of the
// runs from then on; a backward has those of its forward.
func (o *Op) SetStep(step uint64, layer int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at = moment{step: step, layer: layer}
}

// SetEvaluation says that the runs from now on drop nothing, until SetStep.
func (o *Op) SetEvaluation() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.at = moment{keepAll: true}
}

// SetDocuments replaces Config.CuSeqlens for later runs; all ranks must set the same. It is an error if that gives this rank another
// number of rows than its nodes have, which only a balanced layout can.
func (o *Op) SetDocuments(cuSeqlens []int) error { return o.SetDocumentsOver(cuSeqlens, o.cfg.Shards) }

// SetDocumentsOver is SetDocuments that replaces Config.Shards as well; nil leaves it to the layout.
func (o *Op) SetDocumentsOver(cuSeqlens []int, shards *shard.Sharding) error {
	cfg := o.cfg
	cfg.CuSeqlens, cfg.Shards = cuSeqlens, shards
	geo, err := measure(o.geo.q, o.geo.k, o.geo.v, cfg)
	if err != nil {
		return err
	}
	if err := o.engine.reshape(geo); err != nil {
		return err
	}
	o.cfg, o.geo = cfg, geo
	return nil
}

// Plan says what the op sends where.
func (o *Op) Plan() *ring.Plan { return o.geo.call.Plan() }

// Ledger is what the last forward and the last backward sent, by kind: the hops of a rank; the tensors, the bytes and the
// time blocked of all ranks that this op ran, which is one in SPMD.
type Ledger map[dist.Kind]dist.Entry

// Ledger returns a copy of the ledger of the last run. One rank alone sends nothing.
func (o *Op) Ledger() Ledger { return o.engine.sent() }

// LSE returns the log-sum-exp of every row of the last forward, [B,H,S], or [B,H,T] with Devices; nil before the first.
func (o *Op) LSE() []float64 { return o.engine.lse() }

// Saved is the output and the log-sum-exp of one forward of one op, all that a backward needs beyond the inputs. It
// stays as it is whatever the graph does to its values, and may be kept for as long as wanted.
type Saved struct {
	ranks any // []*ring.Saved[T]
	bytes int64
}

// Bytes is the memory that s keeps alive.
func (s Saved) Bytes() int64 { return s.bytes }

// Saved returns what the last forward saved; the zero Saved before the first.
func (o *Op) Saved() Saved { return o.engine.saved() }

// Output returns the output that s saved, as the op's node had it, in memory of the caller's own. s must come from this op.
func (o *Op) Output(s Saved) (gorgonia.Value, error) {
	out, err := o.engine.replay(s)
	if err != nil {
		return nil, fmt.Errorf("ringattn: %w", err)
	}
	return out, nil
}

// Replay makes the next run of the graph return s's output for this op instead of going round the ring, once. The backward
// of that run then uses s. With it, a layer's forward can be computed again for its backward (activation checkpointing)
// without communicating again. s must come from this op, with the same inputs.
func (o *Op) Replay(s Saved) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.replay = &s
}

func (e *rings[T]) saved() Saved {
	if e.last == nil {
		return Saved{}
	}
	s := Saved{ranks: e.last}
	for _, r := range e.last {
		s.bytes += int64(r.Len()) * int64(unsafe.Sizeof(*new(T)))
	}
	return s
}

func (e *rings[T]) replay(s Saved) (gorgonia.Value, error) {
	ranks, ok := s.ranks.([]*ring.Saved[T])
	if !ok || len(ranks) != e.size {
		return nil, fmt.Errorf("the replayed Saved is empty or another op's: pass what Saved returned after a forward of this op")
	}
	c := e.geo.call
	rows := 0
	for _, r := range ranks {
		rows += len(r.LSE())
	}
	have := e.geo.queries.rows
	if e.geo.queries.pad {
		have = 0
	}
	if want := c.Batch * c.Heads * have; rows != want {
		return nil, fmt.Errorf("the replayed Saved has %d rows, this op has %d: pass what this op saved", rows, want)
	}
	e.mu.Lock()
	for _, k := range forwardKinds { // nothing was sent
		delete(e.ledger, k)
	}
	e.mu.Unlock()
	e.last = ranks
	return e.output(), nil
}

func (e *rings[T]) lse() []float64 {
	if e.last == nil {
		return nil
	}
	c := e.geo.call
	q := e.geo.queries
	out := make([]T, c.Batch*c.Heads*q.rows)
	for i, r := range e.last {
		if e.size == 1 {
			copy(out, r.LSE())
			break
		}
		n, m := q.rows, q.sharding.Len(i)
		for row := range c.Batch * c.Heads {
			shard.Gather(q.sharding, i, r.LSE()[row*m:][:m], out[row*n:][:n], 1)
		}
	}
	return round[float64](out)
}

func (e *rings[T]) sent() Ledger {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.ledger)
}

// counted runs one pass of one rank and adds what its communicator sent meanwhile.
func (e *rings[T]) counted(c *dist.Comm, kinds []dist.Kind, pass func() error) error {
	if c == nil {
		return pass()
	}
	before := c.Ledger().Snapshot()
	err := pass()
	after := c.Ledger().Snapshot()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range kinds {
		sent := k
		if k == ulyssesBackward {
			sent = dist.Ulysses
		}
		a, b, sum := after[sent], before[sent], e.ledger[k]
		if a == b {
			continue
		}
		sum.Hops = max(sum.Hops, a.Hops-b.Hops)
		sum.Tensors += a.Tensors - b.Tensors
		sum.Bytes += a.Bytes - b.Bytes
		sum.Wait += a.Wait - b.Wait
		e.ledger[k] = sum
	}
	return err
}
