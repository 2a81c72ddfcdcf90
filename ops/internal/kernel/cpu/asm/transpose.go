package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transpose writes transpose of primitives.go: a vector gathers one column of
// as many rows of src as it has lanes, and is stored as part of a row of dst.
// The lanes' distances are 32-bit numbers of elements.
func (t *target) transpose() {
	e := t.element()
	t.function("transpose", "is transpose in "+t.isa+"; lds must be below 2^27.",
		"dst []"+e+", ldd int, src []"+e+", lds int, rows, cols int, scale "+e)
	lds, ldd := t.number("lds"), t.stride("ldd")
	dst, src, rows := t.base("dst"), t.base("src"), t.number("rows")
	scale, index, column := t.registers()[0], t.registers()[1], t.registers()[2]
	factor, err := t.Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	t.broadcast(factor.Addr, scale)
	index = t.laneDistances(lds, index)

	t.Label("strip")
	t.setLaneMask(rows)
	in, out, cols := t.GP64(), t.GP64(), t.number("cols")
	t.MOVQ(src, in)
	t.MOVQ(dst, out)
	t.Label("column")
	t.gather(operand.Mem{Base: in, Index: index, Scale: uint8(t.size)}, column)
	t.mul(scale, column, column)
	t.store(column, operand.Mem{Base: out}, true)
	t.ADDQ(imm(t.size), in)
	t.ADDQ(ldd, out)
	t.DECQ(cols)
	t.JNE(operand.LabelRef("column"))
	step := t.GP64()
	t.MOVQ(lds, step)
	t.SHLQ(imm(log2(t.bytes())), step)
	t.ADDQ(step, src)
	t.ADDQ(imm(t.bytes()), dst)
	t.SUBQ(imm(t.lanes()), rows)
	t.JG(operand.LabelRef("strip"))
	t.finish()
}

// laneDistances fills index with 0, lds, 2·lds, ... as 32-bit integers, one
// for each lane, and returns the register in the width that takes.
func (t *target) laneDistances(lds reg.GPVirtual, index reg.VecPhysical) reg.VecPhysical {
	count := t.table("count", []uint64{1 << 32, 3<<32 | 2, 5<<32 | 4, 7<<32 | 6, 9<<32 | 8, 11<<32 | 10, 13<<32 | 12, 15<<32 | 14})
	t.MOVQ(lds, index.AsX())
	t.VPBROADCASTD(index.AsX(), index)
	t.VPMULLD(count, index, index)
	switch {
	case t.size == 4:
		return index
	case t.wide():
		return index.AsY().(reg.VecPhysical)
	default:
		return index.AsX().(reg.VecPhysical)
	}
}

// gather loads the lanes of the mask. The instruction uses its mask up, and
// merges into r, which is cleared so that one gather need not wait for another.
func (t *target) gather(m operand.Mem, r reg.VecPhysical) {
	t.zero(r)
	if t.wide() {
		t.KMOVW(laneMask, reg.K2)
		if t.size == 4 {
			t.VGATHERDPS(m, reg.K2, r)
		} else {
			t.VGATHERDPD(m, reg.K2, r)
		}
		return
	}
	mask := t.registers()[3]
	t.VMOVAPS(laneMask2, mask)
	if t.size == 4 {
		t.VGATHERDPS(mask, m, r)
	} else {
		t.VGATHERDPD(mask, m, r)
	}
}
