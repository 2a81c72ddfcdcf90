package ptx

import "encoding/binary"

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
