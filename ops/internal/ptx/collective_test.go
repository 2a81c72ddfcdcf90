package ptx

import (
	"fmt"
	"math/bits"
	"testing"
)

func TestShufflesReadTheirSourceLanes(t *testing.T) {
	for _, c := range []struct {
		text string
		want func(lane int) (from int, inside bool)
	}{
		{"shfl.sync.bfly.b32 %r120|%p3, %r100, 5, 31, -1;", func(l int) (int, bool) { return l ^ 5, true }},
		{"shfl.sync.idx.b32 %r120|%p3, %r100, %r101, 31, -1;", func(l int) (int, bool) { return (l * 7) % 32, true }},
		{"shfl.sync.down.b32 %r120|%p3, %r100, 3, 31, -1;", func(l int) (int, bool) {
			if l+3 > 31 {
				return l, false
			}
			return l + 3, true
		}},
		{"shfl.sync.up.b32 %r120|%p3, %r100, 3, 0, -1;", func(l int) (int, bool) {
			if l < 3 {
				return l, false
			}
			return l - 3, true
		}},
		// Segments of 8 lanes: the segment mask is 24.
		{"shfl.sync.down.b32 %r120|%p3, %r100, 3, 6175, -1;", func(l int) (int, bool) {
			if l%8+3 > 7 {
				return l, false
			}
			return l + 3, true
		}},
		{"shfl.sync.idx.b32 %r120|%p3, %r100, 2, 6175, -1;", func(l int) (int, bool) { return l/8*8 + 2, true }},
	} {
		var in [32][16]uint32
		for l := range in {
			in[l][0], in[l][1] = uint32(1000+l), uint32(l*7%32)
		}
		got := warpRun(t, c.text+" selp.b32 %r121, 1, 0, %p3;", in)
		for l := range got {
			from, inside := c.want(l)
			if got[l][0] != uint32(1000+from) || got[l][1] != uint32(truth(inside)) {
				t.Errorf("%s: lane %d got %d, %d; want lane %d, inside %v", c.text, l, got[l][0], got[l][1], from, inside)
			}
		}
	}
}

func TestVotesAndReductions(t *testing.T) {
	const set = uint32(0x00ff1234)
	var in [32][16]uint32
	var sum, lowest, and, or uint32 = 0, ^uint32(0), ^uint32(0), 0
	for l := range in {
		v := uint32(l*2654435761) >> 3
		in[l][0], in[l][1], in[l][2] = set>>l&1, v, uint32(l%5)
		sum, lowest, and, or = sum+v, min(lowest, v), and&v, or|v
	}
	got := warpRun(t, `
	setp.ne.s32 %p3, %r100, 0;
	vote.sync.ballot.b32 %r120, %p3, -1; vote.sync.any.pred %p4, %p3, -1; selp.b32 %r121, 1, 0, %p4;
	vote.sync.all.pred %p4, %p3, -1; selp.b32 %r122, 1, 0, %p4; vote.sync.uni.pred %p4, !%p4, -1; selp.b32 %r123, 1, 0, %p4;
	redux.sync.add.s32 %r124, %r101, -1; redux.sync.min.u32 %r125, %r101, -1; redux.sync.and.b32 %r126, %r101, -1; redux.sync.or.b32 %r127, %r101, -1;
	match.any.sync.b32 %r128, %r102, -1; activemask.b32 %r129;
	elect.sync %r130|%p5, -1; selp.b32 %r131, 1, 0, %p5;
	@%p3 bra THEN; vote.sync.ballot.b32 %r132, %p3, `+fmt.Sprint(^set)+`; bra JOIN;
	THEN: vote.sync.ballot.b32 %r132, %p3, `+fmt.Sprint(set)+`;
	JOIN:`, in)
	for l := range got {
		same := uint32(0)
		for k := range 32 {
			if k%5 == l%5 {
				same |= 1 << k
			}
		}
		branch := uint32(0)
		if set>>l&1 != 0 {
			branch = set
		}
		want := [13]uint32{set, 1, 0, 1, sum, lowest, and, or, same, ^uint32(0), 0, uint32(truth(l == 0)), branch}
		if [13]uint32(got[l][:13]) != want {
			t.Fatalf("lane %d: %#x, want %#x", l, got[l][:13], want)
		}
	}
	if bits.OnesCount32(set) == 0 {
		t.Error("the set is empty")
	}
}
