package ptx

import (
	"encoding/binary"
	"strings"
)

var matrixDecoders = map[string]func(*decoder){"ldmatrix": decodeLdmatrix, "stmatrix": decodeStmatrix, "mma": decodeMMA}

// matrixShape consumes what ldmatrix and stmatrix have in common.
func (d *decoder) matrixShape() (count int, trans bool) {
	d.want("sync", "aligned", "m8n8", "b16")
	count = map[string]int{"x1": 1, "x2": 2, "x4": 4}[d.takeOne("x1", "x2", "x4")]
	trans = d.take("trans")
	if d.takeOne("shared", "shared::cta") == "" || count == 0 || !d.arity(2, 2) {
		d.fail("%s without .x1, .x2, .x4 or .shared is not modelled", d.op[0])
		return 1, false
	}
	d.in.kind, d.in.required, d.in.shared = kindCollective, wholeWarp, true
	return count, trans
}

// rows finds the 8*count rows of 16 bytes whose addresses the lowest lanes give.
func (w *warp) rows(a *address, count int, write bool) (rows [32][]byte, ok bool) {
	addr := a.lanes(w)
	for l := range 8 * count {
		if rows[l] = w.shared(l, addr[l], 16, 16); rows[l] == nil {
			return rows, false
		}
		if w.c.f.tracked && !w.checkShared(l, addr[l], 16, write) {
			return rows, false
		}
	}
	return rows, true
}

// decodeLdmatrix: lane 4g+q gets elements 2q and 2q+1 of row g of each 8x8 matrix; .trans exchanges rows and columns.
func decodeLdmatrix(d *decoder) {
	count, trans := d.matrixShape()
	a := d.address(d.arg(1))
	regs := d.destinations(list(d.arg(0)), count)
	d.in.exec = func(w *warp, _ uint32) {
		rows, ok := w.rows(&a, count, false)
		if !ok {
			return
		}
		for i, r := range regs {
			out := &w.r32[r]
			for l := range out {
				g, q := l>>2, l&3
				if trans {
					out[l] = half16(rows[8*i+2*q], g) | half16(rows[8*i+2*q+1], g)<<16
				} else {
					out[l] = binary.LittleEndian.Uint32(rows[8*i+g][4*q:])
				}
			}
		}
	}
}

func half16(row []byte, i int) uint32 { return uint32(binary.LittleEndian.Uint16(row[2*i:])) }

func decodeStmatrix(d *decoder) {
	count, trans := d.matrixShape()
	a := d.address(d.arg(0))
	regs := d.sources(list(d.arg(1)), count, 32)
	d.in.exec = func(w *warp, _ uint32) {
		rows, ok := w.rows(&a, count, true)
		if !ok {
			return
		}
		w.c.launched.quiet = 0
		for i, r := range regs {
			for l, v := range w.r32[r] {
				g, q := l>>2, l&3
				if trans {
					binary.LittleEndian.PutUint16(rows[8*i+2*q][2*g:], uint16(v))
					binary.LittleEndian.PutUint16(rows[8*i+2*q+1][2*g:], uint16(v>>16))
				} else {
					binary.LittleEndian.PutUint32(rows[8*i+g][4*q:], v)
				}
			}
		}
	}
}

func (d *decoder) destinations(names []string, n int) []int32 {
	if len(names) != n {
		d.fail("%d registers; the instruction has %d", len(names), n)
	}
	out := make([]int32, len(names))
	for i, s := range names {
		out[i] = d.dst(s, 32)
	}
	return out
}

// mmaShapes gives the k extent per shape.
var mmaShapes = map[string]int{"m16n8k16": 16, "m16n8k8": 8, "m16n8k4": 4}

// decodeMMA: mma.sync.aligned.shape.row.col.f32.type.type.f32 d, a, b, c with A row-major, B column-major.
func decodeMMA(d *decoder) {
	d.want("sync", "aligned", "row", "col")
	types := strings.Join(d.mods[max(0, len(d.mods)-4):], ".")
	shape := d.mods[0]
	k, ok := mmaShapes[shape]
	if !ok || len(d.mods) != 5 || !d.arity(4, 4) {
		d.fail("this mma is not modelled")
		return
	}
	var widen func(uint32) float32
	switch types {
	case "f32.bf16.bf16.f32":
		widen = fromBF16
	case "f32.f16.f16.f32":
		widen = fromF16
	case "f32.tf32.tf32.f32":
		widen = nil
	default:
		d.fail("mma of types .%s is not modelled", types)
	}
	d.mods = nil
	per := 2 // elements of a register
	if widen == nil {
		per = 1
	}
	if per == 2 && k < 8 || per == 1 && k > 8 {
		d.fail("mma shape .%s of types .%s does not exist", shape, types)
	}
	na, nb := 16*k/(32*per), 8*k/(32*per)
	out := d.destinations(list(d.arg(0)), 4)
	a := d.sources(list(d.arg(1)), na, 32)
	b := d.sources(list(d.arg(2)), nb, 32)
	c := d.sources(list(d.arg(3)), 4, 32)
	d.in.kind, d.in.required = kindCollective, wholeWarp
	f := &mma{k: k, per: per, widen: widen, a: a, b: b, c: c, d: out}
	d.in.exec = func(w *warp, _ uint32) { f.run(w) }
}

// mma is D = A*B + C with A of 16 rows and k columns and B of k rows and 8 columns.
type mma struct {
	k, per     int
	widen      func(uint32) float32
	a, b, c, d []int32
}

// run unpacks the fragments to rows of floats. Register i of A holds rows g (+8 for odd i) and a run of `per` columns
// from per*q (+ 4*per for i >= 2), g = lane/4, q = lane%4; register i of B holds rows from per*q + 4*per*i of column g.
func (f *mma) run(w *warp) {
	var a [16][16]float32
	var b [8][16]float32
	for i, r := range f.a {
		f.unpack(&w.r32[r], 4*f.per*(i>>1), func(g int) *[16]float32 { return &a[g+8*(i&1)] })
	}
	for i, r := range f.b {
		f.unpack(&w.r32[r], 4*f.per*i, func(g int) *[16]float32 { return &b[g] })
	}
	var c [4]lanes32
	for e, r := range f.c {
		c[e] = w.r32[r]
	}
	for e := range c {
		for l := range c[e] {
			c[e][l] = bits32(dot16(&a[l>>2+8*(e>>1)], &b[2*(l&3)+e&1], f32(c[e][l])))
		}
	}
	for e, r := range f.d {
		w.r32[r] = c[e]
	}
}

// unpack widens one register into the rows it belongs to, from column col on.
func (f *mma) unpack(reg *lanes32, col int, row func(g int) *[16]float32) {
	for g := range 8 {
		to := row(g)
		for q := range 4 {
			v := reg[4*g+q]
			if f.per == 1 {
				to[col+q] = f32(v &^ 0x1fff) // the tensor core reads the upper 19 bits
				continue
			}
			to[col+2*q] = f.widen(v & 0xffff)
			to[col+2*q+1] = f.widen(v >> 16)
		}
	}
}

// dot16 adds the products to c one after another in float32. The hardware adds with other roundings in an order that
// is not documented.
func dot16(a, b *[16]float32, c float32) float32 {
	c += float32(a[0] * b[0])
	c += float32(a[1] * b[1])
	c += float32(a[2] * b[2])
	c += float32(a[3] * b[3])
	c += float32(a[4] * b[4])
	c += float32(a[5] * b[5])
	c += float32(a[6] * b[6])
	c += float32(a[7] * b[7])
	c += float32(a[8] * b[8])
	c += float32(a[9] * b[9])
	c += float32(a[10] * b[10])
	c += float32(a[11] * b[11])
	c += float32(a[12] * b[12])
	c += float32(a[13] * b[13])
	c += float32(a[14] * b[14])
	c += float32(a[15] * b[15])
	return c
}
