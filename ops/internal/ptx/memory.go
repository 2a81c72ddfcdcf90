package ptx

import (
	"encoding/binary"
	"math/bits"
)

// space is a state space of an access.
type space uint8

const (
	genericSpace space = iota
	globalSpace
	sharedSpace
	localSpace
	paramSpace
)

var spaceNames = map[string]space{
	"global": globalSpace, "const": globalSpace, "shared": sharedSpace, "shared::cta": sharedSpace,
	"local": localSpace, "param": paramSpace, "param::entry": paramSpace,
}

func (s space) String() string {
	return [...]string{"generic", "global", "shared", "local", "param"}[s]
}

var memoryDecoders = map[string]func(*decoder){"ld": decodeLoad, "st": decodeStore, "ldu": decodeLoad,
	"prefetch": decodePrefetch, "prefetchu": decodePrefetch}

// takeSpace consumes the state space of an access.
func (d *decoder) takeSpace() space {
	for i := 0; i < len(d.mods); i++ {
		if s, ok := spaceNames[d.mods[i]]; ok {
			d.take(d.mods[i])
			return s
		}
	}
	return genericSpace
}

// takeOrder consumes ordering, scope and cache modifiers. Memory is sequentially consistent here, so that they change
// nothing; polling loads make the warp give way.
func (d *decoder) takeOrder() (polls bool) {
	polls = d.take("relaxed", "acquire", "volatile", "release", "acq_rel", "mmio")
	d.take("weak")
	d.take("cta", "cluster", "gpu", "sys")
	for d.take("nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "L1::no_allocate", "L1::evict_first", "L1::evict_last",
		"L1::evict_normal", "L1::evict_unchanged", "L2::64B", "L2::128B", "L2::256B", "L2::cache_hint") {
	}
	return polls
}

// access is one load or store instruction.
type access struct {
	space space
	addr  address
	regs  []int32
	width int // bytes of an element
	wide  bool
	ext   func(uint64) uint64
	keep  uint32
	polls bool
}

// decodeAccess reads what loads and stores have in common.
func (d *decoder) decodeAccess(addr, value string, write bool) *access {
	t := d.typ()
	a := &access{polls: d.takeOrder(), space: d.takeSpace(), width: t.width() / 8, addr: d.address(addr)}
	vec := map[string]int{"": 1, "v2": 2, "v4": 4, "v8": 8}[d.takeOne("v2", "v4", "v8")]
	names := list(value)
	if len(names) != vec || t.class == predClass {
		d.fail("%d registers; the vector has %d elements", len(names), vec)
		return a
	}
	reg := max(t.width(), 16)
	for _, n := range names {
		if r, ok := d.b.scope.register(n); ok && r.bits > t.width() {
			reg = r.bits
		}
	}
	for _, n := range names {
		if write {
			a.regs = append(a.regs, d.src(n, reg))
		} else {
			a.regs = append(a.regs, d.dst(n, reg))
		}
	}
	a.wide, a.ext = reg == 64, t.extend
	a.keep = allLanes >> (32 - min(reg, 32))
	d.in.shared = a.space != paramSpace && a.space != localSpace
	return a
}

func decodeLoad(d *decoder) {
	if d.arity(2, 3) {
		a := d.decodeAccess(d.arg(1), d.arg(0), false)
		d.in.exec = func(w *warp, m uint32) { w.spun = w.spun || a.polls; a.run(w, m, false) }
	}
}

func decodeStore(d *decoder) {
	if d.arity(2, 3) {
		a := d.decodeAccess(d.arg(0), d.arg(1), true)
		d.in.exec = func(w *warp, m uint32) { w.c.launched.quiet = 0; a.run(w, m, true) }
	}
}

func decodePrefetch(d *decoder) {
	d.takeOrder()
	d.takeSpace()
	d.take("L1", "L2", "L2::evict_last", "L2::evict_normal", "tensormap")
	d.in.exec = func(*warp, uint32) {}
}

// window is a range of a state space.
type window struct {
	base uint64
	data []byte
}

// run loads or stores the lanes of m.
func (a *access) run(w *warp, m uint32, write bool) {
	addr := a.addr.lanes(w)
	if a.space != genericSpace {
		a.lanes(w, m, a.space, addr, write)
		return
	}
	for m != 0 {
		sp, part, base := w.resolve(addr, m)
		for l := range addr {
			if part>>l&1 != 0 {
				addr[l] -= base
			}
		}
		a.lanes(w, part, sp, addr, write)
		m &^= part
	}
}

// resolve finds the space of the lowest active lane's generic address and the lanes that share it.
func (w *warp) resolve(addr *lanes64, m uint32) (sp space, part uint32, base uint64) {
	first := addr[bits.TrailingZeros32(m)&31]
	sp, base = classify(first)
	for rest := m; rest != 0; rest &= rest - 1 {
		l := bits.TrailingZeros32(rest) & 31
		if s, _ := classify(addr[l]); s == sp {
			part |= 1 << l
		}
	}
	return sp, part, base
}

// classify tells which window a generic address lies in.
func classify(a uint64) (space, uint64) {
	switch {
	case a-sharedWindow < windowSize:
		return sharedSpace, sharedWindow
	case a-localWindow < windowSize:
		return localSpace, localWindow
	case a-paramWindow < windowSize:
		return paramSpace, paramWindow
	}
	return globalSpace, 0
}

// lanes moves the data of one space's lanes.
func (a *access) lanes(w *warp, m uint32, sp space, addr *lanes64, write bool) {
	n := a.width * len(a.regs)
	var win window
	if sp != localSpace {
		win = w.window(sp, addr, m, n)
	}
	check := sp == sharedSpace && w.c.f.tracked
	for ; m != 0; m &= m - 1 {
		l := bits.TrailingZeros32(m) & 31
		if sp == localSpace {
			size := w.c.f.localBytes
			win = window{0, w.local[l*size : (l+1)*size]}
		}
		at := addr[l]
		off := at - win.base
		if at&uint64(n-1) != 0 {
			w.fail(l, "misaligned %s access of %d bytes at %#x", sp, n, at)
			return
		}
		var b []byte
		if off <= uint64(len(win.data)) && uint64(len(win.data))-off >= uint64(n) {
			b = win.data[off:]
		} else if b = w.outside(sp, l, at, n); b == nil {
			return
		}
		if check && !w.checkShared(l, at, n, write) {
			return
		}
		if write {
			a.put(w, l, b)
		} else {
			a.get(w, l, b)
		}
	}
}

func (a *access) get(w *warp, l int, b []byte) {
	if a.width == 4 && !a.wide {
		for i, r := range a.regs {
			w.r32[r][l] = binary.LittleEndian.Uint32(b[4*i:])
		}
		return
	}
	for i, r := range a.regs {
		v := a.ext(element(b[i*a.width:], a.width))
		if a.wide {
			w.r64[r][l] = v
		} else {
			w.r32[r][l] = uint32(v) & a.keep
		}
	}
}

func (a *access) put(w *warp, l int, b []byte) {
	for i, r := range a.regs {
		if a.wide {
			putElement(b[i*a.width:], a.width, w.r64[r][l])
		} else if a.width == 4 {
			binary.LittleEndian.PutUint32(b[4*i:], w.r32[r][l])
		} else {
			putElement(b[i*a.width:], a.width, uint64(w.r32[r][l]))
		}
	}
}

func element(b []byte, width int) uint64 {
	switch width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(b))
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	}
	return binary.LittleEndian.Uint64(b)
}

func putElement(b []byte, width int, v uint64) {
	switch width {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.LittleEndian.PutUint16(b, uint16(v))
	case 4:
		binary.LittleEndian.PutUint32(b, uint32(v))
	default:
		binary.LittleEndian.PutUint64(b, v)
	}
}

// window is the memory behind a warp's access: all of a small space, or the range of global memory that the active
// lanes span. It is empty when that range is not inside one allocation; outside then looks at each lane.
func (w *warp) window(sp space, addr *lanes64, m uint32, n int) window {
	switch sp {
	case sharedSpace:
		return window{sharedBase, w.c.smem}
	case paramSpace:
		return window{0, w.c.launch.Args}
	}
	lo, hi := ^uint64(0), uint64(0)
	for ; m != 0; m &= m - 1 {
		a := addr[bits.TrailingZeros32(m)&31]
		lo, hi = min(lo, a), max(hi, a)
	}
	if lo-globalWindow < windowSize {
		return window{globalWindow, w.c.launched.globals}
	}
	if hi-lo > 1<<16 {
		return window{}
	}
	data, err := w.c.launched.mem.At(lo, int(hi-lo)+n)
	if err != nil {
		return window{}
	}
	return window{lo, data}
}

// outside is the memory of one lane that its window does not hold, nil with a fault when there is none.
func (w *warp) outside(sp space, l int, at uint64, n int) []byte {
	if sp != globalSpace {
		w.fail(l, "%s access of %d bytes at %#x is out of range", sp, n, at)
		return nil
	}
	return w.global(l, at, n)
}

// global is n bytes of global memory, nil with a fault when they are not mapped.
func (w *warp) global(l int, at uint64, n int) []byte {
	if off := at - globalWindow; off < windowSize {
		if g := w.c.launched.globals; off+uint64(n) <= uint64(len(g)) {
			return g[off : off+uint64(n)]
		}
	}
	b, err := w.c.launched.mem.At(at, n)
	if err != nil {
		w.fail(l, "global access of %d bytes at %#x: %v", n, at, err)
		return nil
	}
	return b
}

// shared is n bytes of shared memory aligned to n, nil with a fault otherwise.
func (w *warp) shared(l int, at uint64, n, align int) []byte {
	off := at - sharedBase
	switch {
	case at%uint64(align) != 0:
		w.fail(l, "misaligned shared access at %#x; it must be a multiple of %d", at, align)
	case off > uint64(len(w.c.smem)) || uint64(len(w.c.smem))-off < uint64(n):
		w.fail(l, "shared access of %d bytes at %#x is out of range; the CTA has %d bytes from %#x", n, at, len(w.c.smem), sharedBase)
	default:
		return w.c.smem[off : off+uint64(n)]
	}
	return nil
}
