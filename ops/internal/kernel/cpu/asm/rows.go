package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The functions of this file compute in float64 whatever the elements are.

// dot writes Dot of package cpu.
func (t *target) dot() {
	t.function("dot", "is Dot in "+t.isa+".", fmt.Sprintf("a, b []%s) (sum float64", t.element()))
	sums := t.clearSums()
	t.eachVector("a", len(sums), true, func(g *elements) func() {
		g.free = g.free[len(sums):]
		a, b := g.take(), g.take()
		pa, pb := g.base("a"), g.base("b")
		return func() {
			g.widened(pa, a, g.size)
			g.widened(pb, b, g.size)
			g.each(func(v int) { g.fma231(b[v], a[v], sums[v]) })
		}
	})
	t.returnSum(sums)
}

// accumulate writes Accumulate of package cpu.
func (t *target) accumulate() {
	t.function("accumulate", "is Accumulate in "+t.isa+".", "sum []float64, x []"+t.element())
	t.eachVector("x", 4, true, func(g *elements) func() {
		sum, x, ps, px := g.take(), g.take(), g.base("sum"), g.base("x")
		return func() {
			g.widened(ps, sum, 8)
			g.widened(px, x, g.size)
			g.each(func(v int) { g.add(x[v], sum[v], sum[v]) })
			g.narrowed(sum, ps, 8)
		}
	})
	t.finish()
}

// normScale writes NormScale of package cpu.
func (t *target) normScale() {
	e := t.element()
	t.function("normScale", "is NormScale in "+t.isa+".", fmt.Sprintf("y, x, weight []%s, inv %s", e, e))
	t.eachVector("y", 4, false, func(g *elements) func() {
		x, w, inv := g.take(), g.take(), g.scalar("inv")
		py, px, pw := g.base("y"), g.base("x"), g.base("weight")
		return func() {
			g.fetch(px, x)
			g.fetch(pw, w)
			g.each(func(v int) { g.mul(inv, x[v], x[v]) })
			g.each(func(v int) { g.mul(w[v], x[v], x[v]) })
			g.keep(x, py)
		}
	})
	t.finish()
}

// normGrad writes NormGrad of package cpu.
func (t *target) normGrad() {
	t.function("normGrad", "is NormGrad in "+t.isa+".",
		fmt.Sprintf("dWeight []float64, dy, x, weight []%s, inv float64) (sum float64", t.element()))
	sums := t.clearSums()
	t.eachVector("x", len(sums), true, func(g *elements) func() {
		g.free = g.free[len(sums):]
		d, x, total := g.take(), g.take(), g.take()
		inv := g.scalar("inv")
		pt, pd, px, pw := g.base("dWeight"), g.base("dy"), g.base("x"), g.base("weight")
		return func() {
			g.widened(pd, d, g.size)
			g.widened(px, x, g.size)
			g.widened(pt, total, 8)
			g.each(func(v int) { g.mul(x[v], d[v], d[v]) })
			g.each(func(v int) { g.mul(inv, d[v], d[v]) })
			g.each(func(v int) { g.add(d[v], total[v], total[v]) })
			g.narrowed(total, pt, 8)
			g.widened(pw, x, g.size)
			g.each(func(v int) { g.fma231(x[v], d[v], sums[v]) })
		}
	})
	t.returnSum(sums)
}

// normInput writes NormInput of package cpu.
func (t *target) normInput() {
	t.function("normInput", "is NormInput in "+t.isa+".",
		fmt.Sprintf("dx, dy, x, weight []%s, inv, mean float64", t.element()))
	t.eachVector("dx", 2, true, func(g *elements) func() {
		d, x, w := g.take(), g.take(), g.take()
		inv, mean := g.scalar("inv"), g.scalar("mean")
		po, pd, px, pw := g.base("dx"), g.base("dy"), g.base("x"), g.base("weight")
		return func() {
			g.widened(pw, w, g.size)
			g.widened(pd, d, g.size)
			g.widened(px, x, g.size)
			g.each(func(v int) { g.mul(inv, w[v], w[v]) })
			g.each(func(v int) { g.mul(mean, x[v], x[v]) })
			g.each(func(v int) { g.fms213(x[v], d[v], w[v]) })
			g.narrowed(w, po, g.size)
		}
	})
	t.finish()
}

// rotate writes Rotate of package cpu.
func (t *target) rotate() {
	t.function("rotate", "is Rotate in "+t.isa+".", fmt.Sprintf("y, x []%s, cos, sin []float64, sign float64", t.element()))
	t.eachVector("cos", 2, true, func(g *elements) func() {
		a, b, c, s, p := g.take(), g.take(), g.take(), g.take(), g.take()
		sign := g.scalar("sign")
		ya, xa, pc, ps := g.base("y"), g.base("x"), g.base("cos"), g.base("sin")
		half := t.Load(t.Param("cos").Len(), t.GP64()).(reg.GPVirtual)
		yb, xb := t.GP64(), t.GP64()
		t.LEAQ(operand.Mem{Base: ya, Index: half, Scale: uint8(g.size)}, yb)
		t.LEAQ(operand.Mem{Base: xa, Index: half, Scale: uint8(g.size)}, xb)
		return func() {
			g.widened(pc, c, 8)
			g.widened(ps, s, 8)
			g.widened(xa, a, g.size)
			g.widened(xb, b, g.size)
			g.each(func(v int) { g.mul(sign, s[v], s[v]) })
			g.each(func(v int) { g.mul(b[v], s[v], p[v]) })
			g.each(func(v int) { g.mul(a[v], s[v], s[v]) })
			g.each(func(v int) { g.fms213(p[v], c[v], a[v]) }) // a·c - b·s
			g.each(func(v int) { g.fma213(s[v], c[v], b[v]) }) // b·c + a·s
			g.narrowed(a, ya, g.size)
			g.narrowed(b, yb, g.size)
		}
	})
	t.finish()
}

// clearSums makes the running sums: the first registers.
func (t *target) clearSums() []reg.VecPhysical {
	sums := t.registers()[:2]
	for _, r := range sums {
		t.zero(r)
	}
	return sums
}

// returnSum ends a function with the sum of all lanes: the upper half is added to the lower until one is left.
func (t *target) returnSum(sums []reg.VecPhysical) {
	for n := len(sums) / 2; n > 0; n /= 2 {
		for i := range n {
			t.VADDPD(sums[n+i], sums[i], sums[i])
		}
	}
	s, upper := sums[0], sums[1]
	if t.wide() {
		t.VEXTRACTF64X4(imm(1), s, upper.AsY())
		t.VADDPD(upper.AsY(), s.AsY(), s.AsY())
	}
	t.VEXTRACTF128(imm(1), s.AsY(), upper.AsX())
	t.VADDPD(upper.AsX(), s.AsX(), s.AsX())
	t.VUNPCKHPD(s.AsX(), s.AsX(), upper.AsX())
	t.VADDSD(upper.AsX(), s.AsX(), s.AsX())
	m, err := t.Return("sum").Resolve()
	if err != nil {
		panic(err)
	}
	t.VMOVSD(s.AsX(), m.Addr)
	t.finish()
}
