package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vectorPrimitives writes the functions of vectors.go of package cpu.
func (t *target) vectorPrimitives() {
	t.add2()
	t.scale()
	t.swiglu()
	t.swigluGrad()
	t.adamw()
	t.dot()
	t.accumulate()
	t.normScale()
	t.normGrad()
	t.normInput()
	t.rotate()
}

// elements generates loops over the elements of slices of one length: strips of whole vectors, then the rest.
type elements struct {
	*columns
	done reg.GPVirtual // elements
	size int           // bytes of an element in memory; those of a lane may be more
}

// single says that the strip is a single element: what AVX2 takes at the end where it widens, since its lane mask is not as wide as
// the elements in memory.
func (g *elements) single() bool { return g.partial && !g.wide() && g.size != g.target.size }

// eachVector generates the loops over as many elements as the parameter counted has. prepare loads what stays the same and returns
// what generates the body. With widen, lanes are float64 whatever the elements are.
func (t *target) eachVector(counted string, vectors int, widen bool, prepare func(g *elements) (body func())) {
	n, done := t.Load(t.Param(counted).Len(), t.GP64()).(reg.GPVirtual), t.GP64()
	t.XORQ(done, done)
	lanes := *t
	if widen {
		lanes.size = 8
	}
	for _, s := range []strip{{vectors, false}, {1, true}} {
		name := map[bool]string{false: "whole", true: "rest"}[s.partial]
		g := &elements{columns: &columns{target: &lanes, strip: s, name: name, free: t.registers()}, done: done, size: t.size}
		if s.partial && !t.wide() {
			g.free = g.free[:len(g.free)-1] // without the lane mask
		}
		least, step := s.vectors*lanes.lanes(), s.vectors*lanes.lanes()
		if s.partial {
			least = 1
		}
		if g.single() {
			step = 1
		}
		t.CMPQ(n, imm(least))
		t.JLT(operand.LabelRef(name + "end"))
		body := prepare(g)
		t.Label(name)
		if s.partial && !g.single() {
			lanes.setLaneMask(n)
		}
		body()
		t.ADDQ(imm(step), done)
		t.SUBQ(imm(step), n)
		t.CMPQ(n, imm(least))
		t.JGE(operand.LabelRef(name))
		t.Label(name + "end")
	}
}

// place is where vector v of a slice of elements of some size begins.
func (g *elements) place(p reg.GPVirtual, v, size int) operand.Mem {
	return operand.Mem{Base: p, Index: g.done, Scale: uint8(size), Disp: v * g.lanes() * size}
}

// fetch and keep move vectors of elements that are as wide as lanes.
func (g *elements) fetch(p reg.GPVirtual, s set) {
	g.each(func(v int) { g.load(g.place(p, v, g.size), s[v], g.isPartial(v)) })
}

func (g *elements) keep(s set, p reg.GPVirtual) {
	g.each(func(v int) { g.store(s[v], g.place(p, v, g.size), g.isPartial(v)) })
}

// widened loads elements of any size as float64, missing lanes as 0; narrowed stores them.
func (g *elements) widened(p reg.GPVirtual, s set, size int) {
	g.each(func(v int) {
		m, r := g.place(p, v, size), s[v]
		switch {
		case g.single() && size == 4:
			g.VMOVSS(m, r.AsX())
			g.VCVTPS2PD(r.AsX(), r)
		case g.single():
			g.VMOVSD(m, r.AsX())
		case size == 8:
			g.load(m, r, g.isPartial(v))
		case g.isPartial(v):
			g.VCVTPS2PD_Z(m, laneMask, r)
		default:
			g.VCVTPS2PD(m, r)
		}
	})
}

func (g *elements) narrowed(s set, p reg.GPVirtual, size int) {
	g.each(func(v int) {
		m, r := g.place(p, v, size), s[v]
		if size == 4 && g.wide() {
			g.VCVTPD2PS(r, r.AsY())
		} else if size == 4 {
			g.VCVTPD2PSY(r, r.AsX())
		}
		switch {
		case g.single() && size == 4:
			g.VMOVSS(r.AsX(), m)
		case g.single():
			g.VMOVSD(r.AsX(), m)
		case size == 8:
			g.store(r, m, g.isPartial(v))
		case !g.wide():
			g.VMOVUPS(r.AsX(), m)
		case g.isPartial(v):
			g.VMOVUPS(r.AsY(), laneMask, m)
		default:
			g.VMOVUPS(r.AsY(), m)
		}
	})
}

// most is the number of vectors of a strip: some where there are 32 registers, fewer where there are 16.
func (t *target) most(wide, narrow int) int {
	if t.wide() {
		return wide
	}
	return narrow
}

func (t *target) add2() {
	e := t.element()
	t.function("add", "is Add in "+t.isa+".", "y, a, b []"+e)
	t.eachVector("y", 4, false, func(g *elements) func() {
		a, b := g.take(), g.take()
		py, pa, pb := g.base("y"), g.base("a"), g.base("b")
		return func() {
			g.fetch(pa, a)
			g.fetch(pb, b)
			g.each(func(v int) { g.add(b[v], a[v], a[v]) })
			g.keep(a, py)
		}
	})
	t.finish()
}

func (t *target) scale() {
	e := t.element()
	t.function("scale", "is Scale in "+t.isa+".", fmt.Sprintf("x []%s, factor %s", e, e))
	t.eachVector("x", 4, false, func(g *elements) func() {
		x, factor, px := g.take(), g.scalar("factor"), g.base("x")
		return func() {
			g.fetch(px, x)
			g.each(func(v int) { g.mul(factor, x[v], x[v]) })
			g.keep(x, px)
		}
	})
	t.finish()
}

// adamw divides and takes roots and fuses nothing, so that every instruction set gives the same bits.
func (t *target) adamw() {
	e := t.element()
	t.function("adamw", "is AdamW in "+t.isa+".", fmt.Sprintf("param, grad, m, v, factors []%s", e))
	t.eachVector("param", t.most(2, 1), false, func(g *elements) func() {
		from := g.base("factors")
		var factors []reg.VecPhysical
		for i := range 8 {
			r := g.takeOne()
			g.broadcast(operand.Mem{Base: from, Disp: i * g.size}, r)
			factors = append(factors, r)
		}
		scale, shrink, toM, keepV, toV, rootBias, epsilon, rate := factors[0], factors[1], factors[2], factors[3], factors[4], factors[5],
			factors[6], factors[7]
		grad, m, v, x := g.take(), g.take(), g.take(), g.take()
		pp, pg, pm, pv := g.base("param"), g.base("grad"), g.base("m"), g.base("v")
		return func() {
			g.fetch(pg, grad)
			g.fetch(pm, m)
			g.each(func(i int) { g.mul(scale, grad[i], grad[i]) })
			g.each(func(i int) { g.sub(m[i], grad[i], x[i]) })
			g.each(func(i int) { g.mul(toM, x[i], x[i]) })
			g.each(func(i int) { g.add(x[i], m[i], m[i]) })
			g.keep(m, pm)

			g.fetch(pv, v)
			g.each(func(i int) { g.mul(keepV, v[i], v[i]) })
			g.each(func(i int) { g.mul(toV, grad[i], x[i]) })
			g.each(func(i int) { g.mul(grad[i], x[i], x[i]) })
			g.each(func(i int) { g.add(x[i], v[i], v[i]) })
			g.keep(v, pv)

			g.each(func(i int) { g.byType(g.VSQRTPS, g.VSQRTPD)(v[i], v[i]) })
			g.each(func(i int) { g.div(rootBias, v[i], v[i]) })
			g.each(func(i int) { g.add(epsilon, v[i], v[i]) })
			g.each(func(i int) { g.mul(rate, m[i], m[i]) })
			g.each(func(i int) { g.div(v[i], m[i], m[i]) })
			g.fetch(pp, x)
			g.each(func(i int) { g.mul(shrink, x[i], x[i]) })
			g.each(func(i int) { g.add(m[i], x[i], x[i]) })
			g.keep(x, pp)
		}
	})
	t.finish()
}

func (t *target) div(x ...operand.Op) { t.byType(t.VDIVPS, t.VDIVPD)(x...) }
