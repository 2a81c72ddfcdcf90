package scaling_test

import (
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/estimate/scaling"
)

const k, m = 1 << 10, 1 << 20

// attention of a layer of the 8B model on GPUs.
func attention(layout scaling.Layout, tokens float64, ranks int) (seconds, ideal float64) {
	return scaling.Run{Machine: scaling.GPUs(), Model: scaling.Llama8B(), Tokens: tokens, Ring: ranks, Layout: layout}.Attention()
}

// TestAttentionEqualsTheFirstStudy holds the model to figures that a separate program, written before this package, printed.
func TestAttentionEqualsTheFirstStudy(t *testing.T) {
	for _, c := range []struct {
		tokens                             float64
		ranks                              int
		contiguous, zigzag, double, groups float64 // ms
	}{
		{128 * k, 8, 272, 145, 145, 147},
		{128 * k, 64, 43.5, 43.9, 20.6, 18.7},
		{128 * k, 512, 53, 53, 17.7, 6.7},
		{512 * k, 128, 293, 174, 150, 146},
		{1 * m, 1024, 364, 364, 104, 76.6},
		{4 * m, 1024, 2352, 1395, 1193, 1165},
		{16 * m, 1024, 37167, 18608, 18612, 18583},
	} {
		for layout, want := range map[scaling.Layout]float64{
			scaling.Contiguous: c.contiguous, scaling.Zigzag: c.zigzag, scaling.Double: c.double, scaling.Ulysses: c.groups,
		} {
			if got, _ := attention(layout, c.tokens, c.ranks); math.Abs(1e3*got/want-1) > 0.01 {
				t.Errorf("%v tokens on %d, %s: %.4g ms, want %v", c.tokens, c.ranks, layout, 1e3*got, want)
			}
		}
	}
}

// TestComputeBoundRingsAreIdeal: with many tokens a rank, only launches and the first hop are more than arithmetic; contiguous shards lose half.
func TestComputeBoundRingsAreIdeal(t *testing.T) {
	for _, layout := range scaling.Layouts() {
		seconds, ideal := attention(layout, 64*m, 256)
		want := 1.0
		if layout == scaling.Contiguous {
			want = (2*256. - 1) / 256
		}
		if ratio := seconds / ideal; ratio < want-1e-9 || ratio > want*1.002 {
			t.Errorf("%s takes %.4f of the ideal, want %.4f", layout, ratio, want)
		}
	}
}

// TestShortShardsTakeTheTimeOfTheirBytes: the ring's hops between hosts take S·bytes/B however many ranks there are, and latencies.
func TestShortShardsTakeTheTimeOfTheirBytes(t *testing.T) {
	for _, ranks := range []int{128, 256, 512} {
		r := scaling.Run{Machine: scaling.GPUs(), Model: scaling.Llama8B(), Tokens: 128 * k, Ring: ranks, Layout: scaling.Zigzag}
		r.Machine.Message, r.Machine.Launch = 0, 0
		seconds, _ := r.Attention()
		// 1,024 of K and V: 4 bytes a token and element forward, 12 backward.
		if want := 128 * k * 16 * 1024 / 50e9; math.Abs(r.Floor()/want-1) > 1e-12 {
			t.Errorf("floor %v s, want %v", r.Floor(), want)
		}
		if ratio := seconds / r.Floor(); ratio < 1-2/float64(ranks) || ratio > 1.03 {
			t.Errorf("%d ranks: %.4f of the floor", ranks, ratio)
		}
	}
}

// TestHopsAreHiddenFromEnoughTokensOn: c* by the formula of a forward pass, 2·(d_kv/d)·F/B, is where waiting begins.
func TestHopsAreHiddenFromEnoughTokensOn(t *testing.T) {
	machine := scaling.GPUs()
	machine.Message, machine.Launch = 0, 0
	enough := machine.Enough(scaling.Llama8B())
	if want := 2 * 0.25 * 500e12 / 50e9; math.Abs(enough-want) > 1e-6 {
		t.Fatalf("c* is %v, want %v", enough, want)
	}
	overhead := func(rows float64) float64 {
		r := scaling.Run{Machine: machine, Model: scaling.Llama8B(), Tokens: rows * 64, Ring: 64, Layout: scaling.Zigzag}
		seconds, ideal := r.Attention()
		return seconds/ideal - 1
	}
	if over := overhead(enough * 1.01); over > 0.02 {
		t.Errorf("above c* waiting takes %.3f of the ideal", over)
	}
	if over := overhead(enough / 2); over < 0.5 {
		t.Errorf("at half of c* waiting takes only %.3f of the ideal", over)
	}
}

func TestBetterHardwareAndLessWorkNeverTakeLonger(t *testing.T) {
	for _, layout := range scaling.Layouts() {
		base := scaling.Run{Machine: scaling.GPUs(), Model: scaling.Llama8B(), Tokens: 256 * k, Ring: 64, Layout: layout}
		was, _ := base.Attention()
		for name, change := range map[string]func(r *scaling.Run){
			"a faster network": func(r *scaling.Run) { r.Machine.Outer *= 2 },
			"faster links":     func(r *scaling.Run) { r.Machine.Inner *= 2 },
			"faster devices":   func(r *scaling.Run) { r.Machine.Forward, r.Machine.Backward = 1e15, 1e15 },
			"shorter messages": func(r *scaling.Run) { r.Machine.Message = 0 },
			"fewer tokens":     func(r *scaling.Run) { r.Tokens /= 2 },
			"fewer KV heads":   func(r *scaling.Run) { r.Model.Keys /= 2 },
		} {
			r := base
			change(&r)
			if now, _ := r.Attention(); now > was*(1+1e-12) {
				t.Errorf("%s: %s: %v s instead of %v", layout, name, now, was)
			}
		}
	}
}

// TestADoubleRingNeedsACardForEachDevice: with one card a host its outer hop takes as long as all the hops of a single ring.
func TestADoubleRingNeedsACardForEachDevice(t *testing.T) {
	r := scaling.Run{Machine: scaling.GPUs(), Model: scaling.Llama8B(), Tokens: 128 * k, Ring: 64, Layout: scaling.Double}
	with, _ := r.Attention()
	r.Machine.Cards = 1
	without, _ := r.Attention()
	single, _ := attention(scaling.Zigzag, 128*k, 64)
	if with > single/2 || without < 0.95*single {
		t.Errorf("%v s with a card each, %v with one, %v as a single ring", with, without, single)
	}
}

// TestDirectSumsByHand: 2 hosts of 2 ranks, 100 parameters in 3 tensors. A rank sends 1/4 to each of 2 ranks elsewhere, twice, and 3
// messages twice for each tensor. Over a ring a host sends half, twice.
func TestDirectSumsByHand(t *testing.T) {
	r := scaling.Run{Machine: scaling.Machine{Devices: 2, Cards: 1, Outer: 100, Message: 1}, Model: scaling.Model{Parameters: 100, Tensors: 3, Layers: 2, Hidden: 8}, Ring: 2, Data: 2}
	if got, want := r.Traffic(scaling.Direct), (scaling.Traffic{HostBytes: 2 * 2 * 2 * 100, Messages: 18, Smallest: 8}); got != want {
		t.Errorf("direct %+v, want %+v", got, want)
	}
	if got, want := r.Traffic(scaling.Hierarchical), (scaling.Traffic{HostBytes: 400, Messages: 2 * (2 + 2 - 2) * 2, Smallest: 50}); got != want {
		t.Errorf("hierarchical %+v, want %+v", got, want)
	}
}

// TestMemoryOfAHostByHand: 100 parameters and their gradients, two moments, and 2 ranks with 10 rows of 2 layers of 8+4 floats.
func TestMemoryOfAHostByHand(t *testing.T) {
	r := scaling.Run{Machine: scaling.Machine{Devices: 2}, Model: scaling.Model{Parameters: 100, Layers: 2, Hidden: 8, Queries: 4}, Tokens: 40, Ring: 4, Data: 2}
	activations := 2 * 4 * 10. * 2 * 12
	if got := r.HostMemory(false); got != 4*400+activations {
		t.Errorf("%v bytes, want %v", got, 4*400+activations)
	}
	if got := r.HostMemory(true); got != 4*300+activations {
		t.Errorf("with zero_stage 1 %v bytes, want %v", got, 4*300+activations)
	}
}

// TestStepsAddUp, and where sums are hierarchical the last layer's part remains.
func TestStepsAddUp(t *testing.T) {
	r := scaling.Run{Machine: scaling.GPUs(), Model: scaling.Llama8B(), Tokens: 128 * k, Ring: 32, Data: 8, Layout: scaling.Ulysses}
	direct, hierarchical := r.Step(scaling.Direct, true), r.Step(scaling.Hierarchical, true)
	if got, want := direct.Seconds(), direct.Attention+direct.Rest+direct.Reduction+direct.Update; got != want {
		t.Errorf("%v s, want %v", got, want)
	}
	if direct.Attention != hierarchical.Attention || hierarchical.Reduction <= 0 || hierarchical.Reduction > direct.Reduction/20 {
		t.Errorf("direct %+v, hierarchical %+v", direct, hierarchical)
	}
	if e := hierarchical.Efficiency(); e > 1 || e < direct.Efficiency() {
		t.Errorf("efficiency %v", e)
	}
}

func TestTheBestMeshStaysWithinTheBatch(t *testing.T) {
	r, s := scaling.Best(scaling.GPUs(), scaling.Llama8B(), 128*k, 1024, scaling.Hierarchical)
	if r.Data*r.Ring != 1024 || float64(r.Data)*r.Tokens > 4*m || s.Seconds() <= 0 {
		t.Errorf("%d x %d ranks, %+v", r.Data, r.Ring, s)
	}
	for _, layout := range scaling.Layouts() {
		other := r
		other.Layout = layout
		if o := other.Step(scaling.Hierarchical, true); o.Seconds() < s.Seconds() {
			t.Errorf("%s takes %v s, the best %v", layout, o.Seconds(), s.Seconds())
		}
	}
}
