package dist

import "fmt"

// A tag is context<<10 | (hop mod 64)<<4 | slot. The context number keeps groups that share members apart; the slot keeps kinds and
// collectives apart; the hop makes a rank that is one hop off wait (where the watchdog sees it) instead of taking the wrong block.
const (
	slotBits    = 4
	hopBits     = 6
	contextBits = slotBits + hopBits
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

func (c *Comm) tag(slot, hop int) int {
	return c.context<<contextBits | (hop&(1<<hopBits-1))<<slotBits | slot
}

// TagName says what travels under a tag of Comm: the kind and the hop (modulo 64), or the collective.
func TagName(tag int) string {
	slot := tag & (1<<slotBits - 1)
	switch {
	case slot >= slots:
		return fmt.Sprintf("tag %d", tag)
	case slot <= slotOther:
		return fmt.Sprintf("%s hop %d", slotNames[slot], hopOf(tag))
	}
	return slotNames[slot]
}

func hopOf(tag int) int { return tag >> slotBits & (1<<hopBits - 1) }

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
