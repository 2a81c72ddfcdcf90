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
	*target
	strip
	poly      func(i int) operand.Mem // coefficients
	degree    int
	low, high operand.Mem
	// Registers, one for each vector of the strip; n is scratch of the AVX2 form.
	ref, sum, x, f, p, n []reg.VecPhysical
}

// expSub writes expSub of primitives.go.
func (t *target) expSub() {
	e := t.element()
	t.function("expSub", "is expSub in "+t.isa+".", "x []"+e+", ref []"+e+", width int, sum []"+e)
	n, left, stride := t.number("width"), t.GP64(), t.stride("width")
	t.XORQ(left, left)
	widths := []strip{{4, false}, {1, true}}
	if !t.wide() {
		widths[0].vectors = 2
	}
	for _, s := range widths {
		g := t.newExper(s)
		name := fmt.Sprintf("strip%d", s.vectors)
		width := s.vectors * t.lanes()
		t.Label(name)
		if s.partial {
			t.CMPQ(n, imm(1))
		} else {
			t.CMPQ(n, imm(width))
		}
		t.JLT(operand.LabelRef(name + "end"))
		if s.partial {
			t.setLaneMask(n)
		}
		g.columns(name, left, stride)
		t.ADDQ(imm(s.vectors*t.bytes()), left)
		t.SUBQ(imm(width), n)
		t.JMP(operand.LabelRef(name))
		t.Label(name + "end")
	}
	t.finish()
}

func (t *target) newExper(s strip) *exper {
	coefficients, name := poly32, "exp2F32"
	if t.size == 8 {
		coefficients, name = poly64, "exp2F64"
	}
	at := t.constants(name, append(append([]uint64{}, coefficients...), exponents[t.size]...))
	g := &exper{target: t, strip: s, poly: at, degree: len(coefficients) - 1}
	g.low, g.high = at(g.degree+1), at(g.degree+2)
	free := t.registers()
	for _, set := range []*[]reg.VecPhysical{&g.ref, &g.sum, &g.x, &g.f, &g.p, &g.n} {
		*set, free = free[:s.vectors], free[s.vectors:]
	}
	return g
}

// columns does all rows of one strip, left bytes from the first column.
func (g *exper) columns(name string, left, stride reg.GPVirtual) {
	x, ref, sum := g.base("x"), g.base("ref"), g.base("sum")
	end := g.Load(g.Param("x").Len(), g.GP64()).(reg.GPVirtual)
	g.SHLQ(imm(log2(g.size)), end)
	g.ADDQ(x, end)
	for _, p := range []reg.GPVirtual{x, ref, sum} {
		g.ADDQ(left, p)
	}
	g.each(func(v int, partial bool) { g.load(g.at(ref, v), g.ref[v], partial) })
	g.each(func(v int, partial bool) { g.load(g.at(sum, v), g.sum[v], partial) })
	g.Label(name + "row")
	g.each(func(v int, partial bool) { g.load(g.at(x, v), g.x[v], partial) })
	g.each(func(v int, _ bool) { g.sub(g.ref[v], g.x[v], g.x[v]) })
	if g.wide() {
		g.exp512()
	} else {
		g.exp256()
	}
	g.each(func(v int, partial bool) { g.store(g.p[v], g.at(x, v), partial) })
	g.each(func(v int, _ bool) { g.add(g.p[v], g.sum[v], g.sum[v]) })
	g.ADDQ(stride, x)
	g.CMPQ(x, end)
	g.JCS(operand.LabelRef(name + "row"))
	g.each(func(v int, partial bool) { g.store(g.sum[v], g.at(sum, v), partial) })
}

// each visits the strip's vectors: the chains of one step are independent, so
// interleaving them hides their latency.
func (g *exper) each(visit func(v int, partial bool)) {
	for v := range g.vectors {
		visit(v, g.partial && v == g.vectors-1)
	}
}

func (g *exper) at(p reg.GPVirtual, v int) operand.Mem {
	return operand.Mem{Base: p, Disp: v * g.bytes()}
}

// polynomial sets p to 2^f by Horner's rule.
func (g *exper) polynomial() {
	g.each(func(v int, _ bool) { g.byType(g.VMOVUPS, g.VMOVUPD)(g.poly(g.degree), g.p[v]) })
	for i := g.degree - 1; i >= 0; i-- {
		g.each(func(v int, _ bool) { g.fma213(g.poly(i), g.f[v], g.p[v]) })
	}
}

// exp512 sets p to 2^x: VREDUCE takes x minus its floor, VSCALEF multiplies by
// 2^floor(x) and knows infinities and NaN; the mask makes small results 0.
func (g *exper) exp512() {
	const floor, notLess = 1, 0x15
	masks := []reg.OpmaskPhysical{reg.K2, reg.K3, reg.K4, reg.K5}
	g.each(func(v int, _ bool) { g.byType(g.VREDUCEPS, g.VREDUCEPD)(imm(floor), g.x[v], g.f[v]) })
	g.polynomial()
	g.each(func(v int, _ bool) { g.compare(imm(notLess), g.low, g.x[v], masks[v]) })
	g.each(func(v int, _ bool) {
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
	const floor, notLess = 1, 0x15
	high, keep := g.n, g.f
	g.each(func(v int, _ bool) { g.load(g.high, high[v], false) })
	g.each(func(v int, _ bool) { g.min(g.x[v], high[v], g.x[v]) })
	g.each(func(v int, _ bool) { g.floor(g.x[v], g.n[v]) })
	g.each(func(v int, _ bool) { g.sub(g.n[v], g.x[v], g.f[v]) })
	g.polynomial()
	g.each(func(v int, _ bool) { g.addExponent(g.n[v], g.p[v]) })
	g.each(func(v int, _ bool) { g.compare(imm(notLess), g.low, g.x[v], keep[v]) })
	g.each(func(v int, _ bool) { g.byType(g.VANDPS, g.VANDPD)(keep[v], g.p[v], g.p[v]) })
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
