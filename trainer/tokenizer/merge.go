package tokenizer

import (
	"math"
	"math/bits"
)

// noPair is what a pairTable answers for a pair that it does not hold.
const noPair = math.MaxUint64

// pairTable maps pairs of ids to a value: open addressing, at most half full. A lookup is one multiplication and, mostly,
// one cache line; Go's map takes about four times as long, and lookups are what merging does.
type pairTable struct {
	slots []pairSlot
	shift int
	empty bool
}

type pairSlot struct{ key, value uint64 }

func newPairTable(pairs int) pairTable {
	width := bits.Len(uint(2*pairs + 1))
	t := pairTable{slots: make([]pairSlot, 1<<width), shift: 64 - width, empty: true}
	for i := range t.slots {
		t.slots[i] = pairSlot{key: noPair, value: noPair}
	}
	return t
}

// slot returns the pair's slot or the free one where it belongs. Ids are under 2³¹-1, so that no key is noPair.
func (t *pairTable) slot(key uint64) *pairSlot {
	i := key * 0x9e3779b97f4a7c15 >> t.shift
	for {
		s := &t.slots[i]
		if s.key == key || s.key == noPair {
			return s
		}
		i++
		if i == uint64(len(t.slots)) {
			i = 0
		}
	}
}

func (t *pairTable) put(left, right int32, value uint64) {
	key := uint64(uint32(left))<<32 | uint64(uint32(right))
	*t.slot(key) = pairSlot{key: key, value: value}
	t.empty = false
}

func (t *pairTable) get(left, right int32) uint64 {
	return t.slot(uint64(uint32(left))<<32 | uint64(uint32(right))).value
}

// shortWord is the length in symbols up to which looking through all pairs beats a heap.
const shortWord = 40

// merger applies merges: always the one of lowest rank, of those the leftmost, until none is left. A table value is
// rank<<32 | merged id, so that comparing values compares ranks.
type merger struct {
	values     []uint64
	heap       []uint64 // rank<<32 | position
	prev, next []int32
}

// merge merges symbols in place and returns the part of the slice that is left.
func (g *merger) merge(table *pairTable, symbols []int32) []int32 {
	switch {
	case table.empty || len(symbols) < 2:
		return symbols
	case len(symbols) <= shortWord:
		return g.mergeShort(table, symbols)
	}
	return g.mergeLong(table, symbols)
}

func (g *merger) mergeShort(table *pairTable, symbols []int32) []int32 {
	values := g.values[:0]
	for i := 1; i < len(symbols); i++ {
		values = append(values, table.get(symbols[i-1], symbols[i]))
	}
	g.values = values
	for {
		best, at := uint64(noPair), 0
		for i, v := range values {
			if v < best {
				best, at = v, i
			}
		}
		if best == noPair {
			return symbols
		}
		symbols[at] = int32(uint32(best))
		symbols = append(symbols[:at+1], symbols[at+2:]...)
		values = append(values[:at], values[at+1:]...)
		if at > 0 {
			values[at-1] = table.get(symbols[at-1], symbols[at])
		}
		if at < len(values) {
			values[at] = table.get(symbols[at], symbols[at+1])
		}
	}
}

// mergeLong takes O(n log n): a linked list of symbols, a heap of candidate merges. Candidates that an earlier merge has
// overtaken stay in the heap and are recognised when they come up.
func (g *merger) mergeLong(table *pairTable, symbols []int32) []int32 {
	g.link(table, symbols)
	for len(g.heap) > 0 {
		top := g.pop()
		at := int32(uint32(top))
		right := g.next[at]
		if symbols[at] < 0 || right < 0 {
			continue
		}
		value := table.get(symbols[at], symbols[right])
		if value == noPair || value>>32 != top>>32 {
			continue
		}
		symbols[at], symbols[right] = int32(uint32(value)), -1
		g.next[at] = g.next[right]
		if g.next[at] >= 0 {
			g.prev[g.next[at]] = at
			g.offer(table.get(symbols[at], symbols[g.next[at]]), at)
		}
		if left := g.prev[at]; left >= 0 {
			g.offer(table.get(symbols[left], symbols[at]), left)
		}
	}
	kept := symbols[:0]
	for _, id := range symbols {
		if id >= 0 {
			kept = append(kept, id)
		}
	}
	return kept
}

// link sets up the list and the heap.
func (g *merger) link(table *pairTable, symbols []int32) {
	g.prev, g.next, g.heap = g.prev[:0], g.next[:0], g.heap[:0]
	for i := range symbols {
		g.prev = append(g.prev, int32(i)-1)
		g.next = append(g.next, int32(i)+1)
	}
	g.next[len(symbols)-1] = -1
	for i := 1; i < len(symbols); i++ {
		g.offer(table.get(symbols[i-1], symbols[i]), int32(i)-1)
	}
}

// offer puts a merge at position at into the heap, if there is one.
func (g *merger) offer(value uint64, at int32) {
	if value == noPair {
		return
	}
	entry := value>>32<<32 | uint64(uint32(at))
	g.heap = append(g.heap, entry)
	i := len(g.heap) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if g.heap[parent] <= entry {
			break
		}
		g.heap[i] = g.heap[parent]
		i = parent
	}
	g.heap[i] = entry
}

func (g *merger) pop() uint64 {
	top := g.heap[0]
	last := g.heap[len(g.heap)-1]
	g.heap = g.heap[:len(g.heap)-1]
	i := 0
	for {
		child := 2*i + 1
		if child >= len(g.heap) {
			break
		}
		if child+1 < len(g.heap) && g.heap[child+1] < g.heap[child] {
			child++
		}
		if last <= g.heap[child] {
			break
		}
		g.heap[i] = g.heap[child]
		i = child
	}
	if len(g.heap) > 0 {
		g.heap[i] = last
	}
	return top
}
