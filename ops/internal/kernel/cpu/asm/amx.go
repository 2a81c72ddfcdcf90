package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// amxBF16 is the tile instructions of AMX, which avo does not know: tileBytes and tileMemory write them as bytes. They are all of map
// 0F38, on 128 bits of W0, in the three-byte form of VEX.
const amxBF16 = "AMXBF16"

// Prefixes, as VEX has them.
const (
	noPrefix = 0
	prefixF3 = 2
	prefixF2 = 3
)

// tileBytes writes an instruction between tile registers: C4, two bytes of payload, opcode, ModRM. v is a third register, or 0.
func (t *target) tileBytes(mnemonic string, prefix, opcode, register, rm, v uint32) {
	t.Comment(mnemonic)
	t.raw("LONG", operand.U32(opcode<<24|(^v&15<<3|prefix)<<16|0xe2c4))
	t.raw("BYTE", operand.U8(3<<6|register<<3|rm))
}

// tileMemory writes an instruction whose operand is at base + index + displacement; the index is what one row of a tile lies behind
// the last.
func (t *target) tileMemory(mnemonic string, prefix, opcode, register uint32, base, index reg.GPPhysical, displacement uint8) {
	b, i := uint32(base.PhysicalIndex()), uint32(index.PhysicalIndex())
	payload := 1<<7 | (^i>>3&1)<<6 | (^b>>3&1)<<5 | 2
	t.Comment(mnemonic)
	t.raw("LONG", operand.U32(opcode<<24|(15<<3|prefix)<<16|payload<<8|0xc4))
	t.raw("WORD", operand.U16((i&7<<3|b&7)<<8|1<<6|register<<3|4)) // SIB, ModRM with 8 bits of displacement
	t.raw("BYTE", operand.U8(displacement))
}

// raw writes bytes, as many as the directive LONG, WORD or BYTE says.
func (t *target) raw(size string, value operand.Op) {
	t.Instruction(&ir.Instruction{Opcode: size, Operands: []operand.Op{value}})
}

func (t *target) tileZero(tile uint32) {
	t.tileBytes(fmt.Sprintf("TILEZERO T%d", tile), prefixF2, 0x49, tile, 0, 0)
}

func (t *target) tileLoad(base, stride reg.GPPhysical, displacement uint8, tile uint32) {
	t.tileMemory(fmt.Sprintf("TILELOADD %d(%s)(%s*1), T%d", displacement, base.Asm(), stride.Asm(), tile), prefixF2, 0x4b, tile, base, stride, displacement)
}

func (t *target) tileStore(tile uint32, base, stride reg.GPPhysical, displacement uint8) {
	t.tileMemory(fmt.Sprintf("TILESTORED T%d, %d(%s)(%s*1)", tile, displacement, base.Asm(), stride.Asm()), prefixF3, 0x4b, tile, base, stride, displacement)
}

// tileProduct adds a·b to c, where each 32 bits of a and b are a pair.
func (t *target) tileProduct(b, a, c uint32) {
	t.tileBytes(fmt.Sprintf("TDPBF16PS T%d, T%d, T%d", b, a, c), prefixF3, 0x5c, c, a, b)
}

// Registers of the tile function: the encodings name them, so avo may choose none.
var (
	tileLDA, tileLDB, tileLDC = reg.RAX, reg.RBX, reg.RCX // strides in bytes
	tileA, tileB, tileC       = reg.RSI, reg.RDI, reg.R8  // of the block of C at hand
	rowsLeft, columnsLeft     = reg.R9, reg.R10
	columnsDone               = reg.R15                   // in bytes
	atA, atB, below           = reg.R12, reg.RDX, reg.R13 // of the step at hand; below is A's or C's second row of tiles
	stepsLeft                 = reg.R11
)

// tiles writes the product of whole tiles, C[rows, columns] (+)= A[rows, steps]·B[steps, columns], in blocks of two by two tiles of C,
// T0 to T3, for which each step takes two tiles of A, T4 and T5, and two of B, T6 and T7. The tiles are configured and released in
// each call, so that none is in use where Go code runs.
func (t *target) tiles() {
	name := "tiles" + amxBF16
	t.Function(name)
	t.Attributes(attr.NOSPLIT)
	t.Pragma("noescape")
	t.Doc(name + " multiplies tiles, see productAMXBF16.")
	t.SignatureExpr("func(shape *[64]uint8, c []float32, ldc int, a []uint32, lda int, b []uint32, ldb int, rows, columns, steps int, acc bool)")
	t.Load(t.Param("shape"), atA)
	t.XORQ(atB, atB)
	t.tileMemory("LDTILECFG (R12)", noPrefix, 0x49, 0, atA, atB, 0)
	for i, r := range []reg.GPPhysical{tileLDA, tileLDB, tileLDC} {
		t.Load(t.Param([]string{"lda", "ldb", "ldc"}[i]), r)
		t.SHLQ(imm(2), r)
	}
	t.Load(t.Param("columns"), columnsLeft)
	t.XORQ(columnsDone, columnsDone)
	for _, columns := range []int{2, 1} {
		t.tileStrip(columns)
	}
	t.tileBytes("TILERELEASE", noPrefix, 0x49, 0, 0, 0)
	t.RET()
}

// tileStrip goes down strips of so many columns of tiles while there are as many.
func (t *target) tileStrip(columns int) {
	name := fmt.Sprintf("columns%d", columns)
	t.Label(name)
	t.CMPQ(columnsLeft, imm(columns))
	t.JLT(operand.LabelRef(name + "end"))
	t.Load(t.Param("rows"), rowsLeft)
	t.Load(t.Param("a").Base(), tileA)
	t.Load(t.Param("b").Base(), tileB)
	t.Load(t.Param("c").Base(), tileC)
	t.ADDQ(columnsDone, tileB)
	t.ADDQ(columnsDone, tileC)
	for _, rows := range []int{2, 1} {
		t.tileBlocks(fmt.Sprintf("%srows%d", name, rows), rows, columns)
	}
	t.ADDQ(imm(64*columns), columnsDone)
	t.SUBQ(imm(columns), columnsLeft)
	t.JMP(operand.LabelRef(name))
	t.Label(name + "end")
}

// tileBlocks does blocks of rows by columns tiles of C while there are rows for one.
func (t *target) tileBlocks(name string, rows, columns int) {
	t.Label(name)
	t.CMPQ(rowsLeft, imm(rows))
	t.JLT(operand.LabelRef(name + "end"))

	// 1. C's tiles start at C or at 0.
	t.behind(tileC, tileLDC, below)
	flag, err := t.Param("acc").Resolve()
	if err != nil {
		panic(err)
	}
	t.CMPB(flag.Addr, imm(0))
	t.JNE(operand.LabelRef(name + "load"))
	eachTile(rows, columns, func(tile uint32, _ reg.GPPhysical, _ uint8) { t.tileZero(tile) })
	t.JMP(operand.LabelRef(name + "loaded"))
	t.Label(name + "load")
	eachTile(rows, columns, func(tile uint32, base reg.GPPhysical, displacement uint8) {
		t.tileLoad(base, tileLDC, displacement, tile)
	})
	t.Label(name + "loaded")

	// 2. The steps.
	t.Load(t.Param("steps"), stepsLeft)
	t.TESTQ(stepsLeft, stepsLeft)
	t.JLE(operand.LabelRef(name + "summed"))
	t.MOVQ(tileA, atA)
	t.MOVQ(tileB, atB)
	t.behind(tileA, tileLDA, below)
	t.Label(name + "step")
	for column := range columns {
		t.tileLoad(atB, tileLDB, uint8(64*column), uint32(6+column))
	}
	for row := range rows {
		t.tileLoad([]reg.GPPhysical{atA, below}[row], tileLDA, 0, uint32(4+row))
		for column := range columns {
			t.tileProduct(uint32(6+column), uint32(4+row), uint32(2*row+column))
		}
	}
	for _, p := range []reg.GPPhysical{atA, below} {
		t.ADDQ(imm(64), p)
	}
	for range 2 {
		t.LEAQ(operand.Mem{Base: atB, Index: tileLDB, Scale: 8}, atB)
	}
	t.DECQ(stepsLeft)
	t.JNE(operand.LabelRef(name + "step"))
	t.Label(name + "summed")

	// 3. Store, and go on below.
	t.behind(tileC, tileLDC, below)
	eachTile(rows, columns, func(tile uint32, base reg.GPPhysical, displacement uint8) {
		t.tileStore(tile, base, tileLDC, displacement)
	})
	for range rows {
		t.behind(tileC, tileLDC, tileC)
		t.behind(tileA, tileLDA, tileA)
	}
	t.SUBQ(imm(rows), rowsLeft)
	t.JMP(operand.LabelRef(name))
	t.Label(name + "end")
}

// eachTile visits the tiles of a block of C.
func eachTile(rows, columns int, visit func(tile uint32, base reg.GPPhysical, displacement uint8)) {
	for row := range rows {
		for column := range columns {
			visit(uint32(2*row+column), []reg.GPPhysical{tileC, below}[row], uint8(64*column))
		}
	}
}

// behind sets to to the address 16 rows behind p.
func (t *target) behind(p, stride, to reg.GPPhysical) {
	t.LEAQ(operand.Mem{Base: p, Index: stride, Scale: 8}, to)
	t.LEAQ(operand.Mem{Base: to, Index: stride, Scale: 8}, to)
}
