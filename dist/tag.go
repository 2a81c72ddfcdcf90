package dist

import (
	"fmt"
	"slices"
	"strings"
)

// A tag is context<<10 | (number mod 64)<<4 | slot. The context keeps groups that share members apart; the slot keeps kinds and
// collectives apart; the number, of the hop or of the collective call, makes a rank that is one off wait (where the watchdog sees
// it) instead of taking the wrong block.
const (
	slotBits    = 4
	numberBits  = 6
	contextBits = slotBits + numberBits
	maxTag      = 1<<31 - 1
)

// Slots of the tag.
const (
	slotForwardKV = iota
	slotBackwardKV
	slotBackwardDKV
	slotForwardQ
	slotForwardCarry
	slotBackwardQ
	slotBackwardDQ
	slotOther // all other kinds together
	slotReduce
	slotReduced
	slotLengths
	slotGather
	slotBroadcast
	slotBarrier
	slotSplit
	slotAllToAll
	slots
)

var slotNames = [slots]string{
	"forward_kv", "backward_kv", "backward_dkv", "forward_q", "forward_carry", "backward_q", "backward_dq", "other",
	"allreduce", "allreduce", "allgather", "allgather", "broadcast", "barrier", "split", "alltoall",
}

func (c *Comm) tag(slot, number int) int {
	return c.context<<contextBits | (number&numberMask)<<slotBits | slot
}

const numberMask = 1<<numberBits - 1

func slotOf(tag int) int   { return tag & (1<<slotBits - 1) }
func numberOf(tag int) int { return tag >> slotBits & numberMask }

// TagName says what travels under a tag of Comm: the kind and the hop, or the collective and the number of its call; both are
// modulo 64.
func TagName(tag int) string {
	slot := slotOf(tag)
	if slot <= slotOther {
		return fmt.Sprintf("%s hop %d", slotNames[slot], numberOf(tag))
	}
	return fmt.Sprintf("%s (call %d)", slotNames[slot], numberOf(tag))
}

// slot of a kind; its outer form has the same.
func (k Kind) slot() int {
	inner := strings.TrimSuffix(string(k), outer)
	if slot := slices.Index(slotNames[:slotOther], inner); slot >= 0 {
		return slot
	}
	return slotOther
}
