package ptx

import (
	"math/bits"
	"slices"
)

// The compiler names every value anew, thousands in a large kernel, and a warp's registers would not fit a cache. So
// registers whose lives do not overlap share a slot. A register that may be read before it is written lives from the
// start, so that it holds garbage then. The operands of wgmma, in use beyond their instruction, keep slots of their own.

// bitset is a set of registers.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (s bitset) add(i int) { s[i/64] |= 1 << (i % 64) }

func (s bitset) has(i int) bool { return s[i/64]>>(i%64)&1 != 0 }

// each calls f for every member.
func (s bitset) each(f func(i int)) {
	for w, word := range s {
		for ; word != 0; word &= word - 1 {
			f(64*w + bits.TrailingZeros64(word))
		}
	}
}

// block is a run of instructions that is entered only at its first and left only at its last.
type block struct {
	first, end int // instructions
	next       []int
	in         bitset // live at its start
	reads      bitset // before a write in the block
	writes     bitset // by instructions without a guard
}

// life is the range of instructions over which a register holds a value that may be read.
type life struct {
	reg, first, last int
	pinned           bool
}

// blocks splits linked code.
func blocks(code []inst, registers int) []block {
	leader := make([]bool, len(code)+1)
	leader[0] = true
	for i := range code {
		switch in := &code[i]; in.kind {
		case kindBranch, kindSwitch:
			for _, t := range in.table {
				leader[t] = true
			}
			leader[i+1] = true
		case kindExit:
			leader[i+1] = true
		}
	}
	var out []block
	number := make([]int, len(code))
	for i := range code {
		if leader[i] {
			out = append(out, block{first: i, in: newBitset(registers), reads: newBitset(registers), writes: newBitset(registers)})
		}
		number[i] = len(out) - 1
		out[len(out)-1].end = i + 1
	}
	for i := range out {
		out[i].next = followers(code, out[i].end-1, number)
	}
	return out
}

// followers are the blocks that may run after the instruction at a block's end.
func followers(code []inst, last int, number []int) []int {
	in := &code[last]
	var next []int
	jumps := in.kind == kindBranch || in.kind == kindSwitch
	if jumps {
		for _, t := range in.table {
			next = append(next, number[t])
		}
	}
	if (!jumps && in.kind != kindExit || in.guard >= 0) && last+1 < len(code) {
		next = append(next, number[last+1])
	}
	return next
}

// lives computes the life of every register by backward iteration to a fixed point.
func lives(code []inst, n32, n64 int) []life {
	total := n32 + n64
	graph := blocks(code, total)
	for i := range graph {
		b := &graph[i]
		for k := b.first; k < b.end; k++ {
			code[k].registers(n32, func(r int) {
				if !b.writes.has(r) {
					b.reads.add(r)
				}
			}, func(r int) {
				if code[k].guard < 0 { // under a guard that is false, a lane keeps the old value
					b.writes.add(r)
				}
			})
		}
	}
	out := newBitset(total)
	for changed := true; changed; {
		changed = false
		for i := len(graph) - 1; i >= 0; i-- {
			b := &graph[i]
			b.liveOut(graph, out)
			for w := range out {
				if in := out[w]&^b.writes[w] | b.reads[w]; in != b.in[w] {
					b.in[w], changed = in, true
				}
			}
		}
	}
	return measure(code, graph, n32, total)
}

// liveOut is the union of what is live at the starts of the followers.
func (b *block) liveOut(graph []block, out bitset) {
	clear(out)
	for _, n := range b.next {
		for w, v := range graph[n].in {
			out[w] |= v
		}
	}
}

// measure turns liveness into ranges.
func measure(code []inst, graph []block, n32, total int) []life {
	all := make([]life, total)
	for r := range all {
		all[r] = life{reg: r, first: len(code), last: -1}
	}
	touch := func(r, at int) {
		all[r].first, all[r].last = min(all[r].first, at), max(all[r].last, at)
	}
	out := newBitset(total)
	for i := range graph {
		b := &graph[i]
		b.in.each(func(r int) { touch(r, b.first) })
		b.liveOut(graph, out)
		out.each(func(r int) { touch(r, b.end-1) })
		for k := b.first; k < b.end; k++ {
			code[k].registers(n32, func(r int) {
				touch(r, k)
				all[r].pinned = all[r].pinned || code[k].matrix
			}, func(r int) {
				touch(r, k)
				all[r].pinned = all[r].pinned || code[k].matrix
			})
		}
	}
	return all
}

// registers calls read and write for the registers of an instruction, those of 64 bits numbered after the others.
func (in *inst) registers(n32 int, read, write func(r int)) {
	for _, r := range in.reads {
		read(int(r))
	}
	for _, r := range in.reads64 {
		read(n32 + int(r))
	}
	for _, r := range in.writes {
		write(int(r))
	}
	for _, r := range in.writes64 {
		write(n32 + int(r))
	}
}

// share gives every register of a bank a slot and returns how many slots there are. Registers that one instruction
// touches never share, so that an instruction may write a result before it has read all sources.
func share(bank []life) (slots []int32, n int) {
	slots = make([]int32, len(bank))
	order := make([]int, len(bank))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return bank[a].first - bank[b].first })
	var last []int // per slot: until when it is in use
	for _, i := range order {
		l := &bank[i]
		at := -1
		if !l.pinned {
			at = slices.IndexFunc(last, func(end int) bool { return end < l.first })
		}
		if at < 0 {
			at = len(last)
			last = append(last, 0)
		}
		slots[i], last[at] = int32(at), l.last
		if l.pinned {
			last[at] = 1 << 60
		}
	}
	return slots, len(last)
}
