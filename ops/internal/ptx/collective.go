package ptx

import (
	"math/bits"
)

var collectiveDecoders = map[string]func(*decoder){
	"shfl": decodeShuffle, "vote": decodeVote, "activemask": decodeActive, "elect": decodeElect, "redux": decodeRedux,
	"match": decodeMatch,
}

// wholeWarp is the requirement of .aligned instructions: all 32 lanes at this instruction.
func wholeWarp(*warp, uint32) uint32 { return allLanes }

func firstLane(m uint32) int { return bits.TrailingZeros32(m) & 31 }

// memberMask makes the instruction a collective of the lanes its mask operand names.
func (d *decoder) memberMask(operand string) {
	mask := d.src(operand, 32)
	d.in.kind = kindCollective
	d.in.required = func(w *warp, m uint32) uint32 {
		first := firstLane(m)
		need := w.r32[mask][first]
		if need>>first&1 == 0 {
			w.fail(first, "the member mask %#x does not name the executing lane %d", need, first)
		}
		return need
	}
}

// uniform is the value of a register that must be the same in all lanes of m.
func (w *warp) uniform(r int32, m uint32, what string) (uint32, bool) {
	v := w.r32[r][firstLane(m)]
	for rest := m; rest != 0; rest &= rest - 1 {
		if l := firstLane(rest); w.r32[r][l] != v {
			w.fail(l, "the %s differs inside the warp: %d and %d", what, v, w.r32[r][l])
			return 0, false
		}
	}
	return v, true
}

func (w *warp) uniform64(r int32, m uint32, what string) (uint64, bool) {
	v := w.r64[r][firstLane(m)]
	for rest := m; rest != 0; rest &= rest - 1 {
		if l := firstLane(rest); w.r64[r][l] != v {
			w.fail(l, "the %s differs inside the warp: %#x and %#x", what, v, w.r64[r][l])
			return 0, false
		}
	}
	return v, true
}

// decodeShuffle: shfl.sync.mode.b32 d[|p], a, b, c, membermask. c packs the clamp and the segment mask.
func decodeShuffle(d *decoder) {
	d.want("sync", "b32")
	mode := d.takeOne("idx", "up", "down", "bfly")
	if mode == "" || !d.arity(5, 5) {
		d.fail("shfl without a mode it knows")
		return
	}
	name, pred, both := cutPair(d.arg(0))
	dst, p := d.dst(name, 32), int32(-1)
	if both {
		p = d.dst(pred, 1)
	}
	a, b, c := d.src(d.arg(1), 32), d.src(d.arg(2), 32), d.src(d.arg(3), 32)
	d.memberMask(d.arg(4))
	d.in.exec = func(w *warp, m uint32) {
		from := w.r32[a]
		var inRange uint32
		for rest := m; rest != 0; rest &= rest - 1 {
			l := firstLane(rest)
			src, ok := shuffleSource(mode, l, w.r32[b][l]&31, w.r32[c][l])
			if ok {
				inRange |= 1 << l
			}
			if m>>src&1 == 0 {
				w.fail(l, "shfl reads lane %d, which does not take part", src)
				return
			}
			w.r32[dst][l] = from[src]
		}
		if p >= 0 {
			w.setPredicate(p, m, inRange)
		}
	}
}

// shuffleSource is the lane that lane reads, and whether it is inside the segment; outside, it reads itself.
func shuffleSource(mode string, lane int, b, c uint32) (int, bool) {
	clamp, segment := int(c&31), int(c>>8&31)
	top := lane&segment | clamp&^segment
	var j int
	ok := false
	switch mode {
	case "up":
		j = lane - int(b)
		ok = j >= lane&segment|clamp&^segment
	case "down":
		j = lane + int(b)
		ok = j <= top
	case "bfly":
		j = lane ^ int(b)
		ok = j <= top
	case "idx":
		j = lane&segment | int(b)&^segment
		ok = j <= top
	}
	if !ok {
		return lane, false
	}
	return j, true
}

// decodeVote: vote.sync.mode.type d, [!]a, membermask.
func decodeVote(d *decoder) {
	d.want("sync")
	t := d.typ()
	mode := d.takeOne("all", "any", "uni", "ballot")
	if mode == "" || !d.arity(3, 3) {
		d.fail("vote without a mode it knows")
		return
	}
	a, flip := d.predicateSource(d.arg(1))
	dst := d.dst(d.arg(0), t.width())
	d.memberMask(d.arg(2))
	d.in.exec = func(w *warp, m uint32) {
		v := (w.p[a] ^ flip) & m
		switch mode {
		case "all":
			w.setPredicate(dst, m, mask32(v == m))
		case "any":
			w.setPredicate(dst, m, mask32(v != 0))
		case "uni":
			w.setPredicate(dst, m, mask32(v == 0 || v == m))
		case "ballot":
			w.t32 = lanes32From(v)
			w.keep32(dst, m)
		}
	}
}

func decodeActive(d *decoder) {
	d.want("b32")
	dst := d.dst(d.arg(0), 32)
	d.in.exec = func(w *warp, m uint32) {
		w.t32 = lanes32From(m)
		w.keep32(dst, m)
	}
}

// decodeElect: elect.sync d|p, membermask names the lowest lane of the mask.
func decodeElect(d *decoder) {
	d.want("sync")
	name, pred, both := cutPair(d.arg(0))
	if !both || !d.arity(2, 2) {
		d.fail("elect takes d|p and a mask")
		return
	}
	dst, p := d.dst(name, 32), d.dst(pred, 1)
	d.memberMask(d.arg(1))
	d.in.exec = func(w *warp, m uint32) {
		w.t32 = lanes32From(uint32(firstLane(m)))
		w.keep32(dst, m)
		w.setPredicate(p, m, m&-m)
	}
}

// decodeRedux: redux.sync.op.type d, a, membermask.
func decodeRedux(d *decoder) {
	t := d.typ()
	d.want("sync")
	op := d.takeOne("add", "min", "max", "and", "or", "xor")
	combine := t.atomic(op)
	if combine == nil || t.bits != 32 || !d.arity(3, 3) {
		d.unsupported(t)
		return
	}
	dst, a := d.dst(d.arg(0), 32), d.src(d.arg(1), 32)
	d.memberMask(d.arg(2))
	d.in.exec = func(w *warp, m uint32) {
		v := t.extend(uint64(w.r32[a][firstLane(m)]))
		for rest := m & (m - 1); rest != 0; rest &= rest - 1 {
			v = t.extend(combine(v, t.extend(uint64(w.r32[a][firstLane(rest)])), 0))
		}
		w.t32 = lanes32From(uint32(v))
		w.keep32(dst, m)
	}
}

// decodeMatch: match.any.sync.b32 d, a, membermask: the lanes that hold the same value.
func decodeMatch(d *decoder) {
	d.want("any", "sync", "b32")
	if !d.arity(3, 3) {
		return
	}
	dst, a := d.dst(d.arg(0), 32), d.src(d.arg(1), 32)
	d.memberMask(d.arg(2))
	d.in.exec = func(w *warp, m uint32) {
		w.t32 = lanes32{}
		each(m, func(l int) bool {
			for k := range 32 {
				if m>>k&1 != 0 && w.r32[a][k] == w.r32[a][l] {
					w.t32[l] |= 1 << k
				}
			}
			return true
		})
		w.keep32(dst, m)
	}
}
