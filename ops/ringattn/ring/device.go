package ring

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist/trace"
	"github.com/ringgrad/ringgrad/ops/internal/accel"
	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
)

// On devices a pass is the same tour, but blocks stay where they are made: a message is the number of a block, and who gets it copies the
// block from that device to its own, beside the work on the block before. The host only enqueues; it waits at the end of a pass.
//
//	rank 0, GPU 0   own block ── block of rank 1 ── block of rank 2 ──          compute stream
//	                  └ pull 1 ┘     └ pull 2 ┘                                 copy stream, into two slots in turn
//
// Keys and values are pulled from their home, whichever rank the number comes from. What is gathered for them, or for queries that
// travel, is pulled from rank to rank.

// engineOf returns the engine of a rank, and the format that a call is multiplied in: ranks take the devices in turn.
func (c Call) engineOf(rank int) (*cuda.Engine, cuda.Format, error) {
	engines, err := accel.Engines(string(c.Device))
	if err != nil {
		return nil, 0, fmt.Errorf("ring: device %s: %w", c.Device, err)
	}
	format := map[DType]cuda.Format{"": cuda.Float32, BFloat16: cuda.BFloat16, Float16: cuda.Float16}[c.DType]
	return engines[rank%len(engines)], format, nil
}

// residence is where a rank's blocks lie: an engine, and the format in which they are multiplied.
type residence struct {
	engine *cuda.Engine
	format cuda.Format
}

// resident returns the rank, if its blocks stay on a device.
func (r *Rank[T]) resident() (*deviceRank, bool) {
	if r.home == nil {
		return nil, false
	}
	return &deviceRank{any(r).(*Rank[float32]), r.home}, true
}

// deviceRank is a rank whose blocks stay on a device.
type deviceRank struct {
	*Rank[float32]
	*residence
}

// devicePass is one pass of it. Arrays are those of package cuda.
type devicePass struct {
	run[float32]
	*cuda.Session
	format   cuda.Format
	shape    cuda.Shape
	dropKeys device.Ptr
	words    cuda.Words // of the block that is worked on
	numbers  []int64    // of what others may copy
	trace    *trace.Recorder
}

func (d *deviceRank) begin(ctx context.Context, in Inputs[float32]) *devicePass {
	p := &devicePass{run: d.Rank.begin(ctx, in), format: d.format, trace: trace.From(ctx)}
	p.Session = d.engine.Begin(p.block(d.rank, d.rank), d.format)
	p.shape = p.Own().Shape
	if p.trace != nil {
		p.Trace()
	}
	if p.drops.Threshold != 0 {
		line := func(rows int) int { return cuda.LineBytes(p.shape.Heads, rows) }
		p.dropKeys = p.Words(p.drops.Keys)
		p.words = cuda.Words{Queries: p.Room(p.largest(d.call.rows, line)), Keys: p.Room(p.largest(d.call.keys, line))}
	}
	return p
}

// largest is the most bytes that a rank's rows take.
func (p *devicePass) largest(rows func(rank int) int, bytes func(rows int) int) (most int) {
	for rank := range p.size {
		most = max(most, bytes(rows(rank)))
	}
	return most
}

// end ends the pass with the first error, which may be that of the tour.
func (p *devicePass) end(err error) error {
	p.Fail(err)
	if err := p.End(); err != nil {
		blocks.forget(p.numbers...)
		return fmt.Errorf("ring: rank %d: %w", p.rank, err)
	}
	for _, s := range p.Spans() {
		p.trace.Add(p.spanOf(s))
	}
	return nil
}

func (p *devicePass) spanOf(s cuda.Span) trace.Span {
	info, stream := p.Device().Info(), trace.Compute
	if s.Copy {
		stream = trace.Copy
	}
	return trace.Span{
		Device: fmt.Sprintf("%s %d", info.Name, info.Index), Rank: p.rank, Stream: stream, Name: s.Name, Start: s.Start, Duration: s.Duration,
	}
}

// tokens describes one of the rank's arrays of the host: [B, rows, heads, dim].
func (p *devicePass) tokens(x []float32, heads, rows, dim int) cuda.Tokens {
	return cuda.Tokens{Data: x, Batch: p.call.Batch, Heads: p.call.Batch * heads, Rows: rows, Dim: dim}
}

// prepared is the block of the queries of a rank and the keys of another, with dropout's words made.
func (p *devicePass) prepared(row, col int) *cuda.Block {
	b := p.Block(p.block(row, col), p.format)
	if p.drops.Threshold != 0 {
		p.Do("words", func(e *cuda.Engine, st device.Stream) error { return e.QueryWords(st, b, p.words.Queries, p.dropKeys) })
		p.Do("words", func(e *cuda.Engine, st device.Stream) error { return e.KeyWords(st, b, p.words.Keys, p.dropKeys) })
	}
	return b
}

// keysAndValues are k and v of a block in one piece.
func (p *devicePass) keysAndValues(kv device.Ptr, source int) (k, v device.Ptr) {
	return kv, kv + device.Ptr(p.shape.OperandBytes(p.shape.KVHeads, p.call.keys(source)))
}

// loadKV sends the own keys and values to the device, to travel or to stay.
func (p *devicePass) loadKV(in Inputs[float32], pass pass) (kv device.Ptr, message []int64) {
	c := p.call
	if p.plan.travel == KV {
		kv, message = p.travelling(p.shape.KVBytes(p.keys), len(pass.stops[p.rank]))
	} else {
		kv = p.Room(p.shape.KVBytes(p.keys))
	}
	k, v := p.keysAndValues(kv, p.rank)
	p.Operand(k, p.tokens(in.K, c.KVHeads, p.keys, c.Dim))
	p.Operand(v, p.tokens(in.V, c.KVHeads, p.keys, c.ValueDim))
	p.ready(message)
	return kv, message
}

// travelling is memory that so many ranks will copy, and the message that stands for it.
func (p *devicePass) travelling(bytes, readers int) (device.Ptr, []int64) {
	x := p.Share(bytes, readers)
	if readers == 0 {
		return x.Ptr, nil
	}
	n := blocks.number(x, readers)
	p.numbers = append(p.numbers, n)
	return x.Ptr, []int64{n}
}

// ready says that what a message stands for is there, and letGo that this rank has no more use of it.
func (p *devicePass) ready(message []int64) {
	if x := blocks.own(message); x != nil {
		p.Ready(x)
	}
}

func (p *devicePass) letGo(message []int64) {
	if x := blocks.own(message); x != nil {
		p.LetGo(x)
	}
}

// pull copies what a message stands for into one of two slots in turn.
func (p *devicePass) pull(slots *slots, message []int64) *cuda.Slot {
	slot := slots.next()
	x, err := blocks.take(message)
	if err != nil {
		p.Fail(err)
		return slot
	}
	p.Pull(slot, x)
	return slot
}

// slots are used in turn.
type slots struct {
	of   [2]*cuda.Slot
	used int
}

func (s *slots) next() *cuda.Slot {
	s.used++
	return s.of[s.used%2]
}

// slots makes slots for messages of up to so many bytes, if the pass has any.
func (p *devicePass) slots(bytes int) *slots {
	if p.size == 1 {
		return &slots{of: [2]*cuda.Slot{{}, {}}}
	}
	return &slots{of: p.Slots(bytes)}
}

// tour is one whose messages are numbers.
func (p *devicePass) tour(way pass) *tour[int64] {
	nothing := func() {}
	return &tour[int64]{
		traveller: p.traveller, transfer: sendRecv[int64], pass: way, numbered: true, before: nothing, after: nothing, failed: p.Failed,
	}
}

// add adds the rows of a slot.
func (p *devicePass) add(to device.Ptr, from *cuda.Slot, bytes int) {
	p.Do("add", func(e *cuda.Engine, st device.Stream) error { return e.Add(st, to, from.Ptr, bytes/4) })
	p.Used(from)
}

// onHost is a kernel whose arrays are the host's, for ranks whose peers are in other processes.
func onHost[T kernel.Float](e *cuda.Engine, f cuda.Format) (kernel.Attention[T], error) {
	k, ok := any(e.Attention(f)).(kernel.Attention[T])
	if !ok {
		return nil, fmt.Errorf("ring: %T: %w", *new(T), cuda.ErrFloat64)
	}
	return k, nil
}
