package ring

import (
	"context"
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
)

// deviceBackward is a backward pass on a device; see backward.
type deviceBackward struct {
	*devicePass
	queries         deviceQueries // the local ones
	kv, dq, dk, dv  device.Ptr
	turns           device.Ptr
	arrived, sums   *slots
	delta, lse, low []float32
}

// deviceQueries is all that backward needs of a rank's queries, in one piece: the operands q and dO, and lines.
type deviceQueries struct{ q, dOut, high, low, delta device.Ptr }

// queriesBytes is the size of that piece.
func (p *devicePass) queriesBytes(rows int) int {
	return 2*p.shape.OperandBytes(p.shape.Heads, rows) + 3*cuda.LineBytes(p.shape.Heads, rows)
}

func (p *devicePass) queriesAt(at device.Ptr, rows int) deviceQueries {
	operand, line := device.Ptr(p.shape.OperandBytes(p.shape.Heads, rows)), device.Ptr(cuda.LineBytes(p.shape.Heads, rows))
	lines := at + 2*operand
	return deviceQueries{at, at + operand, lines, lines + line, lines + 2*line}
}

func (d *deviceRank) backward(ctx context.Context, in Inputs[float32], s *Saved[float32], dOut []float32) (g Gradients[float32], err error) {
	if err := d.checkBackward(in, s, dOut); err != nil {
		return g, err
	}
	in.Step, in.Layer, in.KeepAll = s.step, s.layer, s.keepAll
	b := &deviceBackward{devicePass: d.begin(ctx, in), lse: s.lse, low: s.low}
	t, own := b.prepare(in, s, dOut)
	err = t.walk(ctx, own)
	g = b.gradients()
	if err := b.end(err); err != nil {
		return Gradients[float32]{}, err
	}
	g.DSinks = dSinks(b.call, b.rows, b.sinks, kernel.Inputs[float32]{LSE: b.lse, LSELow: b.low, Delta: b.delta})
	return g, nil
}

// prepare sends the inputs to the device and lays out the tour.
func (b *deviceBackward) prepare(in Inputs[float32], s *Saved[float32], dOut []float32) (t *tour[int64], own []int64) {
	c := b.call
	t = b.tour(b.plan.backward)
	b.kv, own = b.loadKV(in, t.pass)
	at := device.Ptr(0)
	if b.plan.travel == Q {
		at, own = b.travelling(b.queriesBytes(b.rows), len(t.pass.stops[b.rank]))
	} else {
		at = b.Room(b.queriesBytes(b.rows))
	}
	b.loadQueries(at, in, s, dOut)
	b.dq = b.Zeros(b.shape.RowsBytes(b.shape.Heads, b.rows))
	dkv := b.Room(2 * b.shape.RowsBytes(b.shape.KVHeads, b.keys))
	b.dk, b.dv = b.split(dkv, b.keys)
	b.turns = b.Room(b.largest(c.rows, b.shape.TurnsBytes))
	if b.plan.travel == KV {
		b.arrived = b.slots(b.largest(c.keys, b.shape.KVBytes))
		b.sums = b.slots(b.largest(c.keys, b.dkvBytes))
		// The own block comes last: the last gradients come home beside it, which are larger than the first keys and values.
		t.after, t.work, t.merge = b.own, b.share, b.merge(c.keys, b.dkvBytes)
		t.home = func(sum []int64) { b.add(dkv, b.pull(b.sums, sum), b.dkvBytes(b.keys)) }
		return t, own
	}
	b.ready(own)
	b.arrived = b.slots(b.largest(c.rows, b.queriesBytes))
	b.sums = b.slots(b.largest(c.rows, b.dqBytes))
	t.before, t.work, t.merge = b.own, b.visitor, b.merge(c.rows, b.dqBytes)
	t.home = func(sum []int64) { b.add(b.dq, b.pull(b.sums, sum), b.dqBytes(b.rows)) }
	return t, own
}

func (b *deviceBackward) dkvBytes(keys int) int { return 2 * b.shape.RowsBytes(b.shape.KVHeads, keys) }
func (b *deviceBackward) dqBytes(rows int) int  { return b.shape.RowsBytes(b.shape.Heads, rows) }

// split cuts dK and dV out of one piece.
func (b *deviceBackward) split(dkv device.Ptr, keys int) (dk, dv device.Ptr) {
	return dkv, dkv + device.Ptr(b.shape.RowsBytes(b.shape.KVHeads, keys))
}

// loadQueries sends what is needed of the local queries. delta = rowsum(dO∘O) once, from the final O.
func (b *deviceBackward) loadQueries(at device.Ptr, in Inputs[float32], s *Saved[float32], dOut []float32) {
	c := b.call
	b.queries = b.queriesAt(at, b.rows)
	b.Operand(b.queries.q, b.tokens(in.Q, c.Heads, b.rows, c.Dim))
	d := cuda.Delta{Delta: b.queries.delta}
	d.DOut = b.OperandAndRows(b.queries.dOut, b.tokens(dOut, c.Heads, b.rows, c.ValueDim))
	d.Out = b.Rows(b.tokens(s.out, c.Heads, b.rows, c.ValueDim))
	high, low := make([]float32, len(s.lse)), make([]float32, len(s.lse))
	for i := range high {
		high[i], low[i] = cuda.Split(s.lse[i], s.low[i])
	}
	b.Line(b.queries.high, float32(math.Inf(-1)), func(i int) float32 { return high[i] })
	b.Line(b.queries.low, 0, func(i int) float32 { return low[i] })
	b.Do("delta", func(e *cuda.Engine, st device.Stream) error { return e.Delta(st, b.Own(), d) })
}

// attend adds the gradients of one block.
func (b *deviceBackward) attend(block *cuda.Block, q deviceQueries, x cuda.Backward) {
	x.Q, x.DOut, x.High, x.Low, x.Delta, x.Turns, x.Words = q.q, q.dOut, q.high, q.low, q.delta, b.turns, b.words
	b.Do("backward", func(e *cuda.Engine, st device.Stream) error { return e.Backward(st, block, x) })
}

func (b *deviceBackward) own() {
	k, v := b.keysAndValues(b.kv, b.rank)
	b.attend(b.prepared(b.rank, b.rank), b.queries, cuda.Backward{K: k, V: v, DQ: b.dq, DK: b.dk, DV: b.dv, Fresh: true})
}

// share is what the local queries give to the dK, dV of another rank's keys.
func (b *deviceBackward) share(message []int64, source int) []int64 {
	slot := b.pull(b.arrived, message)
	keys := b.call.keys(source)
	p, share := b.travelling(b.dkvBytes(keys), 1)
	k, v := b.keysAndValues(slot.Ptr, source)
	dk, dv := b.split(p, keys)
	b.attend(b.prepared(b.rank, source), b.queries, cuda.Backward{K: k, V: v, DQ: b.dq, DK: dk, DV: dv, Fresh: true})
	b.Used(slot)
	b.letGo(share)
	return share
}

// visitor is what the local keys give to the dQ of another rank's queries; dK and dV gather what those give.
func (b *deviceBackward) visitor(message []int64, source int) []int64 {
	slot := b.pull(b.arrived, message)
	rows := b.call.rows(source)
	p, share := b.travelling(b.dqBytes(rows), 1)
	b.Clear(p, b.dqBytes(rows))
	k, v := b.keysAndValues(b.kv, b.rank)
	b.attend(b.prepared(source, b.rank), b.queriesAt(slot.Ptr, rows), cuda.Backward{K: k, V: v, DQ: p, DK: b.dk, DV: b.dv})
	b.Used(slot)
	b.letGo(share)
	return share
}

// merge adds what the ranks before have gathered to the local share.
func (b *deviceBackward) merge(rows func(rank int) int, bytes func(rows int) int) func(share, sum []int64, source int) {
	return func(share, sum []int64, source int) {
		x := blocks.own(share)
		b.add(x.Ptr, b.pull(b.sums, sum), bytes(rows(source)))
		b.Ready(x)
	}
}

// gradients have their numbers at the end.
func (b *deviceBackward) gradients() Gradients[float32] {
	c := b.call
	g := Gradients[float32]{
		DQ: make([]float32, c.qLen(b.rows)), DK: make([]float32, c.kLen(b.keys)), DV: make([]float32, c.vLen(b.keys)),
	}
	b.FetchRows(b.tokens(g.DQ, c.Heads, b.rows, c.Dim), b.dq)
	b.FetchRows(b.tokens(g.DK, c.KVHeads, b.keys, c.Dim), b.dk)
	b.FetchRows(b.tokens(g.DV, c.KVHeads, b.keys, c.ValueDim), b.dv)
	if b.sinks != nil {
		b.delta = make([]float32, len(b.lse))
		b.FetchLine(b.queries.delta, func(i int, x float32) { b.delta[i] = x })
	}
	return g
}
