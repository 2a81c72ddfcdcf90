package sass

import "sort"

// Loop is the innermost loop that the tensor cores work in.
type Loop struct {
	First, Last int // addresses of its first and last instruction
	// Short is one turn with all of the tensor instructions and copies, and of the rest as little as the branches allow: a full
	// tile. Long is the turn with the most instructions: a tile where every pair is asked for.
	Short, Long Mix
}

// MainLoop finds the loop with the most tensor work per turn, the shorter one of equals. There is none without tensor instructions in a loop.
func (f Function) MainLoop() (Loop, bool) {
	var best Loop
	found := false
	for _, span := range f.tensorLoops() {
		l := f.turn(span)
		more := l.Short.FMA > best.Short.FMA
		shorter := l.Short.FMA == best.Short.FMA && l.Short.Issued < best.Short.Issued
		if l.Short.FMA > 0 && (!found || more || shorter) {
			best, found = l, true
		}
	}
	return best, found
}

// span is a range of addresses, both inclusive.
type span struct{ first, last int }

func (s span) has(address int) bool { return s.first <= address && address <= s.last }
func (s span) contains(o span) bool { return s != o && s.has(o.first) && s.has(o.last) }
func (f Function) tensorIn(s span) bool {
	for _, in := range f.Code {
		if class := in.Class(); s.has(in.Address) && (class == HMMA || class == HGMMA) {
			return true
		}
	}
	return false
}

// tensorLoops are the loops with tensor instructions that hold no other such loop. A loop lies between a branch back and its target; of
// several branches to one target the last counts.
func (f Function) tensorLoops() []span {
	ends := map[int]int{}
	for _, in := range f.Code {
		if in.Target >= 0 && in.Target <= in.Address {
			ends[in.Target] = max(ends[in.Target], in.Address)
		}
	}
	var loops []span
	for first, last := range ends {
		if s := (span{first, last}); f.tensorIn(s) {
			loops = append(loops, s)
		}
	}
	sort.Slice(loops, func(i, j int) bool { return loops[i].first < loops[j].first })
	var innermost []span
	for _, outer := range loops {
		inner := false
		for _, l := range loops {
			inner = inner || outer.contains(l)
		}
		if !inner {
			innermost = append(innermost, outer)
		}
	}
	return innermost
}

// block is code that is entered at its top and left at its end.
type block struct {
	code []Instruction
	next []int // addresses
}

// blocks cuts the code of a loop at its branches and at their targets.
func (f Function) blocks(s span) []block {
	starts := map[int]bool{s.first: true}
	for _, in := range f.Code {
		if in.Target >= 0 {
			starts[in.Target], starts[in.Address+16] = true, true
		}
	}
	var blocks []block
	for i, in := range f.Code {
		if !s.has(in.Address) {
			continue
		}
		if starts[in.Address] {
			blocks = append(blocks, block{})
		}
		b := &blocks[len(blocks)-1]
		b.code = append(b.code, in)
		if i+1 == len(f.Code) || starts[in.Address+16] || !s.has(in.Address+16) {
			b.next = successors(in)
		}
	}
	return blocks
}

func successors(in Instruction) []int {
	next := in.Address + 16
	switch {
	case in.Target >= 0 && in.conditional():
		return []int{next, in.Target}
	case in.Target >= 0:
		return []int{in.Target}
	case (in.Base() == "EXIT" || in.Base() == "RET") && !in.conditional():
		return nil
	}
	return []int{next}
}

// path is the best way to a block so far.
type path struct {
	reached bool
	work    int // tensor instructions, copies and reductions on it
	issued  int
	from    int // index of the block before, or -1
}

// turn walks a loop from its top to a branch back there, along branches forward only: what is repeated inside it counts once, and code
// that lies outside of the loop's range, where compilers put waiting, does not count.
func (f Function) turn(s span) Loop {
	blocks := f.blocks(s)
	short := func(a, b path) bool { return a.work > b.work || a.work == b.work && a.issued < b.issued }
	long := func(a, b path) bool { return a.work > b.work || a.work == b.work && a.issued > b.issued }
	return Loop{First: s.first, Last: s.last, Short: walk(blocks, s, short), Long: walk(blocks, s, long)}
}

func walk(blocks []block, s span, better func(a, b path) bool) Mix {
	index := map[int]int{}
	for i, b := range blocks {
		index[b.code[0].Address] = i
	}
	paths := make([]path, len(blocks)) // up to and including each block
	paths[0] = extend(path{from: -1}, blocks[0], -1)
	last := path{}
	for i, b := range blocks {
		if !paths[i].reached {
			continue
		}
		for _, next := range b.next {
			if next == s.first {
				if end := (path{true, paths[i].work, paths[i].issued, i}); !last.reached || better(end, last) {
					last = end
				}
				continue
			}
			j, ok := index[next]
			if !ok || j <= i {
				continue
			}
			if p := extend(paths[i], blocks[j], i); !paths[j].reached || better(p, paths[j]) {
				paths[j] = p
			}
		}
	}
	m := Mix{Count: map[Class]int{}}
	if !last.reached {
		return m
	}
	for i := last.from; i >= 0; i = paths[i].from {
		for _, in := range blocks[i].code {
			m.add(in)
		}
	}
	return m
}

func extend(p path, b block, from int) path {
	p.reached, p.from = true, from
	p.issued += len(b.code)
	for _, in := range b.code {
		switch in.Class() {
		case HMMA, HGMMA, LDSM, AsyncCopy, BulkCopy, Reduce, BulkReduce:
			p.work++
		}
	}
	return p
}
