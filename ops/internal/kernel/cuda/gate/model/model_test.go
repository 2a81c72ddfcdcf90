package model

import (
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda/gate/sass"
)

// TestModelAgreesWithPublishedKernels is what the constant Overlap rests on.
func TestModelAgreesWithPublishedKernels(t *testing.T) {
	var squares float64
	references := References()
	for _, r := range references {
		c := r.Loop.Cycles(r.Tile)
		if math.Abs(c.Pairs-1) > 1e-9 {
			t.Errorf("%s: the loop does %v pairs of tiles", r.Name, c.Pairs)
		}
		off := c.Steady(r.Tile, r.Loop)/r.Published - 1
		squares += off * off
		if math.Abs(off) > 0.11 {
			t.Errorf("%s: %.0f TFLOP/s, %.0f published", r.Name, c.Steady(r.Tile, r.Loop), r.Published)
		}
	}
	if rms := math.Sqrt(squares / float64(len(references))); rms > 0.06 {
		t.Errorf("off by %.3f, root mean square", rms)
	}
}

// matmul is a loop of one wgmma of 64x128x16 by each of two warpgroups, as a pair of 128 by 128 of depth 8 forward.
func matmul() (Loop, Tile) {
	m := sass.Mix{FMA: 64 * 128 * 16, Issued: 1, OperandBytes: 2 * 128 * 16, Count: map[sass.Class]int{sass.HGMMA: 1}}
	return Loop{Mix: m, Warps: 8, Blocks: 1}, Tile{Queries: 128, Keys: 128, Dim: 8}
}

func TestCyclesFollowTheRates(t *testing.T) {
	l, tile := matmul()
	l.Mix.Count[sass.Exp2], l.Mix.Count[sass.Minmax], l.Mix.Count[sass.FFMA], l.Mix.Issued = 4, 8, 16, 29
	c := l.Cycles(tile)
	for name, x := range map[string]struct{ got, want float64 }{
		"pairs": {c.Pairs, 1}, "tensor": {c.Tensor, 128}, "shared": {c.Shared, 64}, "issue": {c.Issue, 58}, "special": {c.Special, 64},
		"integer": {c.Integer, 32}, "float": {c.Float, 32},
	} {
		if math.Abs(x.got-x.want) > 1e-9 {
			t.Errorf("%s: %v cycles, want %v", name, x.got, x.want)
		}
	}
	if got := c.Bound(l); got != "tensor" {
		t.Errorf("bound by %s, want tensor", got)
	}
	c.L2 = 1000
	if got := c.Bound(l); got != "L2" {
		t.Errorf("bound by %s, want L2", got)
	}
}

func TestALoopOfTwoPairsCostsTwice(t *testing.T) {
	l, tile := matmul()
	half := tile
	half.Keys /= 2
	one, two := l.Cycles(tile), l.Cycles(half)
	if two.Pairs != 2 || two.Tensor != one.Tensor/2 || two.Shared != one.Shared/2 {
		t.Errorf("one pair %+v, two pairs %+v", one, two)
	}
}

func TestOneWarpOfASchedulerOverlapsNothing(t *testing.T) {
	c := Cycles{Tensor: 100, Shared: 50, Issue: 60, Special: 70}
	if got := c.Pair(Loop{Warps: 4, Blocks: 1}); got != 220 {
		t.Errorf("one warp: %v cycles, want the sum", got)
	}
	if got := c.Pair(Loop{Warps: 4, Blocks: 2}); got <= 100 || got >= 220 {
		t.Errorf("two warps: %v cycles, want between the largest and the sum", got)
	}
	c.L2 = 500
	if got := c.Pair(Loop{Warps: 8, Blocks: 1}); got != 500 {
		t.Errorf("%v cycles, want those of L2", got)
	}
}

func TestGridLosesWhatDoesNotFill(t *testing.T) {
	l, tile := matmul()
	tile.Dim, l.Mix.FMA = 128, 16*l.Mix.FMA
	k := Kernel{Tile: tile, Full: l, Partial: l}
	steady := l.Cycles(tile).Steady(tile, l)
	whole := k.TFLOPS(Case{Tokens: 128 * 132, Heads: 1})
	if whole > steady || whole < 0.95*steady {
		t.Errorf("one full wave: %.0f of %.0f TFLOP/s", whole, steady)
	}
	if one := k.TFLOPS(Case{Tokens: 128 * 133, Heads: 1}); one > 0.55*whole {
		t.Errorf("a block more than a wave: %.0f of %.0f TFLOP/s", one, whole)
	}
}

func TestGridCountsTheDiagonal(t *testing.T) {
	k := Kernel{Tile: Tile{Queries: 128, Keys: 64}}
	for _, backward := range []bool{false, true} {
		k.Tile.Backward = backward
		var full, partial float64
		for _, b := range k.blocks(Case{Tokens: 1024, Causal: true}) {
			full, partial = full+b.full, partial+b.partial
		}
		area := (full + partial) * 128 * 64
		if exact := 1024.0 * 1025 / 2; area < exact || area > 1.15*exact || partial == 0 {
			t.Errorf("backward %v: %v full and %v partial tiles cover %.0f pairs of %.0f", backward, full, partial, area, exact)
		}
	}
}

func TestLongBlocksLastCostMore(t *testing.T) {
	l, tile := matmul()
	tile.Dim, l.Mix.FMA = 128, 16*l.Mix.FMA
	long, short := Kernel{Tile: tile, Full: l, Partial: l}, Kernel{Tile: tile, Full: l, Partial: l, ShortFirst: true}
	c := Case{Tokens: 16 << 10, Heads: 2, Causal: true}
	if a, b := long.TFLOPS(c), short.TFLOPS(c); a <= b {
		t.Errorf("long blocks first %.0f TFLOP/s, last %.0f", a, b)
	}
}
