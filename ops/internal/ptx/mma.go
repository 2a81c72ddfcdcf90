package ptx

import (
	"math"
	"strings"
)

// mmaShapes gives the k extent per shape.
var mmaShapes = map[string]int{"m16n8k16": 16, "m16n8k8": 8, "m16n8k4": 4}

// operandType is the type of a matrix operand.
type operandType uint8

const (
	bf16Operand operandType = iota
	f16Operand
	tf32Operand
)

// mmaTypes are the types of D, A, B and C.
var mmaTypes = map[string]operandType{
	"f32.bf16.bf16.f32": bf16Operand, "f32.f16.f16.f32": f16Operand, "f32.tf32.tf32.f32": tf32Operand,
}

// decodeMMA: mma.sync.aligned.shape.row.col.f32.type.type.f32 d, a, b, c with A row-major, B column-major.
func decodeMMA(d *decoder) {
	d.want("sync", "aligned", "row", "col")
	if len(d.mods) != 5 || !d.arity(4, 4) {
		d.fail("this mma is not modelled")
		return
	}
	k, ok := mmaShapes[d.mods[0]]
	f := &mma{per: 2}
	types := strings.Join(d.mods[1:], ".")
	var known bool
	if f.typ, known = mmaTypes[types]; f.typ == tf32Operand {
		f.per = 1
	}
	if !ok || !known || f.per == 2 && k < 8 || f.per == 1 && k > 8 {
		d.fail("mma shape .%s of types .%s is not modelled", d.mods[0], types)
		return
	}
	d.mods = nil
	f.d = d.destinations(list(d.arg(0)), 4)
	f.a = d.sources(list(d.arg(1)), 16*k/(32*f.per), 32)
	f.b = d.sources(list(d.arg(2)), 8*k/(32*f.per), 32)
	f.c = d.sources(list(d.arg(3)), 4, 32)
	d.in.kind, d.in.required = kindCollective, wholeWarp
	d.in.exec = func(w *warp, _ uint32) { f.run(w) }
}

// mma is D = A*B + C with A of 16 rows and k columns and B of k rows and 8 columns.
type mma struct {
	per        int // elements in a register
	typ        operandType
	a, b, c, d []int32
}

// run computes with g = lane/4 and q = lane%4. Register i of A holds `per` columns from per*q (+ 4*per for i >= 2) of
// row g (+ 8 for odd i); register i of B holds `per` rows from per*q + 4*per*i of column g; register e of C and D
// holds row g (+ 8 for e >= 2) and column 2*q + e%2.
func (f *mma) run(w *warp) {
	var a [16][16]float32
	var b, c [16][8]float32
	for i, r := range f.a {
		f.typ.unpackRows(&w.r32[r], 4*f.per*(i>>1), (*[8][16]float32)(a[8*(i&1):]))
	}
	for i, r := range f.b {
		f.typ.unpackColumns(&w.r32[r], 4*f.per*i, &b)
	}
	gather(&c, w, f.c)
	for i := range a {
		multiply8(&a[i], &b, &c[i])
	}
	scatter(&c, w, f.d)
}

// The loops below index arrays of fixed size with masks, so that the compiler drops every bounds check.

// gather reads the four registers of an accumulator fragment of 16 rows and 8 columns.
func gather(c *[16][8]float32, w *warp, regs []int32) {
	for e, r := range regs[:4] {
		reg, rows, odd := &w.r32[r], (*[8][8]float32)(c[8*(e>>1):]), e&1
		for l, v := range reg {
			rows[l>>2&7][2*(l&3)+odd] = f32(v)
		}
	}
}

// scatter writes them.
func scatter(c *[16][8]float32, w *warp, regs []int32) {
	for e, r := range regs[:4] {
		reg, rows, odd := &w.r32[r], (*[8][8]float32)(c[8*(e>>1):]), e&1
		for l := range reg {
			reg[l] = bits32(rows[l>>2&7][2*(l&3)+odd])
		}
	}
}

// unpackRows widens a register of A: the rows g of `to`, from column col on.
func (t operandType) unpackRows(reg *lanes32, col int, to *[8][16]float32) {
	switch t {
	case bf16Operand:
		for l, v := range reg {
			row, q := &to[l>>2&7], col+2*(l&3)
			row[q&15], row[(q+1)&15] = f32(v<<16), f32(v&0xffff0000)
		}
	case f16Operand:
		for l, v := range reg {
			row, q := &to[l>>2&7], col+2*(l&3)
			row[q&15], row[(q+1)&15] = fromF16(v&0xffff), fromF16(v>>16)
		}
	case tf32Operand:
		for l, v := range reg {
			to[l>>2&7][(col+l&3)&15] = f32(v &^ 0x1fff) // the tensor core reads the upper 19 bits
		}
	}
}

// unpackColumns widens a register of B: the columns g of rows row and on.
func (t operandType) unpackColumns(reg *lanes32, row int, to *[16][8]float32) {
	switch t {
	case bf16Operand:
		for l, v := range reg {
			g, q := l>>2&7, row+2*(l&3)
			to[q&15][g], to[(q+1)&15][g] = f32(v<<16), f32(v&0xffff0000)
		}
	case f16Operand:
		for l, v := range reg {
			g, q := l>>2&7, row+2*(l&3)
			to[q&15][g], to[(q+1)&15][g] = fromF16(v&0xffff), fromF16(v>>16)
		}
	case tf32Operand:
		for l, v := range reg {
			to[(row+l&3)&15][l>>2&7] = f32(v &^ 0x1fff)
		}
	}
}

// widen is one 16-bit element.
func (t operandType) widen(h uint32) float32 {
	if t == f16Operand {
		return fromF16(h)
	}
	return math.Float32frombits(h << 16)
}

// multiply8 adds the products of a row of A with 8 columns of B to c, one value of k after another, in float32. The
// hardware adds with other roundings in an order that is not documented. The conversions keep the compiler from fusing
// multiplication and addition, so that the bits are the same on every machine. k beyond the shape is zero in A.
//
// Four columns at a time: with eight the compiler runs out of registers.
func multiply8(a *[16]float32, b *[16][8]float32, c *[8]float32) {
	c0, c1, c2, c3 := c[0], c[1], c[2], c[3]
	for k, x := range a {
		r := &b[k]
		c0 += float32(x * r[0])
		c1 += float32(x * r[1])
		c2 += float32(x * r[2])
		c3 += float32(x * r[3])
	}
	c[0], c[1], c[2], c[3] = c0, c1, c2, c3
	c0, c1, c2, c3 = c[4], c[5], c[6], c[7]
	for k, x := range a {
		r := &b[k]
		c0 += float32(x * r[4])
		c1 += float32(x * r[5])
		c2 += float32(x * r[6])
		c3 += float32(x * r[7])
	}
	c[4], c[5], c[6], c[7] = c0, c1, c2, c3
}
