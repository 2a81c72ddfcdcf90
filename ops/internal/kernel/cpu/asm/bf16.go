package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx512BF16 is AVX512 with the bfloat16 instructions, which avo does not know: evex writes them as bytes.
const avx512BF16 = "AVX512BF16"

// The three instructions: prefix (2 is F3, 3 is F2) and opcode, all of map 0F38.
type bf16Instruction struct{ prefix, opcode uint32 }

var (
	dpbf16ps     = bf16Instruction{2, 0x52} // dst += a·b over the two bfloat16 of each 32-bit lane
	cvtne2ps2b16 = bf16Instruction{3, 0x72} // dst is b's 16 lanes rounded, and above them a's
	cvtneps2bf16 = bf16Instruction{2, 0x72} // the lower half of dst is b's 16 lanes rounded; a must be Z0
)

// evex encodes an instruction on 64-byte registers: 62, three bytes of payload, opcode, ModRM. Register numbers have five bits, of
// which the payload holds the upper ones inverted.
func (t *target) evex(i bf16Instruction, b, a, dst reg.VecPhysical) {
	d, v, m := uint32(dst.PhysicalIndex()), uint32(a.PhysicalIndex()), uint32(b.PhysicalIndex())
	bit := func(x uint32, n int) uint32 { return ^x >> n & 1 }
	p0 := bit(d, 3)<<7 | bit(m, 4)<<6 | bit(m, 3)<<5 | bit(d, 4)<<4 | 2
	p1 := ^v&15<<3 | 4 | i.prefix
	p2 := uint32(2<<5) | bit(v, 4)<<3
	modRM := 3<<6 | d&7<<3 | m&7
	t.Comment(fmt.Sprintf("EVEX %#x: Z%d, Z%d, Z%d", i.opcode, m, v, d))
	t.raw("LONG", operand.U32(p2<<24|p1<<16|p0<<8|0x62))
	t.raw("WORD", operand.U16(modRM<<8|i.opcode))
}

// pairFunction starts a function of the pair primitives.
func (t *target) pairFunction(name, parameters string) {
	full := name + avx512BF16
	t.Function(full)
	t.Attributes(attr.NOSPLIT)
	t.Pragma("noescape")
	t.Doc(full + " is " + name + " of pairPrimitives.")
	t.SignatureExpr("func(" + parameters + ")")
}

// pairs writes all of pairPrimitives.
func (t *target) pairPrimitives() {
	t.pairProduct()
	t.narrow()
	t.zip()
	t.turn()
	t.weights()
	t.scoreGradients()
}

// pairProduct is the tile product with a pair for an element of A and B: the multiply-add becomes a product of pairs.
func (t *target) pairProduct() {
	t.pairFunction("product", "c []float32, ldc int, a []uint32, lda int, b []uint32, ldb int, m, n, k int, acc bool")
	g := &tiler{target: t}
	g.lda, g.ldb, g.ldc = t.stride("lda"), t.stride("ldb"), t.stride("ldc")
	g.n, g.left = t.number("n"), t.GP64()
	t.XORQ(g.left, g.left)
	for _, s := range []strip{{4, false}, {2, false}, {1, false}} {
		g.strip(s)
	}
	t.finish()
}

// narrow rounds 32 elements at a time, and the last ones under a mask.
func (t *target) narrow() {
	t.pairFunction("narrow", "dst []uint16, src []float32")
	dst, src := t.base("dst"), t.base("src")
	n := t.Load(t.Param("src").Len(), t.GP64()).(reg.GPVirtual)
	low, high, out := zmm[0], zmm[1], zmm[2]
	t.Label("full")
	t.CMPQ(n, imm(32))
	t.JLT(operand.LabelRef("tail"))
	t.VMOVUPS(operand.Mem{Base: src}, low)
	t.VMOVUPS(operand.Mem{Base: src, Disp: 64}, high)
	t.evex(cvtne2ps2b16, low, high, out)
	t.VMOVUPS(out, operand.Mem{Base: dst})
	t.ADDQ(imm(128), src)
	t.ADDQ(imm(64), dst)
	t.SUBQ(imm(32), n)
	t.JMP(operand.LabelRef("full"))
	t.Label("tail")
	t.CMPQ(n, imm(0))
	t.JLE(operand.LabelRef("end"))
	t.setLaneMask(n)
	t.VMOVUPS_Z(operand.Mem{Base: src}, laneMask, low)
	t.evex(cvtneps2bf16, low, zmm[0], out)
	t.VMOVDQU16(out.AsY(), laneMask, operand.Mem{Base: dst})
	t.ADDQ(imm(64), src)
	t.ADDQ(imm(32), dst)
	t.SUBQ(imm(16), n)
	t.JMP(operand.LabelRef("tail"))
	t.Label("end")
	t.finish()
}

// zip widens 16 elements of both rows and moves the second into the upper halves. Lanes behind the rows are zero.
func (t *target) zip() {
	t.pairFunction("zip", "dst []uint32, even, odd []uint16")
	dst, even, odd := t.base("dst"), t.base("even"), t.base("odd")
	n := t.Load(t.Param("even").Len(), t.GP64()).(reg.GPVirtual)
	low, high := zmm[0], zmm[1]
	join := func() {
		t.VPSLLD(imm(16), high, high)
		t.VPORD(high, low, low)
		t.VMOVDQU32(low, operand.Mem{Base: dst})
	}
	t.Label("full")
	t.CMPQ(n, imm(16))
	t.JLT(operand.LabelRef("tail"))
	t.VPMOVZXWD(operand.Mem{Base: even}, low)
	t.VPMOVZXWD(operand.Mem{Base: odd}, high)
	join()
	t.ADDQ(imm(32), even)
	t.ADDQ(imm(32), odd)
	t.ADDQ(imm(64), dst)
	t.SUBQ(imm(16), n)
	t.JMP(operand.LabelRef("full"))
	t.Label("tail")
	t.CMPQ(n, imm(0))
	t.JLE(operand.LabelRef("end"))
	t.setLaneMask(n)
	t.VPMOVZXWD_Z(operand.Mem{Base: even}, laneMask, low)
	t.VPMOVZXWD_Z(operand.Mem{Base: odd}, laneMask, high)
	join()
	t.Label("end")
	t.finish()
}

// turn transposes blocks of 16 by 16 words in registers.
func (t *target) turn() {
	t.pairFunction("turn", "dst []uint32, ldd int, src []uint32, lds int, rows, cols int")
	lds, ldd := t.stride("lds"), t.stride("ldd")
	dst, src, rows := t.base("dst"), t.base("src"), t.number("rows")
	t.Label("strip")
	t.CMPQ(rows, imm(0))
	t.JLE(operand.LabelRef("end"))
	in, out, cols := t.GP64(), t.GP64(), t.number("cols")
	t.MOVQ(src, in)
	t.MOVQ(dst, out)
	t.Label("block")
	p := t.GP64()
	t.MOVQ(in, p)
	for i := range 16 {
		t.VMOVUPS(operand.Mem{Base: p}, zmm[i])
		if i < 15 {
			t.ADDQ(lds, p)
		}
	}
	t.turnRegisters()
	t.MOVQ(out, p)
	for i := range 16 {
		t.VMOVUPS(zmm[i], operand.Mem{Base: p})
		if i < 15 {
			t.ADDQ(ldd, p)
		}
	}
	t.ADDQ(imm(64), in)
	step := t.GP64()
	t.MOVQ(ldd, step)
	t.SHLQ(imm(4), step)
	t.ADDQ(step, out)
	t.SUBQ(imm(16), cols)
	t.JG(operand.LabelRef("block"))
	t.MOVQ(lds, step)
	t.SHLQ(imm(4), step)
	t.ADDQ(step, src)
	t.ADDQ(imm(64), dst)
	t.SUBQ(imm(16), rows)
	t.JMP(operand.LabelRef("strip"))
	t.Label("end")
	t.finish()
}

// turnRegisters transposes the words of Z0 to Z15.
func (t *target) turnRegisters() {
	low, high := zmm[:16], zmm[16:]
	// 1. Pairs of rows, then fours: register 4g+c has, in quarter L, column 4L+c of rows 4g to 4g+3.
	for i := 0; i < 16; i += 2 {
		t.VUNPCKLPS(low[i+1], low[i], high[i])
		t.VUNPCKHPS(low[i+1], low[i], high[i+1])
	}
	for g := 0; g < 16; g += 4 {
		t.VUNPCKLPD(high[g+2], high[g], low[g])
		t.VUNPCKHPD(high[g+2], high[g], low[g+1])
		t.VUNPCKLPD(high[g+3], high[g+1], low[g+2])
		t.VUNPCKHPD(high[g+3], high[g+1], low[g+3])
	}
	// 2. Quarters of the four registers with the same c, even ones and odd ones apart.
	const even, odd = operand.U8(0x88), operand.U8(0xdd)
	for c := range 4 {
		t.VSHUFF32X4(even, low[4+c], low[c], high[c])
		t.VSHUFF32X4(odd, low[4+c], low[c], high[4+c])
		t.VSHUFF32X4(even, low[12+c], low[8+c], high[8+c])
		t.VSHUFF32X4(odd, low[12+c], low[8+c], high[12+c])
	}
	for c := range 4 {
		t.VSHUFF32X4(even, high[8+c], high[c], low[c])
		t.VSHUFF32X4(odd, high[8+c], high[c], low[8+c])
		t.VSHUFF32X4(even, high[12+c], high[4+c], low[4+c])
		t.VSHUFF32X4(odd, high[12+c], high[4+c], low[12+c])
	}
}

// pairRows generates a loop over strips of columns and, in each, over pairs of rows of [rows, width] matrices of which both sides are
// full: rows are even and width is a multiple of 16.
type pairRows struct {
	*exper
	v             int // vectors of a row: 2 or 1
	name          string
	left, width   reg.GPVirtual // bytes of columns done; bytes of a row
	factor, ahead reg.VecPhysical
}

// eachPairStrip calls body for strips of two vectors and of one.
func (t *target) eachPairStrip(body func(g *pairRows)) {
	n, left, width := t.number("width"), t.GP64(), t.stride("width")
	t.XORQ(left, left)
	for _, v := range []int{2, 1} {
		c := &columns{target: t, strip: strip{2 * v, false}, free: t.registers()}
		g := &pairRows{exper: newExper(c), v: v, name: fmt.Sprintf("strip%d", v), left: left, width: width}
		s := strip{v, false}
		t.beginStrip(g.name, s, n)
		body(g)
		t.endStrip(g.name, s, n, left)
	}
}

// one reserves a register and fills it with the parameter.
func (g *pairRows) one(parameter string) reg.VecPhysical {
	r := g.free[0]
	g.free = g.free[1:]
	p, err := g.Param(parameter).Resolve()
	if err != nil {
		panic(err)
	}
	g.broadcast(p.Addr, r)
	return r
}

// vectors reserves the strip's registers of one row, loaded from a parameter.
func (g *pairRows) vectors(parameter string) set {
	s := set(g.free[:g.v])
	g.free = g.free[g.v:]
	p := g.at(parameter, g.left)
	for i, r := range s {
		g.VMOVUPS(operand.Mem{Base: p, Disp: 64 * i}, r)
	}
	return s
}

// interleave reserves a register for the order in which VPERMW makes pairs of the words of two vectors.
func (g *pairRows) interleave() reg.VecPhysical {
	r := g.free[0]
	g.free = g.free[1:]
	var order []uint64
	for lane := uint64(0); lane < 16; lane += 2 {
		order = append(order, (lane+17)<<48|(lane+1)<<32|(lane+16)<<16|lane)
	}
	g.VMOVUPS(g.table("interleave", order), r)
	return r
}

// at is a parameter's address plus offset bytes.
func (g *pairRows) at(parameter string, offset reg.GPVirtual) reg.GPVirtual {
	p := g.base(parameter)
	g.ADDQ(offset, p)
	return p
}

// loadPair loads the strip's vectors of two rows, the first row's first.
func (g *pairRows) loadPair(p reg.GPVirtual, to set) {
	for i, r := range to {
		m := operand.Mem{Base: p, Disp: 64 * (i % g.v)}
		if i >= g.v {
			m.Index, m.Scale = g.width, 1
		}
		g.VMOVUPS(m, r)
	}
}

// exponentials sets p to 2^(exponent·x + ref) for the pair of rows at px.
func (g *pairRows) exponentials(px reg.GPVirtual, exponent reg.VecPhysical, ref set) {
	g.loadPair(px, g.x)
	for i, r := range g.x {
		g.VFMADD213PS(ref[i%g.v], exponent, r)
	}
	g.exp512()
}

// storePairs rounds two rows of vectors and stores them as pairs; scratch is overwritten.
func (g *pairRows) storePairs(rows set, order reg.VecPhysical, out reg.GPVirtual, scratch set) {
	for i := range g.v {
		g.evex(cvtne2ps2b16, rows[i], rows[g.v+i], scratch[i])
		g.VPERMW(scratch[i], order, scratch[i])
		g.VMOVUPS(scratch[i], operand.Mem{Base: out, Disp: 64 * i})
	}
}

// storeRows rounds two rows of vectors and stores them as rows of bfloat16, half a row's bytes apart.
func (g *pairRows) storeRows(rows set, out, stride reg.GPVirtual, scratch set) {
	for row := range 2 {
		m := operand.Mem{Base: out}
		if row > 0 {
			m.Index, m.Scale = stride, 1
		}
		if g.v == 2 {
			g.evex(cvtne2ps2b16, rows[2*row], rows[2*row+1], scratch[row])
			g.VMOVUPS(scratch[row], m)
		} else {
			g.evex(cvtneps2bf16, rows[row], zmm[0], scratch[row])
			g.VMOVUPS(scratch[row].AsY(), m)
		}
	}
}

// pairLoop generates body for each pair of rows, until px has walked over x.
func (g *pairRows) pairLoop(px reg.GPVirtual, body func()) {
	end := g.Load(g.Param("x").Len(), g.GP64()).(reg.GPVirtual)
	g.SHLQ(imm(2), end)
	x := g.base("x")
	g.ADDQ(x, end)
	g.Label(g.name + "row")
	body()
	g.LEAQ(operand.Mem{Base: px, Index: g.width, Scale: 2}, px)
	g.CMPQ(px, end)
	g.JCS(operand.LabelRef(g.name + "row"))
}

func (t *target) weights() {
	t.pairFunction("weights", "p []uint32, x, ref, sum []float32, width int, exponent float32")
	t.eachPairStrip(func(g *pairRows) {
		exponent, order, ref, sum := g.one("exponent"), g.interleave(), g.vectors("ref"), g.vectors("sum")
		px, pp := g.at("x", g.left), g.at("p", g.left)
		g.pairLoop(px, func() {
			g.exponentials(px, exponent, ref)
			for i, r := range g.p {
				g.VADDPS(r, sum[i%g.v], sum[i%g.v])
			}
			g.storePairs(g.p, order, pp, g.f)
			g.ADDQ(g.width, pp)
		})
		ps := g.at("sum", g.left)
		for i, r := range sum {
			g.VMOVUPS(r, operand.Mem{Base: ps, Disp: 64 * i})
		}
	})
	t.finish()
}

func (t *target) scoreGradients() {
	t.pairFunction("gradients", "p, ds, pairs []uint32, x, dp, ref, delta []float32, width int, exponent float32")
	t.eachPairStrip(func(g *pairRows) {
		exponent, order := g.one("exponent"), g.interleave()
		ref, delta := g.vectors("ref"), g.vectors("delta")
		zero := g.free[0]
		g.zero(zero)
		half, stride := g.GP64(), g.GP64()
		g.MOVQ(g.left, half)
		g.SHRQ(imm(1), half)
		g.MOVQ(g.width, stride)
		g.SHRQ(imm(1), stride)
		px, pdp := g.at("x", g.left), g.at("dp", g.left)
		pp, pds, ppairs := g.at("p", half), g.at("ds", half), g.at("pairs", g.left)
		g.pairLoop(px, func() {
			g.exponentials(px, exponent, ref)
			g.storeRows(g.p, pp, stride, g.f)
			// dS = P·(dP - delta), and 0 where P is, whatever dP.
			masks := []reg.OpmaskPhysical{reg.K2, reg.K3, reg.K4, reg.K5}
			const notEqual = 4
			g.loadPair(pdp, g.x)
			for i, r := range g.x {
				g.VCMPPS(imm(notEqual), zero, g.p[i], masks[i])
				g.VSUBPS(delta[i%g.v], r, r)
				g.VMULPS_Z(g.p[i], r, masks[i], r)
			}
			g.storeRows(g.x, pds, stride, g.f)
			g.storePairs(g.x, order, ppairs, g.f)
			g.ADDQ(g.width, pp)
			g.ADDQ(g.width, pds)
			g.ADDQ(g.width, ppairs)
			g.LEAQ(operand.Mem{Base: pdp, Index: g.width, Scale: 2}, pdp)
		})
	})
	t.finish()
}
