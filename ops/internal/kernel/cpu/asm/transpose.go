package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transposer generates transpose: square blocks with as many rows of src as a
// vector has lanes are turned over in registers.
type transposer struct {
	*target
	lds, ldd   reg.GPVirtual // in bytes
	rows, cols reg.GPVirtual // still to do: of src, and of the strip at hand
	src, dst   reg.GPVirtual // the strip at hand
	in, out    reg.GPVirtual // the block at hand
	block      []reg.VecPhysical
	spare      reg.VecPhysical
	scale      reg.VecPhysical
}

// transpose writes transpose of primitives.go: strips of full height, then one
// of the rows that are left.
func (t *target) transpose() {
	e := t.element()
	t.function("transpose", "is transpose in "+t.isa+".",
		"dst []"+e+", ldd int, src []"+e+", lds int, rows, cols int, scale "+e)
	n, r := t.lanes(), t.registers()
	g := &transposer{
		target: t, lds: t.stride("lds"), ldd: t.stride("ldd"), rows: t.number("rows"), cols: t.GP64(),
		src: t.base("src"), dst: t.base("dst"), in: t.GP64(), out: t.GP64(),
		block: append([]reg.VecPhysical(nil), r[:n]...), spare: r[n], scale: r[n+1],
	}
	factor, err := t.Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	t.broadcast(factor.Addr, g.scale)
	g.strips("strip", n)
	g.strips("last", 1)
	t.finish()
}

// strips does strips of src's rows while there are at least as many as least; if
// that is fewer than the lanes, the strip is partial.
func (g *transposer) strips(name string, least int) {
	partial := least < g.lanes()
	g.Label(name)
	g.CMPQ(g.rows, imm(least))
	g.JLT(operand.LabelRef(name + "end"))
	g.MOVQ(g.src, g.in)
	g.MOVQ(g.dst, g.out)
	g.Load(g.Param("cols"), g.cols)

	g.Label(name + "block")
	g.loadRows(partial)
	g.turn()
	if partial {
		g.setLaneMask(g.rows)
	}
	for _, column := range g.block {
		g.store(column, operand.Mem{Base: g.out}, partial)
		g.ADDQ(g.ldd, g.out)
		g.DECQ(g.cols)
		g.JEQ(operand.LabelRef(name + "done"))
	}
	g.ADDQ(imm(g.bytes()), g.in)
	g.JMP(operand.LabelRef(name + "block"))

	g.Label(name + "done")
	step := g.GP64()
	g.MOVQ(g.lds, step)
	g.SHLQ(imm(log2(g.lanes())), step)
	g.ADDQ(step, g.src)
	g.ADDQ(imm(g.bytes()), g.dst)
	g.SUBQ(imm(g.lanes()), g.rows)
	g.JMP(operand.LabelRef(name))
	g.Label(name + "end")
}

// loadRows loads the rows of a block, scaled, as far as there are columns. In
// place of those that a partial strip lacks the last one is loaded again.
func (g *transposer) loadRows(partial bool) {
	g.setLaneMask(g.cols)
	row, step, none := g.GP64(), g.GP64(), g.GP64()
	g.MOVQ(g.in, row)
	g.MOVQ(g.lds, step)
	g.XORQ(none, none)
	for i, r := range g.block {
		g.load(operand.Mem{Base: row}, r, true)
		g.mul(g.scale, r, r)
		if partial {
			g.CMPQ(g.rows, imm(i+1))
			g.CMOVQLE(none, step)
		}
		g.ADDQ(step, row)
	}
}

// turn makes the block's rows its columns. A 16-byte lane holds e elements: first
// each e rows are turned over within their lanes, which leaves lane q of register
// e·i+j with column e·q+j of the i-th such rows; then lanes change places.
func (g *transposer) turn() {
	e := 16 / g.size
	if g.size == 4 {
		for i := 0; i < len(g.block); i += 2 {
			g.pair(i, i+1, g.interleave(g.VUNPCKLPS), g.interleave(g.VUNPCKHPS))
		}
		// A group of four now holds columns 0 and 1 of its first two rows, columns 2 and 3 of them, and so of the others.
		for i := 0; i < len(g.block); i += 4 {
			g.pair(i, i+2, g.interleave(g.VUNPCKLPD), g.interleave(g.VUNPCKHPD))
			g.pair(i+1, i+3, g.interleave(g.VUNPCKLPD), g.interleave(g.VUNPCKHPD))
			g.block[i+1], g.block[i+2] = g.block[i+2], g.block[i+1]
		}
	} else {
		for i := 0; i < len(g.block); i += 2 {
			g.pair(i, i+1, g.interleave(g.VUNPCKLPD), g.interleave(g.VUNPCKHPD))
		}
	}
	turned := make([]reg.VecPhysical, len(g.block))
	for j := range e {
		if g.wide() {
			g.pair(j, e+j, g.lanes128(0x44), g.lanes128(0xee))
			g.pair(2*e+j, 3*e+j, g.lanes128(0x44), g.lanes128(0xee))
			g.pair(j, 2*e+j, g.lanes128(0x88), g.lanes128(0xdd))
			g.pair(e+j, 3*e+j, g.lanes128(0x88), g.lanes128(0xdd))
			turned[j], turned[e+j], turned[2*e+j], turned[3*e+j] = g.block[j], g.block[2*e+j], g.block[e+j], g.block[3*e+j]
			continue
		}
		g.pair(j, e+j, g.lanes128(0x20), g.lanes128(0x31))
		turned[j], turned[e+j] = g.block[j], g.block[e+j]
	}
	g.block = turned
}

// shuffle sets out to a choice of what a and b hold.
type shuffle func(a, b, out operand.Op)

// pair replaces registers i and j of the block by two shuffles of both.
func (g *transposer) pair(i, j int, first, second shuffle) {
	a, b := g.block[i], g.block[j]
	first(a, b, g.spare)
	second(a, b, b)
	g.block[i], g.spare = g.spare, a
}

// interleave is an unpack instruction, whose operands come in reverse.
func (g *transposer) interleave(unpack func(...operand.Op)) shuffle {
	return func(a, b, out operand.Op) { unpack(b, a, out) }
}

// lanes128 picks 16-byte lanes: the first half of out from a, the second from b.
func (g *transposer) lanes128(choice uint8) shuffle {
	return func(a, b, out operand.Op) {
		if g.wide() {
			g.VSHUFF32X4(operand.Imm(uint64(choice)), b, a, out)
			return
		}
		g.VPERM2F128(operand.Imm(uint64(choice)), b, a, out)
	}
}
