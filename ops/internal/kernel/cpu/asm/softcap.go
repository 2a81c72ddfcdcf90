package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The polynomial of 1 - 2^-f for |f| <= 1/2, lowest power (f) first, as bits: ln 2 to the nearest, then what a Remez exchange in 200
// bits gives with the former held fixed, for the least relative error. Rounded as they are, 2.1e-8 and 6.7e-17. There is no
// constant term, so tiny arguments keep their accuracy.
var (
	dropPoly32 = []uint64{0x3f317218, 0xbe75fdef, 0x3d6357d9, 0xbc1d95e0, 0x3aaf7623, 0xb9217196}
	dropPoly64 = []uint64{
		0x3fe62e42fefa39ef, 0xbfcebfbdff82c598, 0x3fac6b08d704a09a, 0xbf83b2ab6fba1fc4, 0x3f55d87fe78b091b, 0xbf24309130911132,
		0x3eeffcbfc23a9bb1, 0xbeb62bfd55d908e4, 0x3e7b5259901d05ff, 0xbe3e604bfb7b9465, 0x3dfe8d31898f5ee4,
	}
)

// tanher generates tanh for a strip of columns.
type tanher struct {
	*columns
	rate, high, one, two operand.Op   // 2·log2 e; where tanh is 1 in all digits; in registers, as magnitude is
	magnitude            operand.Op   // all bits but the sign
	round                operand.Op   // added, it leaves a number rounded to an integer in the low bits
	drop                 []operand.Op // coefficients
	fractionBits         int
	y, f, s, p           set
}

// newTanher takes registers for scratch, for the constants that need one and for as many more as are left.
func newTanher(c *columns) *tanher {
	g := &tanher{columns: c, y: c.take(), f: c.take(), s: c.take(), p: c.take(), fractionBits: 23}
	bits, poly := []uint64{0x4038aa3b, 0x41f00000, 0x3f800000, 0x40000000, 1<<31 - 1, 0x4b400000}, dropPoly32
	if c.size == 8 {
		g.fractionBits = 52
		bits = []uint64{0x40071547652b82fe, 0x403e << 48, 0x3ff0 << 48, 0x4000 << 48, 1<<63 - 1, 0x4338 << 48}
		poly = dropPoly64
	}
	at := c.constants(fmt.Sprintf("tanhF%d", 8*c.size), append(append([]uint64{}, bits...), poly...))
	g.rate, g.high, g.one, g.two = g.hold(at(0)), g.hold(at(1)), g.hold(at(2)), g.hold(at(3))
	g.magnitude, g.round = g.hold(at(4)), g.hold(at(5))
	for i := range poly {
		g.drop = append(g.drop, g.hold(at(len(bits)+i)))
	}
	return g
}

// tanh sets p to tanh y = (1-e)/(1+e) with the sign of y, e = exp(-2|y|). As 2^-(n+f) with n an integer and |f| <= 1/2,
//
//	d = 1-e = 2^-n·(1-2^-f) + (1-2^-n)  and  tanh |y| = d/(2-d):
//
// where n is 0 nothing cancels and d is as good as the polynomial. The product 2·log2 e·|y| is never rounded but in f. Of two numbers
// min takes its second source, the first operand here, if one is NaN.
func (g *tanher) tanh() {
	g.each(func(v int) { g.and(g.magnitude, g.y[v], g.f[v]) })
	g.each(func(v int) { g.min(g.f[v], g.high, g.f[v]) })
	g.each(func(v int) { g.move(g.round, g.s[v]) })
	g.each(func(v int) { g.byType(g.VFMADD231PS, g.VFMADD231PD)(g.rate, g.f[v], g.s[v]) })
	g.each(func(v int) { g.sub(g.round, g.s[v], g.p[v]) })   // n
	g.each(func(v int) { g.fms213(g.p[v], g.rate, g.f[v]) }) // f
	g.each(func(v int) { g.power(g.s[v]) })
	g.fall()
	g.each(func(v int) { g.sub(g.s[v], g.one, g.f[v]) })
	g.each(func(v int) { g.fma213(g.f[v], g.s[v], g.p[v]) }) // d
	g.each(func(v int) { g.sub(g.p[v], g.two, g.f[v]) })
	g.each(func(v int) { g.div(g.f[v], g.p[v], g.p[v]) })
	g.each(func(v int) { g.copySign(g.y[v], g.s[v], g.p[v]) })
}

// fall sets p to 1 - 2^-f. The term in f goes in last and unrounded: what was rounded before is small beside it.
func (g *tanher) fall() {
	n := len(g.drop) - 1
	g.each(func(v int) { g.move(g.drop[n], g.p[v]) })
	for i := n - 1; i >= 1; i-- {
		g.each(func(v int) { g.fma213(g.drop[i], g.f[v], g.p[v]) })
	}
	g.each(func(v int) { g.mul(g.f[v], g.p[v], g.p[v]) })
	g.each(func(v int) { g.mul(g.f[v], g.p[v], g.p[v]) })
	g.each(func(v int) { g.byType(g.VFMADD231PS, g.VFMADD231PD)(g.drop[0], g.f[v], g.p[v]) })
}

// power turns s, n in the low bits, into 2^-n.
func (g *tanher) power(s reg.VecPhysical) {
	g.byType(g.VPSLLD, g.VPSLLQ)(imm(g.fractionBits), s, s)
	g.byType(g.VPSUBD, g.VPSUBQ)(s, g.one, s)
}

// copySign gives p, which is not negative, the sign of y; scratch is overwritten.
func (g *tanher) copySign(y, scratch, p reg.VecPhysical) {
	if g.wide() {
		const byMask = 0xe4 // p where the mask has a one, else y
		g.byType(g.VPTERNLOGD, g.VPTERNLOGQ)(operand.U8(byMask), g.magnitude, y, p)
		return
	}
	g.byType(g.VANDNPS, g.VANDNPD)(y, g.magnitude, scratch)
	g.byType(g.VORPS, g.VORPD)(scratch, p, p)
}

func (t *target) move(from operand.Op, to reg.VecPhysical) { t.byType(t.VMOVUPS, t.VMOVUPD)(from, to) }

// softcap writes softcap of scoremod.go.
func (t *target) softcap() {
	e := t.element()
	t.function("softcap", "is softcap in "+t.isa+".", fmt.Sprintf("x, tanh []%s, ld, rows, width int, factor, limit %s", e, e))
	t.eachStrip(func(c *columns) {
		factor, limit := c.scalar("factor"), c.scalar("limit")
		g := newTanher(c)
		px, pt := g.pointer("x"), g.pointer("tanh")
		g.rows([]reg.GPVirtual{px, pt}, func() {
			g.loadAll(px, g.y)
			g.each(func(v int) { g.mul(factor, g.y[v], g.y[v]) })
			g.tanh()
			g.storeAll(g.p, pt)
			g.each(func(v int) { g.mul(limit, g.p[v], g.p[v]) })
			g.storeAll(g.p, px)
		})
	})
	t.finish()
}
