package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// scoreMods writes the functions of scoremod.go of package cpu. draw has no element type and is written once.
func (t *target) scoreMods() {
	t.sift()
	t.bias()
	t.softcap()
	t.flatten()
	if t.size == 4 {
		t.draw()
	}
}

// sift writes sift of scoremod.go. Rows without a hidden lane are left alone: most masks hide nothing in most of them.
func (t *target) sift() {
	e := t.element()
	t.function("sift", "is sift in "+t.isa+".", fmt.Sprintf("x []%s, ld, rows, width int, bits []uint64, first int, value %s", e, e))
	first := t.number("first")
	t.eachStrip(func(g *columns) {
		px, pb, hidden, shift := g.pointer("x"), g.base("bits"), g.GP64(), reg.RCX
		value := g.scalar("value")
		write := g.narrowSift(value, hidden)
		if g.wide() {
			write = g.wideSift(value, hidden)
		}
		g.MOVQ(g.left, shift)
		g.SHRQ(imm(log2(g.size)), shift)
		g.ADDQ(first, shift)
		g.rows([]reg.GPVirtual{px}, func() {
			g.MOVQ(operand.Mem{Base: pb}, hidden)
			g.NOTQ(hidden)
			g.SHRQ(reg.CL, hidden)
			g.testBits(hidden, g.vectors*g.lanes())
			g.JE(operand.LabelRef(g.name + "seen"))
			write(px)
			g.Label(g.name + "seen")
			g.ADDQ(imm(8), pb)
		})
	})
	t.finish()
}

// testBits compares the lowest n bits of r with zero.
func (t *target) testBits(r reg.GPVirtual, n int) {
	if n == 64 {
		t.TESTQ(r, r)
		return
	}
	t.TESTL(operand.U32(1<<n-1), r.As32())
}

// wideSift stores the value under masks that are the bits themselves.
func (g *columns) wideSift(value reg.VecPhysical, hidden reg.GPVirtual) (write func(px reg.GPVirtual)) {
	masks := []reg.OpmaskPhysical{reg.K2, reg.K3, reg.K4, reg.K5}
	return func(px reg.GPVirtual) {
		g.KMOVQ(hidden, masks[0])
		if g.partial {
			g.KANDW(laneMask, masks[0], masks[0])
		}
		for v := 1; v < g.vectors; v++ {
			g.KSHIFTRQ(imm(v*g.lanes()), masks[0], masks[v])
		}
		g.each(func(v int) {
			g.byType(g.VMOVUPS, g.VMOVUPD)(value, masks[v], operand.Mem{Base: px, Disp: v * g.bytes()})
		})
	}
}

// narrowSift shifts the bit of each lane into its sign, which is what the blend goes by.
func (g *columns) narrowSift(value reg.VecPhysical, hidden reg.GPVirtual) (write func(px reg.GPVirtual)) {
	var words []uint64
	for lane := range uint64(2 * g.lanes()) {
		if g.size == 8 {
			words = append(words, 63-lane)
		} else if lane%2 == 0 {
			words = append(words, (31-lane-1)<<32|(31-lane))
		}
	}
	toSign := g.table(fmt.Sprintf("siftF%d", 8*g.size), words)
	x, sign, word := g.take(), g.take(), g.takeOne()
	return func(px reg.GPVirtual) {
		g.loadAll(px, x)
		g.VMOVQ(hidden, word.AsX())
		g.byType(g.VPBROADCASTD, g.VPBROADCASTQ)(word.AsX(), word)
		g.each(func(v int) { g.byType(g.VPSLLVD, g.VPSLLVQ)(toSign.Offset(v*g.bytes()), word, sign[v]) })
		g.each(func(v int) { g.ifNegative(sign[v], value, x[v]) })
		g.storeAll(x, px)
	}
}

// bias writes bias of scoremod.go.
func (t *target) bias() {
	e := t.element()
	t.function("bias", "is bias in "+t.isa+".",
		fmt.Sprintf("x []%s, ld, rows, width int, factor %s, queries, keys []%s, slope %s", e, e, e, e))
	t.eachStrip(func(g *columns) {
		x, d, query, key := g.take(), g.take(), g.take(), g.takeOne()
		factor, slope, magnitude := g.scalar("factor"), g.scalar("slope"), g.hold(g.magnitude())
		px, pk := g.pointer("x"), g.base("keys")
		g.loadAll(g.pointer("queries"), query)
		g.rows([]reg.GPVirtual{px}, func() {
			g.broadcast(operand.Mem{Base: pk}, key)
			g.loadAll(px, x)
			g.each(func(v int) { g.sub(key, query[v], d[v]) })
			g.each(func(v int) { g.and(magnitude, d[v], d[v]) })
			g.each(func(v int) { g.mul(slope, d[v], d[v]) })
			g.each(func(v int) { g.fms213(d[v], factor, x[v]) })
			g.storeAll(x, px)
			g.ADDQ(imm(g.size), pk)
		})
	})
	t.finish()
}

// flatten writes flatten of scoremod.go.
func (t *target) flatten() {
	e := t.element()
	t.function("flatten", "is flatten in "+t.isa+".", fmt.Sprintf("dp, tanh []%s, ld, rows, width int, delta []%s", e, e))
	t.eachStrip(func(g *columns) {
		d, tanh, delta, one := g.take(), g.take(), g.take(), g.hold(g.one())
		pd, pt := g.pointer("dp"), g.pointer("tanh")
		g.loadAll(g.pointer("delta"), delta)
		g.rows([]reg.GPVirtual{pd, pt}, func() {
			g.loadAll(pt, tanh)
			g.loadAll(pd, d)
			g.each(func(v int) { g.byType(g.VFNMADD213PS, g.VFNMADD213PD)(one, tanh[v], tanh[v]) })
			g.each(func(v int) { g.sub(delta[v], d[v], d[v]) })
			g.each(func(v int) { g.fma213(delta[v], tanh[v], d[v]) })
			g.storeAll(d, pd)
		})
	})
	t.finish()
}

func (t *target) and(x ...operand.Op) { t.byType(t.VANDPS, t.VANDPD)(x...) }

// one is 1 in every lane, magnitude all bits of an element but its sign.
func (t *target) one() operand.Mem {
	bits := uint64(math.Float32bits(1))
	if t.size == 8 {
		bits = math.Float64bits(1)
	}
	return t.constants(fmt.Sprintf("oneF%d", 8*t.size), []uint64{bits})(0)
}

func (t *target) magnitude() operand.Mem {
	return t.constants(fmt.Sprintf("magnitudeF%d", 8*t.size), []uint64{1<<(8*t.size-1) - 1})(0)
}
