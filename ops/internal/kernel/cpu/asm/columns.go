package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// columns generates a loop over the rows of [rows, width] matrices, ld apart, for one
// strip of columns. A set is a register for each vector of the strip; the sets'
// chains are independent, so interleaving them hides their latency.
type columns struct {
	*target
	strip
	name         string
	left, stride reg.GPVirtual // bytes of columns done, bytes from row to row
	free         []reg.VecPhysical
}

// set is one register for each vector of a strip.
type set []reg.VecPhysical

// eachStrip generates body for all strips that the parameter width is cut into.
func (t *target) eachStrip(body func(g *columns)) {
	n, left, stride := t.number("width"), t.GP64(), t.stride("ld")
	t.XORQ(left, left)
	widths := []strip{{4, false}, {1, true}}
	if !t.wide() {
		widths[0].vectors = 2
	}
	for _, s := range widths {
		g := &columns{target: t, strip: s, name: fmt.Sprintf("strip%d", s.vectors), left: left, stride: stride, free: t.registers()}
		if s.partial && !t.wide() {
			g.free = g.free[:len(g.free)-1] // without the lane mask
		}
		t.beginStrip(g.name, s, n)
		body(g)
		t.endStrip(g.name, s, n, left)
	}
}

// beginStrip skips the strip if fewer than its columns are left of n.
func (t *target) beginStrip(name string, s strip, n reg.GPVirtual) {
	t.Label(name)
	least := s.vectors * t.lanes()
	if s.partial {
		least = 1
	}
	t.CMPQ(n, imm(least))
	t.JLT(operand.LabelRef(name + "end"))
	if s.partial {
		t.setLaneMask(n)
	}
}

// endStrip goes back for the next strip of the same width.
func (t *target) endStrip(name string, s strip, n, left reg.GPVirtual) {
	t.ADDQ(imm(s.vectors*t.bytes()), left)
	t.SUBQ(imm(s.vectors*t.lanes()), n)
	t.JMP(operand.LabelRef(name))
	t.Label(name + "end")
}

// take reserves registers.
func (g *columns) take() set {
	s := set(g.free[:g.vectors])
	g.free = g.free[g.vectors:]
	return s
}

// takeOne reserves a single register.
func (g *columns) takeOne() reg.VecPhysical {
	r := g.free[0]
	g.free = g.free[1:]
	return r
}

// scalar is a parameter of type T in all lanes of a register.
func (g *columns) scalar(name string) reg.VecPhysical {
	m, err := g.Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	r := g.takeOne()
	g.broadcast(m.Addr, r)
	return r
}

// hold loads a constant into a register if one is left.
func (g *columns) hold(m operand.Op) operand.Op {
	if len(g.free) == 0 {
		return m
	}
	r := g.takeOne()
	g.byType(g.VMOVUPS, g.VMOVUPD)(m, r)
	return r
}

// pointer is the strip's place in the first row of a parameter.
func (g *columns) pointer(name string) reg.GPVirtual {
	p := g.base(name)
	g.ADDQ(g.left, p)
	return p
}

// each visits the vectors of the strip.
func (g *columns) each(visit func(v int)) {
	for v := range g.vectors {
		visit(v)
	}
}

func (g *columns) loadAll(p reg.GPVirtual, s set) {
	g.each(func(v int) { g.load(operand.Mem{Base: p, Disp: v * g.bytes()}, s[v], g.isPartial(v)) })
}

func (g *columns) storeAll(s set, p reg.GPVirtual) {
	g.each(func(v int) { g.store(s[v], operand.Mem{Base: p, Disp: v * g.bytes()}, g.isPartial(v)) })
}

// rows generates body for each of the rows the parameter of that name counts; the pointers walk along.
func (g *columns) rows(pointers []reg.GPVirtual, body func()) {
	left := g.number("rows")
	g.Label(g.name + "row")
	body()
	for _, p := range pointers {
		g.ADDQ(g.stride, p)
	}
	g.DECQ(left)
	g.JNE(operand.LabelRef(g.name + "row"))
}
