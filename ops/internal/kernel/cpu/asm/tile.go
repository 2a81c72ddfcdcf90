package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tileRows are the heights of the register tiles, tried in this order. Six rows
// of four 64-byte vectors take 24 accumulators; with four registers for B and
// two for A that is 30 of 32, and 24 multiply-adds for 10 loads.
var tileRows = []int{6, 4, 2, 1}

// prefetchBytes is how much of A's next rows is asked for at each k: more than the
// six elements that a k takes, so that it is there in time.
const prefetchBytes = 32

// strip is a set of columns, counted in vectors; the last one may be partial.
type strip struct {
	vectors int
	partial bool
}

// isPartial says whether vector v is.
func (s strip) isPartial(v int) bool { return s.partial && v == s.vectors-1 }

// strips are the widths that C is cut into from left to right.
func (t *target) strips() []strip {
	if t.wide() {
		return []strip{{4, false}, {2, false}, {1, true}}
	}
	return []strip{{2, false}, {1, true}}
}

// tiler generates one tile function. Pointers to the strip at hand:
type tiler struct {
	*target
	transA        bool
	lda, ldb, ldc reg.GPVirtual // in bytes
	m, n          reg.GPVirtual // rows and columns still to do
	left          reg.GPVirtual // bytes of columns done
	a, b, c       reg.GPVirtual // first row of A still to do, B's strip, C's tile
}

// tile writes tileNN (kind "nn") or tileTN ("tn") of primitives.go.
func (t *target) tile(kind string) {
	e := t.element()
	t.function(kind, fmt.Sprintf("is tile%s in %s.", map[string]string{"nn": "NN", "tn": "TN"}[kind], t.isa),
		"c []"+e+", ldc int, a []"+e+", lda int, b []"+e+", ldb int, m, n, k int, acc bool")
	g := &tiler{target: t, transA: kind == "tn"}
	g.lda, g.ldb, g.ldc = t.stride("lda"), t.stride("ldb"), t.stride("ldc")
	g.n, g.left = t.number("n"), t.GP64()
	t.XORQ(g.left, g.left)
	for _, s := range t.strips() {
		g.strip(s)
	}
	t.finish()
}

// strip does strips of this width while there are columns for one.
func (g *tiler) strip(s strip) {
	name := fmt.Sprintf("strip%d", s.vectors)
	g.beginStrip(name, s, g.n)
	g.m, g.a, g.b, g.c = g.number("m"), g.base("a"), g.base("b"), g.base("c")
	g.ADDQ(g.left, g.b)
	g.ADDQ(g.left, g.c)
	for _, rows := range tileRows {
		g.rows(fmt.Sprintf("%srows%d", name, rows), rows, s)
	}
	g.endStrip(name, s, g.n, g.left)
}

// rows does register tiles of this height while there are rows for one.
func (g *tiler) rows(name string, rows int, s strip) {
	acc := g.registers()[:rows*s.vectors]
	g.Label(name)
	g.CMPQ(g.m, imm(rows))
	g.JLT(operand.LabelRef(name + "end"))

	// 1. One outer product for each k.
	for _, r := range acc {
		g.zero(r)
	}
	if rows == tileRows[0] {
		g.prefetchC(name, rows, s)
	}
	g.products(name, rows, s, acc)

	// 2. What C holds is added at the end: loads that the first multiply-adds had to wait for would stall them.
	flag, err := g.Param("acc").Resolve()
	if err != nil {
		panic(err)
	}
	g.CMPB(flag.Addr, imm(0))
	g.JEQ(operand.LabelRef(name + "added"))
	spare := g.registers()[len(acc)]
	g.eachOfC(rows, s, func(i int, m operand.Mem, partial bool) {
		if !partial {
			g.add(m, acc[i], acc[i])
			return
		}
		g.load(m, spare, partial)
		g.add(spare, acc[i], acc[i])
	})
	g.Label(name + "added")

	// 3. Store, and go on below.
	g.eachOfC(rows, s, func(i int, m operand.Mem, partial bool) { g.store(acc[i], m, partial) })
	step := g.GP64()
	g.MOVQ(g.ldc, step)
	g.IMUL3Q(imm(rows), step, step)
	g.ADDQ(step, g.c)
	if g.transA {
		g.ADDQ(imm(rows*g.size), g.a)
	} else {
		g.MOVQ(g.lda, step)
		g.IMUL3Q(imm(rows), step, step)
		g.ADDQ(step, g.a)
	}
	g.SUBQ(imm(rows), g.m)
	g.JMP(operand.LabelRef(name))
	g.Label(name + "end")
}

// eachOfC visits the vectors of the tile of C.
func (g *tiler) eachOfC(rows int, s strip, visit func(i int, m operand.Mem, partial bool)) {
	p := g.GP64()
	g.MOVQ(g.c, p)
	for r := range rows {
		for v := range s.vectors {
			m := operand.Mem{Base: p, Disp: v * g.bytes()}
			visit(r*s.vectors+v, m, s.isPartial(v))
		}
		if r < rows-1 {
			g.ADDQ(g.ldc, p)
		}
	}
}

// prefetchC asks for the tile of C that follows, since it may have been written long ago. If none follows, what lies there may be what
// another processor is writing, which asking for it would stall.
func (g *tiler) prefetchC(name string, rows int, s strip) {
	g.CMPQ(g.m, imm(2*rows))
	g.JLT(operand.LabelRef(name + "asked"))
	p := g.GP64()
	g.MOVQ(g.ldc, p)
	g.IMUL3Q(imm(rows), p, p)
	g.ADDQ(g.c, p)
	for r := range rows {
		for line := 0; line < s.vectors*g.bytes(); line += 64 {
			g.PREFETCHT0(operand.Mem{Base: p, Disp: line})
		}
		if r < rows-1 {
			g.ADDQ(g.ldc, p)
		}
	}
	g.Label(name + "asked")
}

// products accumulates A's rows times B's strip over all k.
func (g *tiler) products(name string, rows int, s strip, acc []reg.VecPhysical) {
	free := g.registers()[len(acc):]
	vb, va := free[:s.vectors], free[s.vectors:s.vectors+2]
	k, b := g.number("k"), g.GP64()
	g.TESTQ(k, k)
	g.JLE(operand.LabelRef(name + "summed"))
	g.MOVQ(g.b, b)
	a := g.aPointers(rows)
	var ahead reg.GPVirtual
	if prefetch := !g.transA && rows == tileRows[0]; prefetch {
		ahead = g.GP64()
		g.LEAQ(operand.Mem{Base: a[1], Index: g.lda, Scale: 2}, ahead)
		g.ADDQ(g.lda, ahead)
	}
	g.Label(name + "k")
	if ahead != nil {
		g.PREFETCHT0(operand.Mem{Base: ahead})
		g.ADDQ(imm(prefetchBytes), ahead)
	}
	for v := range s.vectors {
		g.load(operand.Mem{Base: b, Disp: v * g.bytes()}, vb[v], s.isPartial(v))
	}
	for r := range rows {
		g.broadcast(g.aElement(a, r), va[r%2])
		for v := range s.vectors {
			g.fma231(vb[v], va[r%2], acc[r*s.vectors+v])
		}
	}
	g.ADDQ(g.ldb, b)
	for _, p := range a {
		if g.transA {
			g.ADDQ(g.lda, p)
		} else {
			g.ADDQ(imm(g.size), p)
		}
	}
	g.DECQ(k)
	g.JNE(operand.LabelRef(name + "k"))
	g.Label(name + "summed")
}

// aPointers are the registers that aElement needs: one for three rows, or for
// all of them where A is stored transposed.
func (g *tiler) aPointers(rows int) []reg.GPVirtual {
	p := []reg.GPVirtual{g.GP64()}
	g.MOVQ(g.a, p[0])
	if rows > 3 && !g.transA {
		p = append(p, g.GP64())
		g.LEAQ(operand.Mem{Base: g.a, Index: g.lda, Scale: 2}, p[1])
		g.ADDQ(g.lda, p[1])
	}
	return p
}

// aElement is A's element of row r at the k the pointers stand at.
func (g *tiler) aElement(p []reg.GPVirtual, r int) operand.Mem {
	if g.transA {
		return operand.Mem{Base: p[0], Disp: r * g.size}
	}
	m := operand.Mem{Base: p[r/3]}
	if r%3 > 0 {
		m.Index, m.Scale = g.lda, uint8(r%3)
	}
	return m
}
