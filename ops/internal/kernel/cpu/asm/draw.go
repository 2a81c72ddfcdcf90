package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// drawer generates draw for a strip of queries.
type drawer struct {
	*columns
	first, second       operand.Op // multipliers of lowbias32
	threshold, key      reg.VecPhysical
	queries, x, scratch set
	word                reg.GPVirtual // address of the strip's bits in a row's word
}

// draw writes draw of scoremod.go. A strip writes whole bytes of the words: those of a partial vector with zeros for missing lanes.
func (t *target) draw() {
	t.begin("draw"+t.isa, "is draw in "+t.isa+".", "bits []uint64, queries, keys []uint32, threshold uint32")
	n, left := t.Load(t.Param("queries").Len(), t.GP64()).(reg.GPVirtual), t.GP64()
	t.XORQ(left, left)
	for _, s := range []strip{{4, false}, {1, true}} {
		name := map[bool]string{false: "whole", true: "rest"}[s.partial]
		t.beginStrip(name, s, n)
		newDrawer(&columns{target: t, strip: s, name: name, left: left, free: t.registers()}).keys()
		t.endStrip(name, s, n, left)
	}
	t.finish()
}

func newDrawer(c *columns) *drawer {
	if c.partial && !c.wide() {
		c.free = c.free[:len(c.free)-1] // without the lane mask
	}
	g := &drawer{columns: c, queries: c.take(), x: c.take(), scratch: c.take(), key: c.takeOne(), threshold: c.scalar("threshold")}
	at := c.constants("lowbias32", []uint64{0x7feb352d, 0x846ca68b})
	g.first, g.second = c.hold(at(0)), c.hold(at(1))
	g.loadAll(g.pointer("queries"), g.queries)
	g.word = g.GP64()
	g.MOVQ(g.left, g.word)
	g.SHRQ(imm(log2(4*8)), g.word) // a bit for four bytes
	g.ADDQ(g.base("bits"), g.word)
	return g
}

// keys generates the loop over the rows.
func (g *drawer) keys() {
	keys, left := g.base("keys"), g.Load(g.Param("keys").Len(), g.GP64())
	g.Label(g.name + "row")
	g.VPBROADCASTD(operand.Mem{Base: keys}, g.key)
	g.each(func(v int) { g.xor(g.key, g.queries[v], g.x[v]) })
	g.fold(16)
	g.each(func(v int) { g.VPMULLD(g.first, g.x[v], g.x[v]) })
	g.fold(15)
	g.each(func(v int) { g.VPMULLD(g.second, g.x[v], g.x[v]) })
	g.fold(16)
	if g.wide() {
		g.wideBits()
	} else {
		g.narrowBits()
	}
	g.ADDQ(imm(4), keys)
	g.ADDQ(imm(8), g.word)
	g.DECQ(left)
	g.JNE(operand.LabelRef(g.name + "row"))
}

// fold is x ^= x >> n.
func (g *drawer) fold(n int) {
	g.each(func(v int) { g.VPSRLD(imm(n), g.x[v], g.scratch[v]) })
	g.each(func(v int) { g.xor(g.scratch[v], g.x[v], g.x[v]) })
}

func (g *drawer) xor(x ...operand.Op) {
	if g.wide() {
		g.VPXORD(x...)
		return
	}
	g.VPXOR(x[0], x[1], x[2])
}

// wideBits compares into mask registers and joins these.
func (g *drawer) wideBits() {
	const notLess = 5
	if g.partial {
		g.VPCMPUD(imm(notLess), g.threshold, g.x[0], laneMask, reg.K2)
		g.KMOVW(reg.K2, operand.Mem{Base: g.word})
		return
	}
	masks := []reg.OpmaskPhysical{reg.K2, reg.K3, reg.K4, reg.K5}
	g.each(func(v int) { g.VPCMPUD(imm(notLess), g.threshold, g.x[v], masks[v]) })
	g.KUNPCKWD(reg.K2, reg.K3, reg.K2)
	g.KUNPCKWD(reg.K4, reg.K5, reg.K4)
	g.KUNPCKDQ(reg.K2, reg.K4, reg.K2)
	g.KMOVQ(reg.K2, operand.Mem{Base: g.word})
}

// narrowBits knows no unsigned comparison: what is not less is what the maximum with the threshold leaves alone.
func (g *drawer) narrowBits() {
	g.each(func(v int) { g.VPMAXUD(g.threshold, g.x[v], g.scratch[v]) })
	g.each(func(v int) { g.VPCMPEQD(g.scratch[v], g.x[v], g.x[v]) })
	if g.partial {
		g.VPAND(laneMask2, g.x[0], g.x[0])
	}
	g.each(func(v int) {
		bits := g.GP32()
		g.VMOVMSKPS(g.x[v], bits)
		g.MOVB(bits.As8(), operand.Mem{Base: g.word, Disp: v})
	})
}
