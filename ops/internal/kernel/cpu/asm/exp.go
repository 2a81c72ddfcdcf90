package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Minimax polynomials, lowest power first, as bits. Where vectors are 64 bytes wide a table of sixteenths leaves f in [0,1/16], and the short
// ones are (2^f - 1)/f: relative errors of 2^f 1.3e-9 and 7.6e-18. AVX2 has 2^f for f in [0,1], with constant 1: exp2Poly32 of package
// cpu (2e-9), and degree 11 (3e-18).
var (
	shortPoly32 = []uint64{0x3f31721f, 0x3e75f2dc, 0x3d681eb2}
	shortPoly64 = []uint64{
		0x3fe62e42fefa39ab, 0x3fcebfbdff84120f, 0x3fac6b08d4e93fd1, 0x3f83b2ad019500df, 0x3f55d7518c7bba1a, 0x3f24a0386de010f6,
	}
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

	// Of 64-byte vectors:
	octave []reg.VecPhysical // 2^(j/16)
	magic  reg.VecPhysical   // added, it leaves x rounded down to sixteenths in the low bits
	powers set               // 2^(j/16) of each lane
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

// newExper takes the scratch registers; most constants are in memory.
func newExper(c *columns) *exper {
	g := &exper{columns: c, x: c.take(), f: c.take(), p: c.take()}
	coefficients, name := poly32, "exp2F32"
	if c.size == 8 {
		coefficients, name = poly64, "exp2F64"
	}
	if c.wide() {
		g.powers = c.take()
		g.loadTable()
		coefficients = shortPoly32
		if c.size == 8 {
			coefficients = shortPoly64
		}
	} else {
		g.n = c.take()
	}
	at := c.constants(name, append(append([]uint64{}, coefficients...), exponents[c.size]...))
	n := len(coefficients)
	g.low, g.high = at(n), at(n+1)
	for i := range n {
		g.poly = append(g.poly, at(i))
	}
	return g
}

// loadTable fills the registers from which VPERM takes powers by the low four bits of a lane.
func (g *exper) loadTable() {
	var words []uint64
	magic := uint64(math.Float64bits(1.5 * (1 << 48)))
	if g.size == 4 {
		magic = uint64(math.Float32bits(1.5 * (1 << 19)))
		for j := 0; j < 16; j += 2 {
			words = append(words, power32(j+1)<<32|power32(j))
		}
	} else {
		for j := range 16 {
			words = append(words, math.Float64bits(power(j)))
		}
	}
	table := g.table(fmt.Sprintf("exp2TableF%d", 8*g.size), words)
	for i := range len(words) / 8 {
		r := g.takeOne()
		g.byType(g.VMOVUPS, g.VMOVUPD)(table.Offset(64*i), r)
		g.octave = append(g.octave, r)
	}
	g.magic = g.takeOne()
	g.byType(g.VMOVUPS, g.VMOVUPD)(g.constants(fmt.Sprintf("exp2MagicF%d", 8*g.size), []uint64{magic})(0), g.magic)
}

func power(j int) float64 { return math.Exp2(float64(j) / 16) }

func power32(j int) uint64 { return uint64(math.Float32bits(float32(power(j)))) }

// holdConstants loads constants into the registers that are left.
func (g *exper) holdConstants() {
	g.low = g.hold(g.low)
	for i, c := range g.poly {
		g.poly[i] = g.hold(c)
	}
}

// polynomial sets p to that of f by Horner's rule.
func (g *exper) polynomial() {
	n := len(g.poly) - 1
	g.each(func(v int) { g.byType(g.VMOVUPS, g.VMOVUPD)(g.poly[n], g.p[v]) })
	for i := n - 1; i >= 0; i-- {
		g.each(func(v int) { g.fma213(g.poly[i], g.f[v], g.p[v]) })
	}
}

// exp512 sets p to 2^x for x = k + j/16 + f, with the table's 2^(j/16) and a polynomial of f. VREDUCE takes x minus its floor, here of
// sixteenths, and VSCALEF multiplies by 2^floor(x); both know infinities and NaN. The mask makes small results 0.
func (g *exper) exp512() {
	g.lookUp(g.x)
	g.each(func(v int) { g.fraction(g.x[v], g.f[v]) })
	g.product512()
}

// lookUp sets powers to the table's at the sixteenths of x.
func (g *exper) lookUp(x set) {
	g.each(func(v int) { g.byType(g.VADDPS_RD_SAE, g.VADDPD_RD_SAE)(g.magic, x[v], g.powers[v]) })
	g.each(func(v int) {
		if g.size == 4 {
			g.VPERMPS(g.octave[0], g.powers[v], g.powers[v])
		} else {
			g.VPERMI2PD(g.octave[1], g.octave[0], g.powers[v])
		}
	})
}

// fraction sets f to x minus its floor in sixteenths.
func (g *exper) fraction(x, f reg.VecPhysical) {
	const floor, sixteenths = 1, 4 << 4
	g.byType(g.VREDUCEPS, g.VREDUCEPD)(imm(sixteenths|floor), x, f)
}

// product512 sets p to 2^floor(x)·power·2^f; f is overwritten. The power goes in last, as power + power·(2^f - 1), which rounds less than
// a product of the two.
func (g *exper) product512() {
	g.polynomial()
	g.each(func(v int) { g.mul(g.powers[v], g.f[v], g.f[v]) })
	g.each(func(v int) { g.fma213(g.powers[v], g.f[v], g.p[v]) })
	g.scale512()
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
