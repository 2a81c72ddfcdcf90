package cuda

import (
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
)

// resident does a trial without extras, or its forward pass alone, with arrays that stay on the device, as a ring does.
func resident(t trial, e *Engine, f Format, alone bool) (out answers[float32], err error) {
	b := t.blocks[0]
	s := e.Begin(b, f)
	q, dOut := s.operand(ofQueries(b, t.q, b.Dim), false), s.operand(ofQueries(b, t.dOut, b.ValueDim), false)
	o := make([]float32, t.heads*t.queries*b.ValueDim)
	x := Forward{Q: q, Carry: Carry{O: s.emptyRows(ofQueries(b, o, b.ValueDim), false), M: s.emptyLine(), L: s.emptyLine()}}
	blocks, ks, vs := make([]*Block, len(t.blocks)), make([]device.Ptr, len(t.blocks)), make([]device.Ptr, len(t.blocks))
	for i, b := range t.blocks {
		blocks[i] = s.Block(b, f)
		ks[i], vs[i] = s.operand(ofKeys(b, t.k[i], b.Dim), false), s.operand(ofKeys(b, t.v[i], b.ValueDim), false)
		x.K, x.V, x.First = ks[i], vs[i], i == 0
		s.Do("forward", func(e *Engine, st device.Stream) error { return e.Forward(st, blocks[i], x) })
	}
	fin := Finish{Carry: x.Carry, Out: x.Carry.O, High: s.emptyLine(), Low: s.emptyLine()}
	s.Do("finish", func(e *Engine, st device.Stream) error { return e.Finish(st, blocks[0], fin) })
	d := Delta{Out: fin.Out, DOut: s.rows(ofQueries(b, t.dOut, b.ValueDim)), Delta: s.emptyLine()}
	s.Do("delta", func(e *Engine, st device.Stream) error { return e.Delta(st, blocks[0], d) })
	s.fetchRows(ofQueries(b, o, b.ValueDim), fin.Out)
	out.add("out", o)
	high, lse := make([]float32, t.heads*t.queries), make([]float32, t.heads*t.queries)
	s.fetchLine(fin.High, func(i int, x float32) { high[i] = x })
	s.fetchLine(fin.Low, func(i int, x float32) { lse[i], _ = LogSumExp(high[i], x) })
	out.add("lse", lse)
	if alone {
		return out, s.End()
	}

	dq := make([]float32, len(t.q))
	g := Backward{Q: q, DOut: dOut, High: fin.High, Low: fin.Low, Delta: d.Delta, DQ: s.emptyRows(ofQueries(b, dq, b.Dim), true)}
	for i, b := range t.blocks {
		dk, dv := ofKeys(b, make([]float32, len(t.k[i])), b.Dim), ofKeys(b, make([]float32, len(t.v[i])), b.ValueDim)
		g.K, g.V, g.Fresh = ks[i], vs[i], i == 0
		g.DK, g.DV = s.emptyRows(dk, i > 0), s.emptyRows(dv, i > 0)
		g.Turns = s.room(blocks[0].TurnsBytes(blocks[0].Rows))
		s.Do("backward", func(e *Engine, st device.Stream) error { return e.Backward(st, blocks[i], g) })
		s.fetchRows(dk, g.DK)
		s.fetchRows(dv, g.DV)
		out.add("dk", dk.data)
		out.add("dv", dv.data)
	}
	s.fetchRows(ofQueries(b, dq, b.Dim), g.DQ)
	out.add("dq", dq)
	return out, s.End()
}

func TestArraysMayStayOnTheDevice(t *testing.T) {
	w := &workshop{t: t}
	for i, m := range onHand(t, narrowSets()) {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			p := newTrial(kind{dim: 40, valueDim: 64, layered: i%2 == 1})
			got, err := resident(p, w.engine(m, sim.Config{Seed: 3}, Options{}), m.format, false)
			if err != nil {
				t.Fatal(err)
			}
			if err := compare(got, expected(p), m.format); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestLogSumExpAndSplitAreInverse(t *testing.T) {
	for _, x := range []float64{0, 1, -3.7, 88.5, 1e4, -1e4, 1e-7} {
		lse := float32(x)
		rest := float32(x - float64(lse))
		high, low := Split(lse, rest)
		again, more := LogSumExp(high, low)
		if d := math.Abs(float64(again) + float64(more) - x); d > 1e-13*math.Abs(x) {
			t.Errorf("%v comes back %g off", x, d)
		}
	}
	inf := float32(math.Inf(-1))
	if high, low := Split(inf, 0); high != inf || low != 0 {
		t.Errorf("-Inf is split into %v and %v", high, low)
	}
	if lse, rest := LogSumExp(inf, 0); lse != inf || rest != 0 {
		t.Errorf("-Inf becomes %v and %v", lse, rest)
	}
}
