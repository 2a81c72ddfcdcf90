package dist

import (
	"errors"
	"testing"
	"time"
)

// at makes waits in order of time: each is a second after the one before.
func at(waits ...Waiting) []Waiting {
	for i := range waits {
		waits[i].Since = time.Unix(int64(i), 0)
	}
	return waits
}

func TestBlameFollowsTheChainToTheRankThatWaitsForNobody(t *testing.T) {
	forward := func(hop int) int { return (&Comm{}).tag(ForwardKV.slot(), hop) }
	barrier := 1<<slotBits | slotBarrier
	for _, c := range []struct {
		name  string
		first Waiting
		waits []Waiting
		want  int
		cycle bool
	}{
		{"the peer computes", Waiting{Rank: 2, Peer: 1}, at(Waiting{Rank: 2, Peer: 1}), 1, false},
		{"nothing is known", Waiting{Rank: 2, Peer: 1}, nil, 1, false},
		{"through two ranks", Waiting{Rank: 3, Peer: 2}, at(Waiting{Rank: 3, Peer: 2}, Waiting{Rank: 2, Peer: 1}, Waiting{Rank: 1, Peer: 0}), 0, false},
		{"a rank with two waits: the one that leads to an end", Waiting{Rank: 0, Peer: 1},
			at(Waiting{Rank: 0, Peer: 1}, Waiting{Rank: 1, Peer: 0}, Waiting{Rank: 1, Peer: 2}), 2, false},
		{"a cycle: the lowest hop, though it is not the oldest", Waiting{Rank: 0, Peer: 1, Tag: forward(2)},
			at(Waiting{Rank: 0, Peer: 1, Tag: forward(2)}, Waiting{Rank: 1, Peer: 2, Tag: forward(1)}, Waiting{Rank: 2, Peer: 0, Tag: forward(2)}), 2, true},
		{"hops count modulo 64", Waiting{Rank: 0, Peer: 1, Tag: forward(0)},
			at(Waiting{Rank: 0, Peer: 1, Tag: forward(0)}, Waiting{Rank: 1, Peer: 0, Tag: forward(63)}), 0, true},
		{"a cycle of different calls: the oldest", Waiting{Rank: 0, Peer: 1, Tag: barrier},
			at(Waiting{Rank: 1, Peer: 0, Tag: forward(5)}, Waiting{Rank: 0, Peer: 1, Tag: barrier}), 0, true},
		{"a chain that leads into a cycle: a rank of the cycle", Waiting{Rank: 3, Peer: 0},
			at(Waiting{Rank: 3, Peer: 0}, Waiting{Rank: 0, Peer: 1}, Waiting{Rank: 1, Peer: 0}), 1, true},
		{"a rank that waits for itself", Waiting{Rank: 0, Peer: 0}, at(Waiting{Rank: 0, Peer: 0}), 0, true},
	} {
		chain, cycle := follow(c.first, c.waits)
		if got := culprit(chain, cycle); got != c.want || cycle != c.cycle {
			t.Errorf("%s: rank %d, cycle %v, want %d, %v (chain %v)", c.name, got, cycle, c.want, c.cycle, chain)
		}
	}
}

func TestTagsOfGroupsKindsAndHopsAreApart(t *testing.T) {
	seen := map[int]bool{}
	for context := range 3 {
		c := &Comm{context: context}
		for slot := range slots {
			for number := range numberMask + 1 {
				tag := c.tag(slot, number)
				if seen[tag] {
					t.Fatalf("tag %d comes twice", tag)
				}
				seen[tag] = true
				if slotOf(tag) != slot || numberOf(tag) != number {
					t.Fatalf("tag %d reads as slot %d number %d", tag, slotOf(tag), numberOf(tag))
				}
			}
		}
	}
	for tag, want := range map[int]string{
		(&Comm{context: 5}).tag(slotBackwardDKV, 3): "backward_dkv hop 3",
		(&Comm{}).tag(Kind("mine").slot(), 66):      "other hop 2",
		(&Comm{context: 1}).tag(slotBroadcast, 12):  "broadcast (call 12)",
		(&Comm{}).tag(BackwardQ.Outer().slot(), 9):  "backward_q hop 9",
		(&Comm{}).tag(slotAllToAll, 2):              "alltoall (call 2)",
	} {
		if got := TagName(tag); got != want {
			t.Errorf("tag %d is called %q, want %q", tag, got, want)
		}
	}
}

func TestKindsHaveSlotsOfTheirOwnThatTheirOuterFormsShare(t *testing.T) {
	seen := map[int]Kind{}
	for inner, outer := range map[Kind]Kind{
		ForwardKV: ForwardKVOuter, BackwardKV: BackwardKVOuter, BackwardDKV: BackwardDKVOuter, ForwardQ: ForwardQOuter,
		ForwardCarry: ForwardCarryOuter, BackwardQ: BackwardQOuter, BackwardDQ: BackwardDQOuter,
	} {
		slot := inner.slot()
		if other, taken := seen[slot]; taken || slot == slotOther {
			t.Errorf("%s has slot %d, as %s", inner, slot, other)
		}
		seen[slot] = inner
		if inner.Outer() != outer || outer.slot() != slot || slotNames[slot] != string(inner) {
			t.Errorf("%s: outer form %s with slot %d, want %s with %d, called %s", inner, inner.Outer(), outer.slot(), outer, slot, slotNames[slot])
		}
	}
	for _, other := range []Kind{"mine", Ulysses, Ulysses.Outer(), "split", "other"} {
		if other.slot() != slotOther {
			t.Errorf("%s has slot %d", other, other.slot())
		}
	}
}

func TestErrorsReadAsSentences(t *testing.T) {
	cause := errors.New("disk full")
	for want, err := range map[string]error{
		"dist: rank 2: forward_kv hop 1: receive from rank 1: peer lost": &Error{
			Op: "receive", Kind: ForwardKV, Hop: 1, Rank: 2, Peer: 1, Err: ErrPeerLost},
		"dist: rank 0: allreduce: send to rank 3: the job was aborted: disk full": &Error{
			Op: "send", Call: "allreduce", Kind: Collective, Peer: 3, Err: Aborted(cause)},
		"dist: rank 1: ulysses alltoall: receive from rank 0: peer lost": &Error{
			Op: "receive", Call: "alltoall", Kind: Ulysses, Rank: 1, Err: ErrPeerLost},
		"dist: rank 2: forward_kv hop 1: receive from rank 1: no message within 30s; rank 1 is late (it waits for nobody: computing or stuck)": &Error{
			Op: "receive", Kind: ForwardKV, Hop: 1, Rank: 2, Peer: 1, Err: &Late{Rank: 1, After: 30 * time.Second, Chain: []Waiting{{Rank: 2, Peer: 1}}}},
		"not received within 1s; rank 1 is late, or waits for a rank that is": &Late{Rank: 1, After: time.Second, sender: true},
	} {
		if err.Error() != want {
			t.Errorf("got  %q\nwant %q", err, want)
		}
	}
	if err := Aborted(cause); !errors.Is(err, ErrAborted) || !errors.Is(err, cause) {
		t.Errorf("Aborted(cause) is %v", err)
	}
	if again := Aborted(Aborted(cause)); again.Error() != Aborted(cause).Error() {
		t.Errorf("aborted twice reads %q", again)
	}
	if err := Aborted(nil); !errors.Is(err, ErrAborted) {
		t.Errorf("Aborted(nil) is %v", err)
	}
	if !errors.Is(&Error{Err: &Late{}}, ErrTimeout) {
		t.Error("Late is no ErrTimeout")
	}
}
