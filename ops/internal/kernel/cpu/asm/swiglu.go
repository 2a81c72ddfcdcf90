package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// log2e is log2 e as the nearest number of the type and what is missing to it.
const (
	log2e      = 0x3ff71547652b82fe
	log2eRest  = 0x3c7777d0ffda0d24
	log2e32    = 0x3fb8aa3b
	log2eRest2 = 0x32a57060
)

// gater generates what goes through the sigmoid.
type gater struct {
	*elements
	exp                              *exper
	high, rest, one, sign, magnitude operand.Op
	a                                set // -|gate|
}

func newGater(g *elements) *gater {
	bits := []uint64{log2e32, log2eRest2, uint64(math.Float32bits(1)), 1 << 31}
	if g.size == 8 {
		bits = []uint64{log2e, log2eRest, math.Float64bits(1), 1 << 63}
	}
	at := g.constants(fmt.Sprintf("sigmoidF%d", 8*g.size), bits)
	s := &gater{elements: g, exp: newExper(g.columns), a: g.take()}
	s.high, s.rest, s.one, s.sign = g.hold(at(0)), g.hold(at(1)), g.hold(at(2)), g.hold(at(3))
	s.exp.holdConstants()
	return s
}

// sigmoid sets p to 1/(1+e^-x) for the x at a place: with e = e^-|x| it is 1/(1+e) or, for negative x, e/(1+e), so nothing
// overflows or cancels. a is overwritten.
func (g *gater) sigmoid(gate reg.GPVirtual) (p set) {
	p, one := g.exp.p, g.exp.f
	g.fetch(gate, g.a)
	g.each(func(v int) { g.byType(g.VORPS, g.VORPD)(g.sign, g.a[v], g.a[v]) })
	g.exp.ofNegative(g.a, g.high, g.rest)
	g.each(func(v int) { g.byType(g.VMOVUPS, g.VMOVUPD)(g.one, one[v]) })
	g.each(func(v int) { g.add(p[v], one[v], g.exp.x[v]) })
	g.fetch(gate, g.a)
	g.each(func(v int) { g.ifNegative(g.a[v], p[v], one[v]) })
	g.each(func(v int) { g.div(g.exp.x[v], one[v], p[v]) })
	return p
}

// ifNegative replaces r by other where x has its sign set.
func (t *target) ifNegative(x, other, r reg.VecPhysical) {
	switch {
	case t.wide() && t.size == 4:
		t.VPMOVD2M(x, reg.K2)
		t.VMOVUPS(other, reg.K2, r)
	case t.wide():
		t.VPMOVQ2M(x, reg.K2)
		t.VMOVUPD(other, reg.K2, r)
	case t.size == 4:
		t.VBLENDVPS(x, other, r, r)
	default:
		t.VBLENDVPD(x, other, r, r)
	}
}

// ofNegative sets p to e^x for x <= 0. x·log2 e is taken in two parts, its nearest number and the rest, of which the rest only
// matters to the fraction: the result is as good as exp2's, however far x is below 0.
func (g *exper) ofNegative(x set, high, rest operand.Op) {
	t := g.x
	g.each(func(v int) { g.mul(high, x[v], t[v]) })
	g.each(func(v int) { g.byType(g.VMOVUPS, g.VMOVUPD)(t[v], g.f[v]) })
	g.each(func(v int) { g.byType(g.VFMSUB231PS, g.VFMSUB231PD)(high, x[v], g.f[v]) })
	g.each(func(v int) { g.byType(g.VFMADD231PS, g.VFMADD231PD)(rest, x[v], g.f[v]) })
	if g.wide() {
		g.lookUp(t)
		g.each(func(v int) { g.fraction(t[v], g.p[v]) })
		g.each(func(v int) { g.add(g.p[v], g.f[v], g.f[v]) })
		g.product512()
		return
	}
	g.each(func(v int) { g.floor(t[v], g.n[v]) })
	g.each(func(v int) { g.sub(g.n[v], t[v], g.p[v]) })
	g.each(func(v int) { g.add(g.p[v], g.f[v], g.f[v]) })
	g.polynomial()
	g.scale256()
}

// swiglu writes SwiGLU of package cpu.
func (t *target) swiglu() {
	e := t.element()
	t.function("swiglu", "is SwiGLU in "+t.isa+".", "y, gate, up []"+e)
	t.eachVector("y", t.most(4, 2), false, func(g *elements) func() {
		s, py, pg, pu := newGater(g), g.base("y"), g.base("gate"), g.base("up")
		return func() {
			p, u := s.sigmoid(pg), s.exp.f
			g.fetch(pu, u)
			g.each(func(v int) { g.mul(s.a[v], p[v], p[v]) })
			g.each(func(v int) { g.mul(u[v], p[v], p[v]) })
			g.keep(p, py)
		}
	})
	t.finish()
}

// swigluGrad writes SwiGLUGrad of package cpu.
func (t *target) swigluGrad() {
	e := t.element()
	t.function("swigluGrad", "is SwiGLUGrad in "+t.isa+".", "dGate, dUp, gate, up, dy []"+e)
	t.eachVector("dy", t.most(4, 2), false, func(g *elements) func() {
		s := newGater(g)
		pdg, pdu, pg, pu, pd := g.base("dGate"), g.base("dUp"), g.base("gate"), g.base("up"), g.base("dy")
		return func() {
			p, d, slope, silu := s.sigmoid(pg), s.exp.f, s.exp.x, s.a
			g.fetch(pd, d)
			g.each(func(v int) { g.mul(p[v], silu[v], silu[v]) })
			g.each(func(v int) { g.byType(g.VMOVUPS, g.VMOVUPD)(s.one, slope[v]) })
			g.each(func(v int) { g.sub(p[v], slope[v], slope[v]) })
			g.each(func(v int) { g.fma213(p[v], silu[v], slope[v]) }) // s + silu·(1-s)
			g.each(func(v int) { g.mul(d[v], silu[v], silu[v]) })
			g.fetch(pu, p)
			g.keep(silu, pdu)
			g.each(func(v int) { g.mul(d[v], p[v], p[v]) })
			g.each(func(v int) { g.mul(slope[v], p[v], p[v]) })
			g.keep(p, pdg)
		}
	})
	t.finish()
}
