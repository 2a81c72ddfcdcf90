package data

import "slices"

// packWindow is how many packs' tokens are packed together. More fill packs better, and take more documents out of their order.
const packWindow = 128

// Packs deals things of the given lengths, in their order, to packs of at most length, and returns the numbers of the things in each.
// It takes a window of so many things as make packWindow packs, deals those by first-fit decreasing (the longest first, each to the
// first pack that has room), and goes on with the next window. The packs of a window come in the order of their first things, and
// the things of a pack in theirs. What is longer than a pack has one of its own.
func Packs(lengths []int, length int) [][]int {
	var all [][]int
	for from := 0; from < len(lengths); {
		to, tokens := from, 0
		for to < len(lengths) && tokens < packWindow*length {
			tokens += lengths[to]
			to++
		}
		all = append(all, firstFit(lengths, from, to, length)...)
		from = to
	}
	return all
}

// firstFit packs the things [from, to).
func firstFit(lengths []int, from, to, length int) [][]int {
	order := make([]int, to-from)
	for i := range order {
		order[i] = from + i
	}
	slices.SortStableFunc(order, func(a, b int) int { return lengths[b] - lengths[a] })
	var packs [][]int
	var room []int
	for _, i := range order {
		at := slices.IndexFunc(room, func(free int) bool { return free >= lengths[i] })
		if at < 0 {
			at = len(packs)
			packs, room = append(packs, nil), append(room, length)
		}
		packs[at], room[at] = append(packs[at], i), room[at]-lengths[i]
	}
	for _, p := range packs {
		slices.Sort(p)
	}
	slices.SortFunc(packs, func(a, b []int) int { return a[0] - b[0] })
	return packs
}

// packed makes one sequence of many, each a document of its own. A document of nothing fills it up to length: graphs are built for a
// length, so that one for all batches costs less time and memory than the padding does.
func packed(documents []Sequence, length int) Batch {
	b := Batch{B: 1, T: length, Documents: []int{0}}
	for _, d := range documents {
		b.IDs, b.Labels = append(b.IDs, d.IDs...), append(b.Labels, d.Labels()...)
		b.Documents = append(b.Documents, len(b.IDs))
	}
	if len(b.IDs) < length {
		b.Documents = append(b.Documents, length)
	}
	for len(b.IDs) < length {
		b.IDs, b.Labels = append(b.IDs, 0), append(b.Labels, Ignored)
	}
	return b
}
