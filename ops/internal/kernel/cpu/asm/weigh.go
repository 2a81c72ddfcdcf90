package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The tile of weigh: a row fewer than elsewhere leaves the registers for an exponential between the multiply-adds.
const (
	weighRows    = 5
	weighVectors = 4
	weighCount   = weighRows * weighVectors // vectors of a tile
)

// weigher generates weigh: products of tiles of five rows, and between their multiply-adds the exponentials of the tile before, which use
// units that multiply-adds leave idle. A strip of columns, four vectors wide, goes through all rows before the next.
type weigher struct {
	*target
	exp           *exper
	acc, b        []reg.VecPhysical
	a             reg.VecPhysical
	strip         reg.GPVirtual // bytes of columns done
	rows          reg.GPVirtual // still to do
	c             reg.GPVirtual // first row of x for the tile at hand
	first         reg.GPVirtual // and of A
	lda, lda3     reg.GPVirtual // in bytes, and three times that
	pa, pb, ahead reg.GPVirtual // A and B at the k at hand; what to ask for of A's next rows
	k             reg.GPVirtual // still to do
	px, column    reg.GPVirtual // row of x, and bytes into it, of the next vector to take the exponential of
	count         reg.GPVirtual // of exponentials
	scratch       reg.GPVirtual
}

// rowBytes is a row of x and of B: a panel of queries.
func (g *weigher) rowBytes() int { return 64 * g.size }

// stripBytes is what a tile takes of it.
func (g *weigher) stripBytes() int { return weighVectors * g.bytes() }

// weigh writes weigh of primitives.go. Only 64-byte vectors have the registers.
func (t *target) weigh() {
	e := t.element()
	t.function("weigh", "is weigh in "+t.isa+".", fmt.Sprintf("x, a, b []%s, rows, k int, ref []%s, scale %s, low, sum []%s", e, e, e, e))
	g := &weigher{target: t, acc: zmm[:weighCount], b: zmm[weighCount:24], a: zmm[24]}
	g.exp = newExper(&columns{target: t, strip: strip{1, false}, free: zmm[25:]})
	g.lda, g.lda3 = t.stride("k"), t.GP64()
	t.LEAQ(operand.Mem{Base: g.lda, Index: g.lda, Scale: 2}, g.lda3)
	for _, r := range []*reg.GPVirtual{
		&g.strip, &g.rows, &g.c, &g.first, &g.pa, &g.pb, &g.ahead, &g.k, &g.px, &g.column, &g.count, &g.scratch,
	} {
		*r = t.GP64()
	}
	t.XORQ(g.strip, g.strip)

	t.Label("strip")
	t.Load(t.Param("rows"), g.rows)
	t.Load(t.Param("x").Base(), g.c)
	t.Load(t.Param("a").Base(), g.first)
	t.MOVQ(g.c, g.px)
	t.MOVQ(g.strip, g.column)
	// 1. The first tile has no exponentials to do.
	g.begin()
	g.plain("first")
	g.end()
	t.Label("tile")
	t.CMPQ(g.rows, imm(weighRows))
	t.JLT(operand.LabelRef("last"))
	g.begin()
	t.MOVQ(operand.U32(weighCount), g.count)
	// 2. The exponentials of the tile before come after every other k, or after every one if there are too few.
	t.CMPQ(g.k, imm(2*weighCount))
	t.JLT(operand.LabelRef("dense"))
	t.Label("sparse")
	g.outer()
	g.outer()
	g.exponential()
	t.SUBQ(imm(2), g.k)
	t.DECQ(g.count)
	t.JNE(operand.LabelRef("sparse"))
	t.JMP(operand.LabelRef("weighed"))
	t.Label("dense")
	g.outer()
	g.exponential()
	t.DECQ(g.k)
	t.DECQ(g.count)
	t.JNE(operand.LabelRef("dense"))
	t.Label("weighed")
	g.plain("rest")
	g.end()
	t.JMP(operand.LabelRef("tile"))

	// 3. The exponentials of the last tile.
	t.Label("last")
	t.MOVQ(operand.U32(weighCount), g.count)
	t.Label("exponential")
	g.exponential()
	t.DECQ(g.count)
	t.JNE(operand.LabelRef("exponential"))
	t.ADDQ(imm(g.stripBytes()), g.strip)
	t.CMPQ(g.strip, imm(g.rowBytes()))
	t.JLT(operand.LabelRef("strip"))
	t.finish()
}

// begin starts a tile's sums.
func (g *weigher) begin() {
	for _, r := range g.acc {
		g.zero(r)
	}
	g.MOVQ(g.first, g.pa)
	g.LEAQ(operand.Mem{Base: g.first, Index: g.lda, Scale: 4}, g.ahead)
	g.ADDQ(g.lda, g.ahead)
	g.Load(g.Param("b").Base(), g.pb)
	g.ADDQ(g.strip, g.pb)
	g.Load(g.Param("k"), g.k)
}

// outer adds the outer product for one k.
func (g *weigher) outer() {
	g.PREFETCHT0(operand.Mem{Base: g.ahead})
	g.ADDQ(imm(prefetchBytes), g.ahead)
	for v, r := range g.b {
		g.load(operand.Mem{Base: g.pb, Disp: v * g.bytes()}, r, false)
	}
	rows := [weighRows]operand.Mem{
		{Base: g.pa},
		{Base: g.pa, Index: g.lda, Scale: 1},
		{Base: g.pa, Index: g.lda, Scale: 2},
		{Base: g.pa, Index: g.lda3, Scale: 1},
		{Base: g.pa, Index: g.lda, Scale: 4},
	}
	for r, m := range rows {
		g.broadcast(m, g.a)
		for v, b := range g.b {
			g.fma231(b, g.a, g.acc[r*weighVectors+v])
		}
	}
	g.ADDQ(imm(g.size), g.pa)
	g.ADDQ(imm(g.rowBytes()), g.pb)
}

// plain does the k that are left.
func (g *weigher) plain(name string) {
	g.TESTQ(g.k, g.k)
	g.JLE(operand.LabelRef(name + "summed"))
	g.Label(name)
	g.outer()
	g.DECQ(g.k)
	g.JNE(operand.LabelRef(name))
	g.Label(name + "summed")
}

// end stores a tile's scores and goes on to the next.
func (g *weigher) end() {
	for i, r := range g.acc {
		row, v := i/weighVectors, i%weighVectors
		g.store(r, operand.Mem{Base: g.c, Index: g.strip, Scale: 1, Disp: row*g.rowBytes() + v*g.bytes()}, false)
	}
	g.ADDQ(imm(weighRows*g.rowBytes()), g.c)
	g.LEAQ(operand.Mem{Base: g.first, Index: g.lda, Scale: 4}, g.first)
	g.ADDQ(g.lda, g.first)
	g.SUBQ(imm(weighRows), g.rows)
}

// exponential replaces the vector at px by its weights and goes on to the next. The arithmetic is expSub's.
func (g *weigher) exponential() {
	scale, err := g.Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	at := func(p reg.GPVirtual) operand.Mem { return operand.Mem{Base: p, Index: g.column, Scale: 1} }
	of := func(parameter string) operand.Mem {
		g.Load(g.Param(parameter).Base(), g.scratch)
		return at(g.scratch)
	}
	x, p := g.exp.x[0], g.exp.p[0]
	g.load(at(g.px), x, false)
	g.broadcast(scale.Addr, p)
	g.sub(of("ref"), x, x)
	g.fms213(of("low"), p, x)
	g.exp.exp512()
	g.store(p, at(g.px), false)
	g.add(of("sum"), p, p)
	g.store(p, at(g.scratch), false)

	// The next vector is in this row, or at the strip's begin of the row below.
	below := g.GP64()
	g.LEAQ(operand.Mem{Base: g.px, Disp: g.rowBytes()}, below)
	g.ADDQ(imm(g.bytes()), g.column)
	g.LEAQ(operand.Mem{Base: g.strip, Disp: g.stripBytes()}, g.scratch)
	g.CMPQ(g.column, g.scratch)
	g.CMOVQEQ(g.strip, g.column)
	g.CMOVQEQ(below, g.px)
}
