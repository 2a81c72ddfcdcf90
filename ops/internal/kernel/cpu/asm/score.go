package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// columnMax writes columnMax of primitives.go. Max returns its second source, the
// first operand here, if one is NaN.
func (t *target) columnMax() {
	e := t.element()
	t.function("columnMax", "is columnMax in "+t.isa+".", fmt.Sprintf("x []%s, ld, rows, width int, high []%s", e, e))
	t.eachStrip(func(g *columns) {
		x, high := g.take(), g.take()
		px, ph := g.pointer("x"), g.pointer("high")
		g.loadAll(ph, high)
		g.rows([]reg.GPVirtual{px}, func() {
			g.loadAll(px, x)
			g.each(func(v int) { g.max(high[v], x[v], high[v]) })
		})
		g.storeAll(high, ph)
	})
	t.finish()
}

// subMul writes subMul of primitives.go.
func (t *target) subMul() {
	e := t.element()
	t.function("subMul", "is subMul in "+t.isa+".", fmt.Sprintf("x, y []%s, ld, rows, width int, ref []%s", e, e))
	t.eachStrip(func(g *columns) {
		x, y, ref := g.take(), g.take(), g.take()
		px, py, pr := g.pointer("x"), g.pointer("y"), g.pointer("ref")
		g.loadAll(pr, ref)
		g.rows([]reg.GPVirtual{px, py}, func() {
			g.loadAll(px, x)
			g.loadAll(py, y)
			g.each(func(v int) { g.sub(ref[v], x[v], x[v]) })
			g.each(func(v int) { g.mul(y[v], x[v], x[v]) })
			g.storeAll(x, px)
		})
	})
	t.finish()
}

// scaleRows writes scaleRows of primitives.go.
func (t *target) scaleRows() {
	e := t.element()
	t.function("scaleRows", "is scaleRows in "+t.isa+".", fmt.Sprintf("dst, src []%s, ld, rows, width int, factor, low []%s", e, e))
	t.eachStrip(func(g *columns) {
		x, y, factor, low := g.take(), g.take(), g.takeOne(), g.takeOne()
		pd, ps := g.pointer("dst"), g.pointer("src")
		pf, pl := g.base("factor"), g.base("low")
		g.rows([]reg.GPVirtual{pd, ps}, func() {
			g.broadcast(operand.Mem{Base: pf}, factor)
			g.broadcast(operand.Mem{Base: pl}, low)
			g.loadAll(ps, x)
			g.each(func(v int) { g.mul(low, x[v], y[v]) })
			g.each(func(v int) { g.fma231(factor, x[v], y[v]) })
			g.storeAll(y, pd)
			g.ADDQ(imm(g.size), pf)
			g.ADDQ(imm(g.size), pl)
		})
	})
	t.finish()
}
