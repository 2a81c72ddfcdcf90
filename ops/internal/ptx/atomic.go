package ptx

var atomicDecoders = map[string]func(*decoder){"atom": decodeAtomic, "red": decodeAtomic}

// decodeAtomic: atom.space.op.type d, [a], b[, c] and red, which has no d. Vectors are independent elements.
func decodeAtomic(d *decoder) {
	fetch := d.op[0] == "atom"
	t := d.typ()
	d.take("noftz")
	polls := d.takeOrder()
	sp := d.takeSpace()
	op := d.takeOne("add", "min", "max", "exch", "cas", "and", "or", "xor", "inc", "dec")
	vec := map[string]int{"": 1, "v2": 2, "v4": 4, "v8": 8}[d.takeOne("v2", "v4", "v8")]
	combine := t.atomic(op)
	operands := 2
	if op == "cas" {
		operands++
	}
	if fetch {
		operands++
	}
	if combine == nil || !d.arity(operands, operands) {
		d.fail("%s.%s.%s is not modelled", d.op[0], op, t.name())
		return
	}
	a := &atomic{t: t, addr: d.address(d.args[operands-atomicOperands(op)]), op: combine, space: sp, polls: polls}
	rest := d.args[len(d.args)-atomicOperands(op)+1:]
	a.b = d.sources(list(rest[0]), vec, t.width())
	a.c = a.b
	if op == "cas" {
		a.c = d.sources(list(rest[1]), vec, t.width())
	}
	if fetch {
		for _, n := range list(d.arg(0)) {
			a.d = append(a.d, d.dst(n, t.width()))
		}
	}
	d.in.shared = true
	d.in.exec = a.run
}

// atomicOperands counts the operands from the address on.
func atomicOperands(op string) int {
	if op == "cas" {
		return 3
	}
	return 2
}

func (d *decoder) sources(names []string, n, bits int) []int32 {
	if len(names) != n {
		d.fail("%d registers; the vector has %d elements", len(names), n)
	}
	out := make([]int32, len(names))
	for i, s := range names {
		out[i] = d.src(s, bits)
	}
	return out
}

// atomic is one read-modify-write instruction.
type atomic struct {
	t       scalar
	addr    address
	space   space
	b, c, d []int32
	op      func(old, b, c uint64) uint64
	polls   bool
}

// atomic is the operation on extended values, nil when the type has none.
func (t scalar) atomic(op string) func(old, b, c uint64) uint64 {
	if !t.integer() {
		return t.floatAtomic(op)
	}
	if t.bits < 32 && op != "cas" {
		return nil
	}
	switch op {
	case "add":
		return func(old, b, _ uint64) uint64 { return old + b }
	case "exch":
		return func(_, b, _ uint64) uint64 { return b }
	case "cas":
		return func(old, b, c uint64) uint64 {
			if old == b {
				return c
			}
			return old
		}
	case "and":
		return func(old, b, _ uint64) uint64 { return old & b }
	case "or":
		return func(old, b, _ uint64) uint64 { return old | b }
	case "xor":
		return func(old, b, _ uint64) uint64 { return old ^ b }
	case "min":
		return func(old, b, _ uint64) uint64 {
			if t.less(b, old) {
				return b
			}
			return old
		}
	case "max":
		return func(old, b, _ uint64) uint64 {
			if t.less(old, b) {
				return b
			}
			return old
		}
	case "inc":
		return func(old, b, _ uint64) uint64 {
			if old >= b {
				return 0
			}
			return old + 1
		}
	case "dec":
		return func(old, b, _ uint64) uint64 {
			if old == 0 || old > b {
				return b
			}
			return old - 1
		}
	}
	return nil
}

// floatAtomic: only additions. atom.add.f32 on global memory flushes denormals, which red of a sum hardly shows.
func (t scalar) floatAtomic(op string) func(old, b, c uint64) uint64 {
	switch {
	case op == "add" && t.isF32():
		return func(old, b, _ uint64) uint64 {
			return uint64(flush(bits32(f32(flush(uint32(old))) + f32(flush(uint32(b))))))
		}
	case op == "add" && t.isHalf():
		return func(old, b, _ uint64) uint64 {
			return uint64(t.perHalf(func(s int) uint32 {
				return t.narrow(t.widen(uint32(old)>>s&0xffff) + t.widen(uint32(b)>>s&0xffff))
			}))
		}
	}
	return nil
}

// run performs the lanes one after another, in lane order.
func (a *atomic) run(w *warp, m uint32) {
	addr := *a.addr.lanes(w)
	width := a.t.width() / 8
	n := width * len(a.b)
	w.spun = w.spun || a.polls || a.d != nil
	each(m, func(l int) bool {
		sp, at := a.space, addr[l]
		if sp == genericSpace {
			var base uint64
			sp, base = classify(at)
			at -= base
		}
		var b []byte
		if at%uint64(n) != 0 {
			w.fail(l, "misaligned %s access of %d bytes at %#x", sp, n, at)
			return false
		}
		switch sp {
		case globalSpace:
			b = w.global(l, at, n)
		case sharedSpace:
			if b = w.shared(l, at, n, n); b != nil && w.c.f.tracked && !w.checkShared(l, at, n, true) {
				return false
			}
		default:
			w.fail(l, "atomic on %s memory", sp)
		}
		if b == nil {
			return false
		}
		a.update(w, l, b, width)
		return true
	})
}

// update changes the elements at b for one lane.
func (a *atomic) update(w *warp, l int, b []byte, width int) {
	for i := range a.b {
		old := a.t.extendAny(element(b[i*width:], width))
		v := a.op(old, a.value(w, a.b[i], l), a.value(w, a.c[i], l))
		if cut := a.t.extendAny(v); cut != old {
			w.c.launched.quiet = 0
			putElement(b[i*width:], width, cut)
		}
		if a.d == nil {
			continue
		}
		if a.t.width() == 64 {
			w.r64[a.d[i]][l] = old
		} else {
			w.r32[a.d[i]][l] = uint32(old)
		}
	}
}

func (a *atomic) value(w *warp, r int32, l int) uint64 {
	if a.t.width() == 64 {
		return w.r64[r][l]
	}
	return a.t.extendAny(uint64(w.r32[r][l]))
}

// extendAny is extend for integers and the plain bits of everything else.
func (t scalar) extendAny(v uint64) uint64 {
	if t.integer() {
		return t.extend(v)
	}
	return v
}
