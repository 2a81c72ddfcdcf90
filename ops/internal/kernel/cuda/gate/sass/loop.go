package sass

import (
	"maps"
	"slices"
)

// Loop is a loop that the tensor cores work in.
type Loop struct {
	First, Last int // addresses of its first and last instruction
	// Short is one turn with all of the tensor instructions and copies, and of the rest as little as the branches allow: a full
	// tile. Long is the turn with the most instructions: a tile where every pair is asked for.
	Short, Long Mix
	inner       []Loop // the loops with tensor instructions in it; Short and Long have one turn of each
}

// MainLoop finds the loop whose turn is one pair of tiles, or several, where a pair takes so many multiply-adds of a warp (of a warpgroup
// with HGMMA). A loop inside may go round as often as the multiply-adds ask for; it is counted as often. Of several loops the one with
// the fewest instructions counts, and none that encloses another. Without such a loop it finds nothing.
func (f Function) MainLoop(fma int) (Loop, bool) {
	var fitting []Loop
	for _, s := range f.tensorLoops() {
		if l, ok := f.turn(s).fitted(fma); ok {
			fitting = append(fitting, l)
		}
	}
	var best Loop
	found := false
	for _, l := range fitting {
		if slices.ContainsFunc(fitting, l.encloses) {
			continue
		}
		if !found || l.Short.Issued*best.Short.FMA < best.Short.Issued*l.Short.FMA {
			best, found = l, true
		}
	}
	return best, found
}

func (l Loop) span() span           { return span{l.First, l.Last} }
func (l Loop) encloses(o Loop) bool { return l.span().contains(o.span()) }

// fitted repeats the loops inside until a turn has the multiply-adds of a pair.
func (l Loop) fitted(fma int) (Loop, bool) {
	if len(l.inner) == 0 {
		return l, l.Short.FMA >= fma && l.Short.FMA%fma == 0
	}
	inside := 0
	for _, in := range l.inner {
		inside += in.Short.FMA
	}
	rest := fma - l.Short.FMA
	if inside == 0 || rest < 0 || rest%inside != 0 {
		return l, false
	}
	for _, in := range l.inner {
		l.Short = l.Short.plus(in.Short, rest/inside)
		l.Long = l.Long.plus(in.Long, rest/inside)
	}
	return l, true
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

// tensorLoops are the loops with tensor instructions. A loop lies between a branch back and its target; of several branches to one target
// the last counts.
func (f Function) tensorLoops() []span {
	ends := map[int]int{}
	for _, in := range f.Code {
		if in.Target >= 0 && in.Target <= in.Address {
			ends[in.Target] = max(ends[in.Target], in.Address)
		}
	}
	var loops []span
	for _, first := range slices.Sorted(maps.Keys(ends)) {
		if s := (span{first, ends[first]}); f.tensorIn(s) {
			loops = append(loops, s)
		}
	}
	return loops
}

// turn walks a loop from its top to a branch back there, along branches forward only: what is repeated inside it counts once, and code
// that lies outside of the loop's range, where compilers put waiting, does not count.
func (f Function) turn(s span) Loop {
	blocks := f.blocks(s)
	short := func(a, b path) bool { return a.work > b.work || a.work == b.work && a.issued < b.issued }
	long := func(a, b path) bool { return a.work > b.work || a.work == b.work && a.issued > b.issued }
	l := Loop{First: s.first, Last: s.last, Short: walk(blocks, s, short), Long: walk(blocks, s, long)}
	all := f.tensorLoops()
	for _, in := range all {
		direct := s.contains(in) && !slices.ContainsFunc(all, func(between span) bool { return s.contains(between) && between.contains(in) })
		if direct {
			l.inner = append(l.inner, f.turn(in))
		}
	}
	return l
}
