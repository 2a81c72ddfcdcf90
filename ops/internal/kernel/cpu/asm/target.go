package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	avx512 = "AVX512" // F, DQ, BW, VL and BMI2
	avx2   = "AVX2"   // with FMA
)

var (
	zmm = []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}
	ymm = []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}
	// Of a partial vector: which lanes exist. The AVX2 mask is a vector.
	laneMask  = reg.K1
	laneMask2 = ymm[15]
)

// target is an instruction set and an element type: the generators are written
// once in its terms.
type target struct {
	*build.Context
	isa  string
	size int // bytes of an element: 4 or 8

	tables map[string]operand.Mem // of the whole file, by name
}

func (t *target) wide() bool { return t.isa != avx2 }

// bytes is the size of a vector, lanes how many elements it holds.
func (t *target) bytes() int {
	if t.wide() {
		return 64
	}
	return 32
}

func (t *target) lanes() int { return t.bytes() / t.size }

func (t *target) registers() []reg.VecPhysical {
	if t.wide() {
		return zmm
	}
	return ymm
}

// element is the Go type, float32 or float64.
func (t *target) element() string { return fmt.Sprintf("float%d", 8*t.size) }

// function starts a leaf function such as nnAVX512F32; doc goes on after the
// name.
func (t *target) function(name, doc, parameters string) {
	t.begin(fmt.Sprintf("%s%sF%d", name, t.isa, 8*t.size), doc, parameters)
}

// begin starts a leaf function of any name.
func (t *target) begin(name, doc, parameters string) {
	t.Function(name)
	t.Attributes(attr.NOSPLIT)
	t.Pragma("noescape")
	t.Doc(name + " " + doc)
	t.SignatureExpr("func(" + parameters + ")")
}

// finish ends the function.
func (t *target) finish() {
	t.VZEROUPPER()
	t.RET()
}

// base and number load a slice's address and an integer parameter.
func (t *target) base(name string) reg.GPVirtual {
	return t.Load(t.Param(name).Base(), t.GP64()).(reg.GPVirtual)
}

func (t *target) number(name string) reg.GPVirtual {
	return t.Load(t.Param(name), t.GP64()).(reg.GPVirtual)
}

// stride loads a stride and turns elements into bytes.
func (t *target) stride(name string) reg.GPVirtual {
	r := t.number(name)
	t.SHLQ(imm(log2(t.size)), r)
	return r
}

func log2(n int) int {
	k := 0
	for ; n > 1; n >>= 1 {
		k++
	}
	return k
}

// imm is an immediate operand: 8 bits if it fits, else 32.
func imm(n int) operand.Op {
	if n < 128 {
		return operand.Imm(uint64(n))
	}
	return operand.U32(n)
}

// byType picks the form of an instruction for the element type.
func (t *target) byType(single, double func(...operand.Op)) func(...operand.Op) {
	if t.size == 4 {
		return single
	}
	return double
}

// Operands are in Go's order: the destination comes last.

func (t *target) add(x ...operand.Op)    { t.byType(t.VADDPS, t.VADDPD)(x...) }
func (t *target) sub(x ...operand.Op)    { t.byType(t.VSUBPS, t.VSUBPD)(x...) }
func (t *target) mul(x ...operand.Op)    { t.byType(t.VMULPS, t.VMULPD)(x...) }
func (t *target) max(x ...operand.Op)    { t.byType(t.VMAXPS, t.VMAXPD)(x...) }
func (t *target) min(x ...operand.Op)    { t.byType(t.VMINPS, t.VMINPD)(x...) }
func (t *target) fma213(x ...operand.Op) { t.byType(t.VFMADD213PS, t.VFMADD213PD)(x...) }
func (t *target) fms213(x ...operand.Op) { t.byType(t.VFMSUB213PS, t.VFMSUB213PD)(x...) }

// fma231 adds a·b to dst; where the elements are pairs, both their products.
func (t *target) fma231(b, a, dst reg.VecPhysical) {
	if t.isa == avx512BF16 {
		t.evex(dpbf16ps, b, a, dst)
		return
	}
	t.byType(t.VFMADD231PS, t.VFMADD231PD)(b, a, dst)
}

func (t *target) compare(x ...operand.Op) {
	t.byType(t.VCMPPS, t.VCMPPD)(x...)
}

func (t *target) broadcast(x ...operand.Op) {
	t.byType(t.VBROADCASTSS, t.VBROADCASTSD)(x...)
}

func (t *target) zero(r reg.VecPhysical) {
	if t.wide() {
		t.VPXORD(r, r, r)
		return
	}
	t.VXORPS(r, r, r)
}

// load and store move a vector; a partial one under the lane mask, so that
// nothing is touched behind the last column. Missing lanes load as 0.
func (t *target) load(m operand.Mem, r reg.VecPhysical, partial bool) {
	switch {
	case !partial:
		t.byType(t.VMOVUPS, t.VMOVUPD)(m, r)
	case t.wide() && t.size == 4:
		t.VMOVUPS_Z(m, laneMask, r)
	case t.wide():
		t.VMOVUPD_Z(m, laneMask, r)
	case t.size == 4:
		t.VMASKMOVPS(m, laneMask2, r)
	default:
		t.VMASKMOVPD(m, laneMask2, r)
	}
}

func (t *target) store(r reg.VecPhysical, m operand.Mem, partial bool) {
	switch {
	case !partial:
		t.byType(t.VMOVUPS, t.VMOVUPD)(r, m)
	case t.wide():
		t.byType(t.VMOVUPS, t.VMOVUPD)(r, laneMask, m)
	case t.size == 4:
		t.VMASKMOVPS(r, laneMask2, m)
	default:
		t.VMASKMOVPD(r, laneMask2, m)
	}
}

// setLaneMask makes the mask of the first n lanes; all if there are fewer.
func (t *target) setLaneMask(n reg.GPVirtual) {
	lanes := t.GP64()
	t.MOVQ(operand.U32(t.lanes()), lanes)
	t.CMPQ(n, lanes)
	t.CMOVQLT(n, lanes)
	if t.wide() {
		mask := t.GP64()
		t.MOVQ(operand.I32(-1), mask)
		t.BZHIQ(lanes, mask, mask)
		t.KMOVW(mask.As32(), laneMask)
		return
	}
	// A window into 32 bytes of ones that 32 of zeros follow.
	const all = 1<<64 - 1
	table, p := t.table("lanes", []uint64{all, all, all, all, 0, 0, 0, 0}), t.GP64()
	t.LEAQ(table.Offset(32), p)
	t.SHLQ(imm(log2(t.size)), lanes)
	t.SUBQ(lanes, p)
	t.VMOVUPS(operand.Mem{Base: p}, laneMask2)
}

// table is a read-only array of 64-bit words, made at its first mention.
func (t *target) table(name string, words []uint64) operand.Mem {
	if m, ok := t.tables[name]; ok {
		return m
	}
	m := t.StaticGlobal(name)
	t.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, w := range words {
		t.AppendDatum(operand.U64(w))
	}
	t.tables[name] = m
	return m
}

// constants is a table with each value, given as the bits of an element, in
// all lanes of 64 bytes: a vector operand for either vector width. at(i) is
// value i.
func (t *target) constants(name string, bits []uint64) (at func(i int) operand.Mem) {
	var words []uint64
	for _, b := range bits {
		if t.size == 4 {
			b |= b << 32
		}
		for range 8 {
			words = append(words, b)
		}
	}
	m := t.table(name, words)
	return func(i int) operand.Mem { return m.Offset(64 * i) }
}
