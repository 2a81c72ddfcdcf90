package dist

// blame finds the rank that an operation which timed out has really waited for.
func (c *Comm) blame(label Error) *Late {
	late := &Late{Rank: label.Peer, After: c.timeout, sender: label.Op == "send"}
	witness, ok := teller[Witness](c.engine)
	if !ok {
		return late
	}
	first := Waiting{Rank: label.Rank, Peer: label.Peer, Tag: label.Tag, Sending: late.sender}
	late.Chain, late.Cycle = follow(first, witness.Waits())
	late.Rank = culprit(late.Chain, late.Cycle)
	return late
}

// follow walks from one wait to those of its peer, breadth first, until a rank that waits for nobody. Where there is none it returns
// the cycle that the first waits lead into.
func follow(first Waiting, waits []Waiting) (chain []Waiting, cycle bool) {
	byRank := map[int][]Waiting{}
	for _, w := range waits {
		byRank[w.Rank] = append(byRank[w.Rank], w)
		if w.Rank == first.Rank && w.Peer == first.Peer && w.Tag == first.Tag {
			first.Since = w.Since
		}
	}
	type step struct {
		w    Waiting
		from int // index of the step before, -1 at the start
	}
	steps := []step{{first, -1}}
	seen := map[int]bool{}
	for i := 0; i < len(steps); i++ {
		peer := steps[i].w.Peer
		if len(byRank[peer]) == 0 {
			for j := i; j >= 0; j = steps[j].from {
				chain = append([]Waiting{steps[j].w}, chain...)
			}
			return chain, false
		}
		if !seen[peer] {
			seen[peer] = true
			for _, w := range byRank[peer] {
				steps = append(steps, step{w, i})
			}
		}
	}
	return loop(first, byRank), true
}

// loop follows first waits until a rank comes again, and gives the closed part.
func loop(first Waiting, byRank map[int][]Waiting) []Waiting {
	place := map[int]int{}
	var path []Waiting
	for w := first; ; w = byRank[w.Peer][0] {
		if i, again := place[w.Rank]; again {
			return path[i:]
		}
		place[w.Rank] = len(path)
		path = append(path, w)
	}
}

// culprit is the last peer of a chain. In a cycle it is the peer of the wait that came first: of the lowest number where two
// do the same, else the oldest.
func culprit(chain []Waiting, cycle bool) int {
	if !cycle {
		return chain[len(chain)-1].Peer
	}
	first := chain[0]
	for _, w := range chain[1:] {
		if earlier(w, first) {
			first = w
		}
	}
	return first.Peer
}

func earlier(a, b Waiting) bool {
	const others = ^(numberMask << slotBits) // the bits of a tag that are not its number
	ahead := (numberOf(b.Tag) - numberOf(a.Tag)) & numberMask
	if a.Tag&others == b.Tag&others && ahead != 0 {
		return ahead <= numberMask/2 // numbers go round
	}
	return a.Since.Before(b.Since)
}
