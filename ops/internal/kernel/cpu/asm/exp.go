package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Minimax polynomials of 2^f on [0,1] with constant 1, lowest power first, as
// bits: exp2Poly32 of package cpu (relative error 2e-9), and one of degree 11
// for float64 (3e-18).
var (
	poly32 = []uint64{0x3f800000, 0x3f317216, 0x3e75feac, 0x3d634489, 0x3c1e85c9, 0x3aa36b27, 0x3962a0ba}
	poly64 = []uint64{
		0x3ff0000000000000, 0x3fe62e42fefa39f5, 0x3fcebfbdff82c04b, 0x3fac6b08d7065838,
		0x3f83b2ab6f73415e, 0x3f55d87ff4d22874, 0x3f24308fa1dce4b1, 0x3eeffcfc6aa0fa7b,
		0x3eb628f3580bf4b8, 0x3e7b85f42f1e6966, 0x3e3c2c4781f7a633, 0x3e058566fe5ab70a,
	}
)

// exponents are the powers of two that bound the normal range: below low the
// result is 0, from high on it is infinite. Bits of -126, 128 and -1022, 1024.
var exponents = map[int][]uint64{
	4: {0xc2fc0000, 0x43000000},
	8: {0xc08ff00000000000, 0x4090000000000000},
}

// exper generates expSub for a strip of columns.
type exper struct {
	*columns
	poly      []operand.Op // coefficients
	low, high operand.Op   // of exponents
	x, f, p   set
	n         set // scratch of the AVX2 form
}

// expSub writes expSub of primitives.go.
func (t *target) expSub() {
	e := t.element()
	t.function("expSub", "is expSub in "+t.isa+".",
		fmt.Sprintf("x []%s, ld, rows, width int, ref []%s, scale %s, low, sum []%s", e, e, e, e))
	t.eachStrip(func(c *columns) {
		g := newExper(c)
		ref, sum, scale := g.take(), g.take(), g.scalar("scale")
		low := g.n // where registers are scarce it is loaded for each row
		if g.wide() {
			low = g.take()
		}
		g.holdConstants()
		px, pr, pl, ps := g.pointer("x"), g.pointer("ref"), g.pointer("low"), g.pointer("sum")
		g.loadAll(pr, ref)
		g.loadAll(ps, sum)
		if g.wide() {
			g.loadAll(pl, low)
		}
		g.rows([]reg.GPVirtual{px}, func() {
			g.loadAll(px, g.x)
			if !g.wide() {
				g.loadAll(pl, low)
			}
			g.each(func(v int) { g.sub(ref[v], g.x[v], g.x[v]) })
			g.each(func(v int) { g.fms213(low[v], scale, g.x[v]) })
			if g.wide() {
				g.exp512()
			} else {
				g.exp256()
			}
			g.storeAll(g.p, px)
			g.each(func(v int) { g.add(g.p[v], sum[v], sum[v]) })
		})
		g.storeAll(sum, ps)
	})
	t.finish()
}

// newExper takes the scratch registers; the constants are in memory.
func newExper(c *columns) *exper {
	g := &exper{columns: c, x: c.take(), f: c.take(), p: c.take()}
	if !c.wide() {
		g.n = c.take()
	}
	coefficients, name := poly32, "exp2F32"
	if c.size == 8 {
		coefficients, name = poly64, "exp2F64"
	}
	at := c.constants(name, append(append([]uint64{}, coefficients...), exponents[c.size]...))
	n := len(coefficients)
	g.low, g.high = at(n), at(n+1)
	for i := range n {
		g.poly = append(g.poly, at(i))
	}
	return g
}

// holdConstants loads constants into the registers that are left.
func (g *exper) holdConstants() {
	g.low = g.hold(g.low)
	for i, c := range g.poly {
		g.poly[i] = g.hold(c)
	}
}

// polynomial sets p to 2^f by Horner's rule.
func (g *exper) polynomial() {
	n := len(g.poly) - 1
	g.each(func(v int) { g.byType(g.VMOVUPS, g.VMOVUPD)(g.poly[n], g.p[v]) })
	for i := n - 1; i >= 0; i-- {
		g.each(func(v int) { g.fma213(g.poly[i], g.f[v], g.p[v]) })
	}
}

// exp512 sets p to 2^x: VREDUCE takes x minus its floor, VSCALEF multiplies by
// 2^floor(x) and knows infinities and NaN; the mask makes small results 0.
func (g *exper) exp512() {
	g.each(func(v int) { g.fraction(g.x[v], g.f[v]) })
	g.polynomial()
	g.scale512()
}

// fraction sets f to x minus its floor.
func (g *exper) fraction(x, f reg.VecPhysical) {
	const floor = 1
	g.byType(g.VREDUCEPS, g.VREDUCEPD)(imm(floor), x, f)
}

// scale512 multiplies p by 2^floor(x).
func (g *exper) scale512() {
	const notLess = 0x15
	masks := []reg.OpmaskPhysical{reg.K2, reg.K3, reg.K4, reg.K5}
	g.each(func(v int) { g.compare(imm(notLess), g.low, g.x[v], masks[v]) })
	g.each(func(v int) {
		if g.size == 4 {
			g.VSCALEFPS_Z(g.x[v], g.p[v], masks[v], g.p[v])
		} else {
			g.VSCALEFPD_Z(g.x[v], g.p[v], masks[v], g.p[v])
		}
	})
}

// exp256 sets p to 2^x, adding floor(x) to the exponent bits. x is cut off at
// high, where that gives infinity. Min and max return their second source
// if one is NaN, so NaN stays in x, and 0 is added to its bits.
func (g *exper) exp256() {
	high := g.n
	g.each(func(v int) { g.byType(g.VMOVUPS, g.VMOVUPD)(g.high, high[v]) })
	g.each(func(v int) { g.min(g.x[v], high[v], g.x[v]) })
	g.each(func(v int) { g.floor(g.x[v], g.n[v]) })
	g.each(func(v int) { g.sub(g.n[v], g.x[v], g.f[v]) })
	g.polynomial()
	g.scale256()
}

// scale256 multiplies p by 2^n, and makes it 0 where x is low.
func (g *exper) scale256() {
	const notLess = 0x15
	keep := g.f
	g.each(func(v int) { g.addExponent(g.n[v], g.p[v]) })
	g.each(func(v int) { g.compare(imm(notLess), g.low, g.x[v], keep[v]) })
	g.each(func(v int) { g.byType(g.VANDPS, g.VANDPD)(keep[v], g.p[v], g.p[v]) })
}

// floor sets n to the whole number not above x.
func (g *exper) floor(x, n reg.VecPhysical) {
	if g.size == 4 {
		g.VROUNDPS(imm(1), x, n)
	} else {
		g.VROUNDPD(imm(1), x, n)
	}
}

// addExponent multiplies p by 2^n through p's bits; n is overwritten.
func (g *exper) addExponent(n, p reg.VecPhysical) {
	if g.size == 4 {
		g.VCVTPS2DQ(n, n)
		g.VPSLLD(imm(23), n, n)
		g.VPADDD(n, p, p)
		return
	}
	g.VCVTPD2DQY(n, n.AsX())
	g.VPMOVSXDQ(n.AsX(), n)
	g.VPSLLQ(imm(52), n, n)
	g.VPADDQ(n, p, p)
}
