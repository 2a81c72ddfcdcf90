package ptx

import "math"

var compareDecoders = map[string]func(*decoder){"setp": decodeSetp, "slct": decodeSlct}

// relation is which of less, equal, greater and unordered make a comparison true.
type relation struct{ less, equal, greater, unordered bool }

var relations = map[string]relation{
	"eq": {equal: true}, "ne": {less: true, greater: true}, "lt": {less: true}, "le": {less: true, equal: true},
	"gt": {greater: true}, "ge": {greater: true, equal: true},
	"lo": {less: true}, "ls": {less: true, equal: true}, "hi": {greater: true}, "hs": {greater: true, equal: true},
	"equ": {equal: true, unordered: true}, "neu": {less: true, greater: true, unordered: true},
	"ltu": {less: true, unordered: true}, "leu": {less: true, equal: true, unordered: true},
	"gtu": {greater: true, unordered: true}, "geu": {greater: true, equal: true, unordered: true},
	"num": {less: true, equal: true, greater: true}, "nan": {unordered: true},
}

// decodeSetp: setp.cmp[.bool][.ftz].type p[|q], a, b[, [!]c]. q is the comparison's complement combined likewise.
func decodeSetp(d *decoder) {
	t := d.typ()
	if len(d.mods) == 0 || !d.arity(3, 4) {
		d.fail("setp without a comparison")
		return
	}
	rel, ok := relations[d.mods[0]]
	if !ok {
		d.fail("unknown comparison .%s", d.mods[0])
		return
	}
	d.mods = d.mods[1:]
	combine := d.takeOne("and", "or", "xor")
	compare := d.comparison(t, rel)
	p, q, both := cutPair(d.arg(0))
	dp, dq := d.dst(p, 1), int32(-1)
	if both {
		dq = d.dst(q, 1)
	}
	if (combine != "") != (len(d.args) == 4) {
		d.fail("a combining operator and a fourth operand go together")
		return
	}
	if combine == "" {
		d.in.exec = func(w *warp, m uint32) {
			v := compare(w)
			w.setPredicate(dp, m, v)
			if dq >= 0 {
				w.setPredicate(dq, m, ^v)
			}
		}
		return
	}
	c, flip := d.predicateSource(d.arg(3))
	d.in.exec = func(w *warp, m uint32) {
		v, third := compare(w), w.p[c]^flip
		w.setPredicate(dp, m, combined(combine, v, third))
		if dq >= 0 {
			w.setPredicate(dq, m, combined(combine, ^v, third))
		}
	}
}

func combined(op string, a, b uint32) uint32 {
	switch op {
	case "and":
		return a & b
	case "or":
		return a | b
	}
	return a ^ b
}

// cutPair splits p|q.
func cutPair(s string) (p, q string, both bool) {
	for i := range s {
		if s[i] == '|' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// comparison gives the lanes for which a relation holds; lanes outside the mask hold rubbish.
func (d *decoder) comparison(t scalar, rel relation) func(w *warp) uint32 {
	bits := t.width()
	ftz := d.take("ftz")
	if t.packed == 2 || bits < 16 || t.class == tf32Class {
		d.unsupported(t)
		return nil
	}
	a, b := d.src(d.arg(1), bits), d.src(d.arg(2), bits)
	switch {
	case t.isF32():
		return floatComparison(a, b, rel, ftz)
	case t.isHalf():
		return func(w *warp) (v uint32) {
			for l := range 32 {
				v |= rel.float(t.widen(w.r32[a][l]), t.widen(w.r32[b][l])) << l
			}
			return v
		}
	case t.class == floatClass:
		return func(w *warp) (v uint32) {
			for l := range 32 {
				v |= rel.double(math.Float64frombits(w.r64[a][l]), math.Float64frombits(w.r64[b][l])) << l
			}
			return v
		}
	case bits == 64:
		return rel.compare64(a, b, t.signed())
	case bits == 32:
		return rel.compare32(a, b, t.signed())
	}
	return func(w *warp) (v uint32) {
		for l := range 32 {
			x, y := t.extend(uint64(w.r32[a][l])), t.extend(uint64(w.r32[b][l]))
			v |= pick(x == y, rel.equal, pick3(t.less(x, y), rel)) << l
		}
		return v
	}
}

func pick3(less bool, rel relation) bool {
	if less {
		return rel.less
	}
	return rel.greater
}

func pick(cond, yes, no bool) uint32 {
	if cond && yes || !cond && no {
		return 1
	}
	return 0
}

func floatComparison(a, b int32, rel relation, ftz bool) func(w *warp) uint32 {
	return func(w *warp) (v uint32) {
		ra, rb := &w.r32[a], &w.r32[b]
		for l := range ra {
			x, y := ra[l], rb[l]
			if ftz {
				x, y = flush(x), flush(y)
			}
			v |= rel.float(f32(x), f32(y)) << l
		}
		return v
	}
}

func (rel relation) float(x, y float32) uint32 {
	return rel.double(float64(x), float64(y))
}

func (rel relation) double(x, y float64) uint32 {
	var holds bool
	switch {
	case x < y:
		holds = rel.less
	case x > y:
		holds = rel.greater
	case x == y:
		holds = rel.equal
	default:
		holds = rel.unordered
	}
	if holds {
		return 1
	}
	return 0
}

// compare32 flips the sign bits of signed values, so that one unsigned loop serves both.
func (rel relation) compare32(a, b int32, signed bool) func(w *warp) uint32 {
	flip := uint32(0)
	if signed {
		flip = 1 << 31
	}
	lt, eq, gt := mask32(rel.less), mask32(rel.equal), mask32(rel.greater)
	return func(w *warp) uint32 {
		ra, rb := &w.r32[a], &w.r32[b]
		var less, equal uint32
		for l := range ra {
			x, y := uint64(ra[l]^flip), uint64(rb[l]^flip)
			less |= uint32((x-y)>>63) << l
			equal |= uint32((x^y-1)>>63) << l
		}
		return less&lt | equal&eq | ^(less|equal)&gt
	}
}

func (rel relation) compare64(a, b int32, signed bool) func(w *warp) uint32 {
	flip := uint64(0)
	if signed {
		flip = 1 << 63
	}
	lt, eq, gt := mask32(rel.less), mask32(rel.equal), mask32(rel.greater)
	return func(w *warp) uint32 {
		ra, rb := &w.r64[a], &w.r64[b]
		var less, equal uint32
		for l := range ra {
			x, y := ra[l]^flip, rb[l]^flip
			if x < y {
				less |= 1 << l
			} else if x == y {
				equal |= 1 << l
			}
		}
		return less&lt | equal&eq | ^(less|equal)&gt
	}
}

func mask32(b bool) uint32 {
	if b {
		return allLanes
	}
	return 0
}

// decodeSlct: slct.type.ctype d, a, b, c takes a where c >= 0; a NaN takes b.
func decodeSlct(d *decoder) {
	ctype := d.typ()
	ftz := d.take("ftz")
	t := d.typ()
	if t.width() < 16 || ctype.width() != 32 || !d.arity(4, 4) {
		d.unsupported(t)
		return
	}
	bits := t.width()
	dst, a, b, c := d.dst(d.arg(0), bits), d.src(d.arg(1), bits), d.src(d.arg(2), bits), d.src(d.arg(3), 32)
	first := func(v uint32) bool {
		if ctype.class == floatClass {
			if ftz {
				v = flush(v)
			}
			return f32(v) >= 0
		}
		return int32(v) >= 0
	}
	d.in.exec = func(w *warp, m uint32) {
		each(m, func(l int) bool {
			from := b
			if first(w.r32[c][l]) {
				from = a
			}
			if bits == 64 {
				w.r64[dst][l] = w.r64[from][l]
			} else {
				w.r32[dst][l] = w.r32[from][l]
			}
			return true
		})
	}
}
