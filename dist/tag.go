package dist

import "fmt"

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
	slotOther // all other kinds together
	slotReduce
	slotReduced
	slotLengths
	slotGather
	slotBroadcast
	slotBarrier
	slotSplit
	slots
)

var slotNames = [slots]string{
	"forward_kv", "backward_kv", "backward_dkv", "other",
	"allreduce", "allreduce", "allgather", "allgather", "broadcast", "barrier", "split",
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
	switch {
	case slot >= slots:
		return fmt.Sprintf("tag %d", tag)
	case slot <= slotOther:
		return fmt.Sprintf("%s hop %d", slotNames[slot], numberOf(tag))
	}
	return fmt.Sprintf("%s (call %d)", slotNames[slot], numberOf(tag))
}

func (k Kind) slot() int {
	switch k {
	case ForwardKV:
		return slotForwardKV
	case BackwardKV:
		return slotBackwardKV
	case BackwardDKV:
		return slotBackwardDKV
	}
	return slotOther
}
