package ring

import (
	"context"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
)

// deviceForward is a forward pass on a device; see forward.
type deviceForward struct {
	*devicePass
	q, kv   device.Ptr
	carry   cuda.Carry // of the local queries
	arrived *slots     // blocks that travel
	sums    *slots     // carries of ranks before
}

func (d *deviceRank) forward(ctx context.Context, in Inputs[float32]) (*Saved[float32], error) {
	if err := d.check(in); err != nil {
		return nil, err
	}
	f := &deviceForward{devicePass: d.begin(ctx, in)}
	t, own := f.prepare(in)
	s := f.saved(in)
	err := t.walk(ctx, own)
	f.finish(s)
	if err := f.end(err); err != nil {
		return nil, err
	}
	return s, nil
}

// prepare sends the inputs to the device and lays out the tour.
func (f *deviceForward) prepare(in Inputs[float32]) (t *tour[int64], own []int64) {
	t = f.tour(f.plan.forward)
	f.kv, own = f.loadKV(in, t.pass)
	bytes := f.shape.OperandBytes(f.shape.Heads, f.rows)
	if f.plan.travel == Q {
		f.q, own = f.travelling(bytes, len(t.pass.stops[f.rank]))
	} else {
		f.q = f.Room(bytes)
	}
	f.Operand(f.q, f.tokens(in.Q, f.call.Heads, f.rows, f.call.Dim))
	f.carry = f.shape.CarryAt(f.Room(f.shape.CarryBytes(f.rows)), f.rows)
	t.before = f.own
	if f.plan.travel == KV {
		f.arrived = f.slots(f.largest(f.call.keys, f.shape.KVBytes))
		t.work = f.foreign
		return t, own
	}
	f.ready(own)
	f.arrived = f.slots(f.largest(f.call.rows, func(rows int) int { return f.shape.OperandBytes(f.shape.Heads, rows) }))
	f.sums = f.slots(f.largest(f.call.rows, f.shape.CarryBytes))
	t.work, t.merge, t.home = f.visitor, f.merge, f.home
	return t, own
}

// attend folds keys into a carry.
func (f *deviceForward) attend(b *cuda.Block, x cuda.Forward) {
	x.Words = f.words
	f.Do("forward", func(e *cuda.Engine, st device.Stream) error { return e.Forward(st, b, x) })
}

func (f *deviceForward) own() {
	k, v := f.keysAndValues(f.kv, f.rank)
	f.attend(f.prepared(f.rank, f.rank), cuda.Forward{Carry: f.carry, Q: f.q, K: k, V: v, First: true})
}

// foreign lets the local queries look at another rank's keys.
func (f *deviceForward) foreign(message []int64, source int) []int64 {
	slot := f.pull(f.arrived, message)
	k, v := f.keysAndValues(slot.Ptr, source)
	f.attend(f.prepared(f.rank, source), cuda.Forward{Carry: f.carry, Q: f.q, K: k, V: v})
	f.Used(slot)
	return nil
}

// visitor lets another rank's queries look at the local keys.
func (f *deviceForward) visitor(message []int64, source int) []int64 {
	slot := f.pull(f.arrived, message)
	rows := f.call.rows(source)
	p, share := f.travelling(f.shape.CarryBytes(rows), 1)
	k, v := f.keysAndValues(f.kv, f.rank)
	f.attend(f.prepared(source, f.rank), cuda.Forward{Carry: f.shape.CarryAt(p, rows), Q: slot.Ptr, K: k, V: v, First: true})
	f.Used(slot)
	f.letGo(share)
	return share
}

// merge folds what the ranks before have gathered for a source's queries into the local share.
func (f *deviceForward) merge(share, sum []int64, source int) {
	x := blocks.own(share)
	f.fold(f.shape.CarryAt(x.Ptr, f.call.rows(source)), sum, source)
	f.Ready(x)
}

func (f *deviceForward) home(sum []int64) { f.fold(f.carry, sum, f.rank) }

func (f *deviceForward) fold(into cuda.Carry, sum []int64, source int) {
	slot := f.pull(f.sums, sum)
	b := f.Block(f.block(source, f.rank), f.format)
	other := f.shape.CarryAt(slot.Ptr, f.call.rows(source))
	f.Do("merge", func(e *cuda.Engine, st device.Stream) error { return e.Merge(st, b, into, other) })
	f.Used(slot)
}

// saved has room for what comes back.
func (f *deviceForward) saved(in Inputs[float32]) *Saved[float32] {
	c, n := f.call, f.call.rowLen(f.rows)
	s := &Saved[float32]{
		out: make([]float32, c.outLen(f.rows)), lse: make([]float32, n), low: make([]float32, n), shape: dims{c.Batch, f.rows, c.Heads, c.ValueDim},
		tokens: true,
	}
	s.step, s.layer, s.keepAll = in.Step, in.Layer, in.KeepAll
	return s
}

// finish has the results in s at the end.
func (f *deviceForward) finish(s *Saved[float32]) {
	if f.rows == 0 {
		return
	}
	b, line := f.Own(), cuda.LineBytes(f.shape.Heads, f.rows)
	x := cuda.Finish{Carry: f.carry, Out: f.carry.O, High: f.Room(line), Low: f.Room(line)}
	if f.sinks != nil {
		x.Sinks = f.Floats(cuda.SinkLogits(f.sinks))
	}
	f.Do("finish", func(e *cuda.Engine, st device.Stream) error { return e.Finish(st, b, x) })
	f.FetchRows(f.tokens(s.out, f.call.Heads, f.rows, f.call.ValueDim), x.Out)
	high := make([]float32, len(s.lse))
	f.FetchLine(x.High, func(i int, h float32) { high[i] = h })
	f.FetchLine(x.Low, func(i int, l float32) { s.lse[i], s.low[i] = cuda.LogSumExp(high[i], l) })
}
