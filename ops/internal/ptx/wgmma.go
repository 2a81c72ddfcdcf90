package ptx

import "fmt"

var wgmmaDecoders = map[string]func(*decoder){"wgmma": decodeWgmma}

// wgmmas is the asynchronous matrix work of one warp: its 16 rows of the warpgroup's 64.
type wgmmas struct {
	pending []wgmmaIssue
	group   int
	steps   int      // steps taken in the warpgroup's log
	seq     uint32   // counts instructions
	fence   uint32   // seq at the last wgmma.fence, 0 before the first
	written []uint32 // per register: seq of the last write by a normal instruction
	busy    []uint16 // per register: uses by wgmmas in flight, as accumulator * 256 + as A operand
	inUse   int
}

func (g *wgmmas) reset(f *Function) {
	if !f.warpgroups {
		return
	}
	if g.written == nil {
		g.written, g.busy = make([]uint32, f.n32+len(f.const32)), make([]uint16, f.n32+len(f.const32))
	}
	clear(g.written)
	clear(g.busy)
	*g = wgmmas{written: g.written, busy: g.busy, seq: 1}
}

const accumulating = 256

// checkRegisters notes the registers an instruction writes and faults when it touches one that a wgmma in flight uses.
func (w *warp) checkRegisters(in *inst) {
	g := &w.wg
	if in.matrix {
		return
	}
	g.seq++
	for _, r := range in.writes {
		g.written[r] = g.seq
	}
	if g.inUse == 0 {
		return
	}
	for _, r := range in.reads {
		if g.busy[r] >= accumulating {
			w.fail(-1, "reads an accumulator of a wgmma in flight; wgmma.wait_group must come first")
			return
		}
	}
	for _, r := range in.writes {
		if g.busy[r] != 0 {
			w.fail(-1, "writes a register of a wgmma in flight; wgmma.wait_group must come first")
			return
		}
	}
}

func decodeWgmma(d *decoder) {
	f := d.b.f
	f.tracked, f.proxied, f.warpgroups = true, true, true
	d.want("sync", "aligned")
	d.in.kind, d.in.required, d.in.matrix = kindCollective, wholeWarp, true
	switch {
	case d.take("fence"):
		d.in.exec = func(w *warp, _ uint32) { w.wg.fence = w.wg.seq }
	case d.take("commit_group"):
		d.in.exec = func(w *warp, _ uint32) { w.wg.group++ }
	case d.take("wait_group"):
		n := int(d.immediate(d.arg(0)))
		d.in.exec = func(w *warp, _ uint32) {
			for len(w.wg.pending) > 0 && w.wg.pending[0].group < w.wg.group-n {
				w.finishWgmma(1)
			}
		}
	case d.take("mma_async"):
		d.decodeMatrixAsync()
	default:
		d.fail("this wgmma operation is not modelled")
	}
}

// wgmma is D = A*B (+ D) with D of 64 rows and n columns in float32, k = 16. A comes from shared memory or registers.
type wgmma struct {
	n              int
	d              []int32
	a              []int32 // nil for A from shared memory
	descA, descB   int32   // slots of the descriptors
	scaleD         int32   // predicate, -1 for a constant
	add            bool    // the constant
	negA, negB     bool
	transA, transB bool // operand is stored MN-major
	typ            operandType
}

// wgmmaIssue is one wgmma in flight. chunks are the offsets of the 16-byte pieces of its operands in shared memory.
type wgmmaIssue struct {
	op    *wgmma
	group int
	add   bool
	a, b  []int32
	line  int
}

// decodeMatrixAsync: wgmma.mma_async.sync.aligned.m64nNk16.f32.T.T {d}, a, b-desc, scale-d, imm-scale-a, imm-scale-b
// [, imm-trans-a], imm-trans-b.
func (d *decoder) decodeMatrixAsync() {
	op := &wgmma{scaleD: -1}
	if len(d.mods) != 4 || d.mods[1] != "f32" || d.mods[2] != d.mods[3] {
		d.fail("this wgmma is not modelled")
		return
	}
	if _, err := fmt.Sscanf(d.mods[0], "m64n%dk16", &op.n); err != nil || op.n < 8 || op.n > 256 || op.n%8 != 0 {
		d.fail("unknown wgmma shape .%s", d.mods[0])
		return
	}
	switch d.mods[2] {
	case "bf16":
		op.typ = bf16Operand
	case "f16":
		op.typ = f16Operand
	default:
		d.fail("wgmma of type .%s is not modelled", d.mods[2])
	}
	d.mods = nil
	fromRegisters := d.arg(1)[0] == '{'
	want := 8
	if fromRegisters {
		want = 7
	}
	if !d.arity(want, want) {
		return
	}
	op.d = d.destinations(list(d.arg(0)), op.n/2)
	if fromRegisters {
		op.a = d.sources(list(d.arg(1)), 4, 32)
	} else {
		op.descA = d.src(d.arg(1), 64)
		op.transA = d.immediate(d.arg(6)) != 0
	}
	op.descB = d.src(d.arg(2), 64)
	op.transB = d.immediate(d.arg(want-1)) != 0
	op.negA, op.negB = d.sign(d.arg(4)), d.sign(d.arg(5))
	if r, ok := d.b.scope.register(d.arg(3)); ok && r.bits == 1 {
		op.scaleD = r.slot
	} else {
		op.add = d.immediate(d.arg(3)) != 0
	}
	d.in.exec = func(w *warp, m uint32) { w.issueWgmma(op, m) }
}

// sign reads an imm-scale operand: 1 or -1.
func (d *decoder) sign(s string) (negative bool) {
	v := d.immediate(s)
	if v != 1 && v != -1 {
		d.fail("imm-scale %d is neither 1 nor -1", v)
	}
	return v == -1
}

// issueWgmma checks operands and starts the operation. It reads shared memory as late as wait_group allows.
func (w *warp) issueWgmma(op *wgmma, m uint32) {
	is := wgmmaIssue{op: op, group: w.wg.group, add: op.add, line: w.c.f.code[w.pc].line}
	if op.scaleD >= 0 {
		is.add = w.p[op.scaleD] != 0
		if p := w.p[op.scaleD]; p != 0 && p != allLanes {
			w.failMask(m, "scale-d differs inside the warp")
			return
		}
	}
	descB, ok := w.uniform64(op.descB, m, "descriptor of B")
	var descA uint64
	if ok && op.a == nil {
		descA, ok = w.uniform64(op.descA, m, "descriptor of A")
	}
	if !ok {
		return
	}
	w.agree(m, "wgmma", descA, descB)
	if w.c.fault != nil || !w.checkFence(op) {
		return
	}
	if is.b, ok = w.chunks(descB, op.n, op.transB); !ok {
		return
	}
	if op.a == nil {
		if is.a, ok = w.chunks(descA, 64, op.transA); !ok {
			return
		}
	}
	w.use(op, 1)
	w.wg.pending = append(w.wg.pending, is)
}

// use counts registers in or out of use.
func (w *warp) use(op *wgmma, sign int) {
	for _, r := range op.d {
		w.wg.busy[r] += uint16(sign * accumulating)
	}
	for _, r := range op.a {
		w.wg.busy[r] += uint16(sign)
	}
	w.wg.inUse += sign
}

// checkFence: a wgmma.fence must lie between a normal write of a register and the wgmma that uses it.
func (w *warp) checkFence(op *wgmma) bool {
	g := &w.wg
	if g.fence == 0 {
		w.fail(-1, "no wgmma.fence before the first wgmma")
		return false
	}
	for _, r := range op.d {
		if g.written[r] > g.fence {
			w.fail(-1, "an accumulator was written after the last wgmma.fence")
			return false
		}
	}
	for _, r := range op.a {
		if g.written[r] > g.fence {
			w.fail(-1, "an A register was written after the last wgmma.fence")
			return false
		}
		if g.busy[r] >= accumulating {
			w.fail(-1, "an A register is the accumulator of a wgmma in flight")
			return false
		}
	}
	return true
}

// finishWgmma performs the oldest operations in flight.
func (w *warp) finishWgmma(n int) {
	for ; n > 0 && len(w.wg.pending) > 0; n-- {
		is := w.wg.pending[0]
		w.wg.pending = append(w.wg.pending[:0], w.wg.pending[1:]...)
		w.use(is.op, -1)
		for _, off := range is.a {
			w.c.hazards.readDone(int(off))
		}
		for _, off := range is.b {
			w.c.hazards.readDone(int(off))
		}
		is.multiply(w)
	}
}

// multiply computes the warp's 16 rows, 8 columns at a time.
func (is *wgmmaIssue) multiply(w *warp) {
	op := is.op
	var a [64][16]float32
	var b [32][16][8]float32
	op.unpackB(w.c.smem, is.b, &b)
	first := 16 * (w.index & 3)
	rows := a[first : first+16]
	if op.a == nil {
		op.unpackA(w.c.smem, is.a, &a)
	} else {
		for i, r := range op.a {
			op.typ.unpackRows(&w.r32[r], 8*(i>>1), (*[8][16]float32)(rows[8*(i&1):]))
		}
	}
	if op.negA != op.negB {
		for i := range rows {
			for k := range rows[i] {
				rows[i][k] = -rows[i][k]
			}
		}
	}
	for j := range op.n / 8 {
		regs := op.d[4*j : 4*j+4]
		var c [16][8]float32
		if is.add {
			gather(&c, w, regs)
		}
		for i := range c {
			multiply8(&rows[i], &b[j], &c[i])
		}
		scatter(&c, w, regs)
	}
}

// unpackA widens A to 64 rows of 16. Chunks hold 8 elements along k, or along the rows when A is stored MN-major.
func (op *wgmma) unpackA(smem []byte, chunks []int32, a *[64][16]float32) {
	for i, off := range chunks {
		piece := smem[off : off+16]
		for j := range 8 {
			v := op.typ.widen(half16(piece, j))
			if op.transA {
				a[i/16*8+j][i%16] = v
			} else {
				a[i/2][i%2*8+j] = v
			}
		}
	}
}

// unpackB widens B to blocks of 16 values of k and 8 columns.
func (op *wgmma) unpackB(smem []byte, chunks []int32, b *[32][16][8]float32) {
	for i, off := range chunks {
		piece := smem[off : off+16]
		for j := range 8 {
			v := op.typ.widen(half16(piece, j))
			if op.transB {
				b[i/16][i%16][j] = v
			} else {
				b[i/16][i%2*8+j][i/2%8] = v
			}
		}
	}
}
