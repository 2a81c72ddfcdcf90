package main

import (
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
// units that multiply-adds leave idle.
type weigher struct {
	*target
	exp           *exper
	acc, b, a     []reg.VecPhysical
	rows          reg.GPVirtual // still to do
	c             reg.GPVirtual // the tile of x
	left          reg.GPVirtual // first row of A
	lda, lda3     reg.GPVirtual // in bytes, and three times that
	pa, pb, ahead reg.GPVirtual // A and B at the k at hand; what to ask for of A's next rows
	k             reg.GPVirtual // still to do
	px, column    reg.GPVirtual // the next vector to take the exponential of, and its place in a row in bytes
	count         reg.GPVirtual // of exponentials
	ref, low, sum reg.GPVirtual
}

// weigh writes weigh of primitives.go. Only 64-byte vectors have the registers.
func (t *target) weigh() {
	t.function("weigh", "is weigh in "+t.isa+".", "x, a, b []float32, rows, k int, scale float32, ref, low, sum []float32")
	g := &weigher{target: t, acc: zmm[:20], b: zmm[20:24], a: zmm[24:26]}
	g.exp = newExper(&columns{target: t, strip: strip{1, false}, free: zmm[26:]})
	g.rows, g.c, g.left = t.number("rows"), t.base("x"), t.base("a")
	g.lda, g.lda3 = t.stride("k"), t.GP64()
	t.LEAQ(operand.Mem{Base: g.lda, Index: g.lda, Scale: 2}, g.lda3)
	g.pa, g.pb, g.ahead, g.k, g.count = t.GP64(), t.GP64(), t.GP64(), t.GP64(), t.GP64()
	g.px, g.column = t.GP64(), t.GP64()
	t.MOVQ(g.c, g.px)
	t.XORQ(g.column, g.column)
	g.ref, g.low, g.sum = t.base("ref"), t.base("low"), t.base("sum")

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
	t.finish()
}

// begin starts a tile's sums.
func (g *weigher) begin() {
	for _, r := range g.acc {
		g.zero(r)
	}
	g.MOVQ(g.left, g.pa)
	g.LEAQ(operand.Mem{Base: g.left, Index: g.lda, Scale: 4}, g.ahead)
	g.ADDQ(g.lda, g.ahead)
	g.Load(g.Param("b").Base(), g.pb)
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
		a := g.a[r%2]
		g.broadcast(m, a)
		for v, b := range g.b {
			g.fma231(b, a, g.acc[r*weighVectors+v])
		}
	}
	g.ADDQ(imm(g.size), g.pa)
	g.ADDQ(imm(weighVectors*g.bytes()), g.pb)
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
		g.store(r, operand.Mem{Base: g.c, Disp: i * g.bytes()}, false)
	}
	g.ADDQ(imm(weighCount*g.bytes()), g.c)
	g.LEAQ(operand.Mem{Base: g.left, Index: g.lda, Scale: 4}, g.left)
	g.ADDQ(g.lda, g.left)
	g.SUBQ(imm(weighRows), g.rows)
}

// exponential replaces the vector at px by its weights and goes on to the next. The arithmetic is expSub's.
func (g *weigher) exponential() {
	scale, err := g.Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	at := func(p reg.GPVirtual) operand.Mem { return operand.Mem{Base: p, Index: g.column, Scale: 1} }
	x, p := g.exp.x[0], g.exp.p[0]
	g.load(operand.Mem{Base: g.px}, x, false)
	g.broadcast(scale.Addr, p)
	g.fms213(at(g.ref), p, x)
	g.sub(at(g.low), x, x)
	g.exp.exp512()
	g.store(p, operand.Mem{Base: g.px}, false)
	g.add(at(g.sum), p, p)
	g.store(p, at(g.sum), false)
	g.ADDQ(imm(g.bytes()), g.px)
	g.ADDQ(imm(g.bytes()), g.column)
	g.ANDQ(imm(weighVectors*g.bytes()-1), g.column)
}
