package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// columns generates a loop over the rows of [rows, width] matrices for one strip
// of columns. A set is a register for each vector of the strip; the sets'
// chains are independent, so interleaving them hides their latency.
type columns struct {
	*target
	strip
	name         string
	left, stride reg.GPVirtual // bytes of columns done, bytes of a row
	free         []reg.VecPhysical
}

// set is one register for each vector of a strip.
type set []reg.VecPhysical

// eachStrip generates body for all strips that the parameter width is cut into.
func (t *target) eachStrip(body func(g *columns)) {
	n, left, stride := t.number("width"), t.GP64(), t.stride("width")
	t.XORQ(left, left)
	widths := []strip{{4, false}, {1, true}}
	if !t.wide() {
		widths[0].vectors = 2
	}
	for _, s := range widths {
		g := &columns{target: t, strip: s, name: fmt.Sprintf("strip%d", s.vectors), left: left, stride: stride, free: t.registers()}
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

// rows generates body for each row of the matrix parameter that the first
// pointer walks over; the others walk along.
func (g *columns) rows(matrix string, pointers []reg.GPVirtual, body func()) {
	end := g.Load(g.Param(matrix).Len(), g.GP64()).(reg.GPVirtual)
	g.SHLQ(imm(log2(g.size)), end)
	start := g.base(matrix)
	g.ADDQ(start, end)
	g.Label(g.name + "row")
	body()
	for _, p := range pointers {
		g.ADDQ(g.stride, p)
	}
	g.CMPQ(pointers[0], end)
	g.JCS(operand.LabelRef(g.name + "row"))
}
