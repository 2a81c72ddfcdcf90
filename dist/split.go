package dist

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Split divides the group: members with one color form a new group, ordered by key and, for equal keys, by their rank here. All
// members call it together. The new group has tags and a ledger of its own, so groups that share members can be used side by side:
// a mesh of data x context is Split(rank/cp, rank) and Split(rank%cp, rank).
func Split(ctx context.Context, c *Comm, color, key int) (*Comm, error) {
	c.begin()
	mine := []int64{int64(color), int64(key), int64(*c.next)}
	all, err := gatherEqual(ctx, c, c.call("split", slotSplit, c.me), mine)
	if err != nil {
		return nil, err
	}
	sub := &Comm{engine: c.engine, timeout: c.timeout, next: c.next, ledger: &Ledger{}}
	var members []int
	for m := range c.ranks {
		// Members may have been in different numbers of splits: the first number that is new to all of them is taken.
		sub.context = max(sub.context, int(all[3*m+2]))
		if all[3*m] == int64(color) {
			members = append(members, m)
		}
	}
	*c.next = sub.context + 1
	if err := sub.checkTags(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(members, func(a, b int) int { return cmp.Compare(all[3*a+1], all[3*b+1]) })
	for i, m := range members {
		sub.ranks = append(sub.ranks, c.ranks[m])
		if m == c.me {
			sub.me = i
		}
	}
	return sub, nil
}

// checkTags refuses a group whose tags the engine cannot carry.
func (c *Comm) checkTags() error {
	limit := maxTag
	if l, ok := teller[TagLimiter](c.engine); ok {
		limit = l.MaxTag()
	}
	if highest := (c.context+1)<<contextBits - 1; highest > limit {
		return fmt.Errorf("dist: split number %d needs tags up to %d, the engine has %d: make groups once and keep them", c.context, highest, limit)
	}
	return nil
}
