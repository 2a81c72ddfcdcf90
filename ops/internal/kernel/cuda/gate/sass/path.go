package sass

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
