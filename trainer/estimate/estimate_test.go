package estimate

import (
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// small has 2 layers of hidden 8, 4 heads of 2 over 2 KV heads, intermediate 12, vocabulary 10, tied, no biases. Layer: q, o 64 each,
// k, v 32 each, three of 96, two norms of 8: 496. With embedding 80 and last norm 8: 1,080 in 2·9+2 tensors.
var small = Model{Layers: 2, Hidden: 8, Intermediate: 12, Heads: 4, KVHeads: 2, HeadDim: 2, Vocab: 10, Tied: true, Parameters: 1080, LayerParameters: 496, Tensors: 20}

func TestTrafficByHand(t *testing.T) {
	run := Run{SequenceLen: 6, Ring: 3, MicroBatch: 2, Accumulation: 5, Layout: shard.Zigzag}
	e := Compute(small, run)
	// A token's K and V are 2·4 floats, 32 bytes; 12 tokens, 2 hops, 2 layers, 5 micro-batches.
	ring := Traffic{Hops: 20, Bytes: 32 * 12 * 2 * 2 * 5}
	// 1,080 floats twice to each of 2 others, 5 times.
	want := Wire{dist.ForwardKV: ring, dist.BackwardKV: ring, dist.BackwardDKV: ring, dist.Collective: Traffic{Hops: 100, Bytes: 1080 * 4 * 2 * 2 * 5}}
	if !maps.Equal(e.Wire, want) {
		t.Errorf("wire %+v, want %+v", e.Wire, want)
	}
	// In bfloat16 K and V are 16 bytes a token.
	run.Attention = "bfloat16"
	if w := Compute(small, run).Wire; w[dist.ForwardKV].Bytes != ring.Bytes/2 || w[dist.BackwardKV] != w[dist.ForwardKV] || w[dist.BackwardDKV] != ring {
		t.Errorf("wire in bfloat16 %+v", w)
	}
	// In contiguous shards the blocks of 3 ranks travel once, twice and not at all: half as often.
	run.Attention, run.Layout = "", shard.Contiguous
	if w := Compute(small, run).Wire[dist.ForwardKV]; w.Bytes != ring.Bytes/2 || w.Hops != ring.Hops {
		t.Errorf("contiguous: %+v", w)
	}
	if got, want := e.WireBytes(), int64(3*7680+86400); got != want {
		t.Errorf("%d bytes in all, want %d", got, want)
	}
	if e.TokensPerStep != 60 {
		t.Errorf("%d tokens a step, want 60", e.TokensPerStep)
	}
}

func TestFlopsByHand(t *testing.T) {
	f := Compute(small, Run{SequenceLen: 6, Ring: 3, MicroBatch: 2, Accumulation: 5}).Flops
	// 60 tokens, 2 layers, 2·(64+64+32+32+3·96) = 960 operations each.
	want := Flops{Forward: 115200, Recompute: 115200, Backward: 230400}
	want.Head = 60 * 3 * 2 * 80
	// 10 sequences of 6·6/2 pairs, 4·2 operations for each of 4 heads and 2 layers.
	want.AttentionForward = 10 * 18 * 8 * 4 * 2
	want.AttentionBackward = 28800
	want.Total = 115200*4 + 28800 + 11520 + 28800
	if f != want {
		t.Errorf("flops %+v, want %+v", f, want)
	}
}

// TestWindowsTakeOffFlopsAndHaveASectionOfTheirOwn: 6 positions see 1, 2, 3, 3, 3, 3 keys of a window of 3, counted as 3·6-3²/2.
func TestWindowsTakeOffFlopsAndHaveASectionOfTheirOwn(t *testing.T) {
	m, run := small, Run{SequenceLen: 6, MicroBatch: 2}
	m.Window, m.WindowLayers = 3, 1
	full, windowed := Compute(small, run), Compute(m, run)
	if got, want := windowed.Flops.AttentionForward, 2*(18+13.5)*8*4; got != want {
		t.Errorf("%v operations of attention, want %v", got, want)
	}
	if got, want := windowed.Memory.Parts.Activations-full.Memory.Parts.Activations, 12*4*small.attendOutputs(); got != want {
		t.Errorf("%d bytes more activations, want %d", got, want)
	}
	m.Window, m.WindowLayers = 60, 2
	if got := Compute(m, run); got.Flops != full.Flops || got.Memory != full.Memory {
		t.Error("a window beyond the sequence in every layer costs otherwise than none")
	}
}

func TestSecondsFollowTheSpeeds(t *testing.T) {
	e := Estimate{Flops: Flops{Forward: 6e9, Recompute: 1e9, Backward: 2e9, Head: 1e9, AttentionForward: 2e9, AttentionBackward: 5e9}}
	if got := e.Seconds(Speed{Products: 5, Attention: 2}); got != 2+3.5 {
		t.Errorf("%v s, want 10 Gflop at 5 and 7 at 2 to take 5.5", got)
	}
	if got := e.Seconds(Speed{Products: 5}); got != 0 {
		t.Errorf("%v s with a speed missing, want 0: unknown", got)
	}
}

func TestMemoryByHand(t *testing.T) {
	m := Compute(small, Run{SequenceLen: 5, Ring: 2, MicroBatch: 3, Accumulation: 1, DataTokens: 100}).Memory
	// Contiguous: 2 and 3 positions, so the larger rank has 9 rows. It is fullest in the first layer: what one layer keeps is less than
	// the gradients of the others. In floats a row:
	parts := RankMemory{
		LayerInputs:     4 * 9 * (3 * 8),       // inputs of that layer and the head, a gradient
		SavedAttention:  4 * 9 * 1 * (8 + 2*4), // O and two numbers a head
		Activations:     4 * 9 * ((8 + 3*8 + 3*4) + (5*8 + 36) + 8),
		ActivationGrads: 4 * 9 * ((5*8 + 2*8 + 3*4) + (9*8 + 8 + 36) + 2*8),
		Attention:       4*9*(4*8+2*4+4) + 8*9*8 + 4*9*8,
		RingBuffers:     3 * 4 * 9 * 8,
		WeightGrads:     4 * (496 + 80),
		CrossEntropy:    4 * 9 * (10 + 16),
		Tables:          9*(2*8+4+8) + 2*4*15,
	}
	if m.Parts != parts {
		t.Errorf("parts %+v\nwant  %+v", m.Parts, parts)
	}
	// In bfloat16 K and V take half, and a copy of K a quarter of what K and V took.
	narrow := Compute(small, Run{SequenceLen: 5, Ring: 2, MicroBatch: 3, Accumulation: 1, Attention: "bfloat16"}).Memory
	if got, want := narrow.Parts.RingBuffers, parts.RingBuffers-4*9*8/4; got != want {
		t.Errorf("ring buffers in bfloat16 take %d, want %d", got, want)
	}
	if m.Rank != parts.total() {
		t.Errorf("rank %d, want the sum of its parts %d", m.Rank, parts.total())
	}
	if want := (Shared{Program: programSize, Weights: 4320, Gradients: 4 * (1080 - 496 - 80), Optimizer: 8640, Data: 400}); m.Shared != want {
		t.Errorf("shared %+v, want %+v", m.Shared, want)
	}
	run := Run{SequenceLen: 5, Ring: 2, MicroBatch: 3, Accumulation: 1}
	other := rankMemory(small, run, small.moments(run)[2], 2).total()
	if want := m.Shared.total() + m.Rank + other + m.Garbage; m.Process != want {
		t.Errorf("process %d, want %d: all shared, both ranks and garbage", m.Process, want)
	}
}

// TestGradientsTakeTheRoomThatLayersLeave: with few tokens the last moment of a step is its fullest, with many the first; sums of
// micro-batches are there all the time.
func TestGradientsTakeTheRoomThatLayersLeave(t *testing.T) {
	model := Model{Layers: 24, Hidden: 896, Intermediate: 4864, Heads: 14, KVHeads: 2, HeadDim: 64, Vocab: 151936, Tied: true, Parameters: 494e6, LayerParameters: 15e6}
	matrix := int64(4 * 896 * 151936)
	for tokens, c := range map[int]struct{ accumulation, gradients int64 }{
		1024: {1, 4*(494e6-15e6) - matrix}, 1 << 16: {1, 0}, 1 << 17: {2, 4 * 494e6},
	} {
		m := Compute(model, Run{SequenceLen: tokens, Accumulation: int(c.accumulation)}).Memory
		if m.Shared.Gradients != c.gradients || m.Parts.WeightGrads != matrix+4*15e6 {
			t.Errorf("%d tokens: gradients of %d bytes and %d in the rank, want %d and %d", tokens, m.Shared.Gradients, m.Parts.WeightGrads, c.gradients, matrix+4*15e6)
		}
	}
}

// TestTheOnlyStepOfALayerHasNoGradientsYet: its attention runs back before there are gradients of what comes before it.
func TestTheOnlyStepOfALayerHasNoGradientsYet(t *testing.T) {
	one := small
	one.Layers = 1
	run := Run{SequenceLen: 1 << 12, Ring: 2}
	more := Compute(one, run).Memory
	run.Steps = 1
	once := Compute(one, run).Memory
	const rows = 1 << 11
	less := rows * 4 * (one.attendGradients() + one.queries() + 2*one.keys())
	if got := more.Rank - once.Rank; got != less {
		t.Errorf("the only step takes %d bytes less in a rank, want %d", got, less)
	}
	if run.Steps, run.Accumulation = 1, 2; Compute(one, run).Memory.Rank < more.Rank {
		t.Error("with a second micro-batch a rank takes less than with a second step")
	}
}

// TestGapsByHand: 9 and 6 rows of 8 floats, and half of 496 gradients in both ranks, beside the garbage.
func TestGapsByHand(t *testing.T) {
	m := Compute(small, Run{SequenceLen: 5, Ring: 2, MicroBatch: 3}).Memory
	inUse := m.Process - m.Garbage
	if want := inUse*int64(m.GCPercent)/100 + 4*(9+6)*8 + 2*2*496; m.Garbage != want {
		t.Errorf("%d bytes of garbage and gaps, want %d", m.Garbage, want)
	}
}

// TestGarbageIsAShareWithinBounds, and what the collector's setting makes of it.
func TestGarbageIsAShareWithinBounds(t *testing.T) {
	for inUse, want := range map[int64]struct {
		percent int
		garbage int64
	}{1 << 20: {100, 1 << 20}, 64 << 20: {38, 38 * (64 << 20) / 100}, 2 << 30: {3, 3 * (2 << 30) / 100}, 12 << 30: {1, (12 << 30) / 100}} {
		m := Memory{Process: inUse}
		m.collect()
		if m.GCPercent != want.percent || m.Garbage != want.garbage || m.Process != inUse+m.Garbage {
			t.Errorf("%d bytes in use: %+v, want %+v", inUse, m, want)
		}
	}
}

func TestUntiedAndNormedModelsTakeMore(t *testing.T) {
	run := Run{SequenceLen: 4}
	untied, normed := small, small
	untied.Tied, normed.QKNorm = false, true
	base := Compute(small, run).Memory.Parts
	if got := Compute(untied, run).Memory.Parts.WeightGrads - base.WeightGrads; got != -4*80 {
		t.Errorf("the gradient of an untied head is settled: %d bytes less, want 320", got)
	}
	with := Compute(normed, run).Memory.Parts
	if a, g := with.Activations-base.Activations, with.ActivationGrads-base.ActivationGrads; a != 4*4*12 || g != 4*4*12 {
		t.Errorf("norms of q and k add %d and %d bytes, want 192", a, g)
	}
}

func TestMemoryOfARankFallsWithTheRing(t *testing.T) {
	model := Model{Layers: 6, Hidden: 128, Intermediate: 384, Heads: 2, KVHeads: 1, HeadDim: 64, Vocab: 256, Tied: true, Parameters: 1.2e6, LayerParameters: 2e5}
	for _, layout := range shard.Layouts() {
		one := Compute(model, Run{SequenceLen: 1 << 16, Ring: 2, Layout: layout}).Memory.Parts
		eight := Compute(model, Run{SequenceLen: 1 << 16, Ring: 16, Layout: layout}).Memory.Parts
		for name, pair := range map[string][2]int64{
			"layer inputs": {one.LayerInputs, eight.LayerInputs}, "saved attention": {one.SavedAttention, eight.SavedAttention},
			"attention": {one.Attention, eight.Attention},
		} {
			if pair[0] != 8*pair[1] {
				t.Errorf("%s: %s of 2 ranks %d, of 16 ranks %d: want an eighth", layout, name, pair[0], pair[1])
			}
		}
		if one.WeightGrads != eight.WeightGrads {
			t.Errorf("%s: weight gradients %d and %d depend on the ring", layout, one.WeightGrads, eight.WeightGrads)
		}
	}
}

// A large model over a million tokens must not overflow; no run has such numbers today.
func TestLargeRunsDoNotOverflow(t *testing.T) {
	large := Model{Layers: 126, Hidden: 16384, Intermediate: 53248, Heads: 128, KVHeads: 8, HeadDim: 128, Vocab: 128256, Parameters: 405e9, LayerParameters: 3.2e9, Tensors: 1138}
	e := Compute(large, Run{SequenceLen: 1 << 20, Ring: 512, MicroBatch: 4, Accumulation: 16})
	for name, n := range map[string]float64{
		"process": float64(e.Memory.Process), "rank": float64(e.Memory.Rank), "wire": float64(e.WireBytes()), "flops": e.Flops.Total,
	} {
		if n <= 0 || math.IsInf(n, 0) {
			t.Errorf("%s is %v", name, n)
		}
	}
}

// TestPacksAreTakenToBeDocumentsOfTheMeanLength: 2 packs of 6 are 12 tokens, of documents of 4: 3·(4·4/2) pairs; else of 6: 2·(6·6/2).
func TestPacksAreTakenToBeDocumentsOfTheMeanLength(t *testing.T) {
	run := Run{SequenceLen: 6, MicroBatch: 2, Packed: true, DocumentLen: 4, Ring: 3}
	e := Compute(small, run)
	if got, want := e.Flops.AttentionForward, 24.*8*4*2; got != want {
		t.Errorf("%v operations of attention, want %v", got, want)
	}
	if e.TokensPerStep != 12 || e.Mask != "packs are taken to be full of documents of 4 tokens, the mean" {
		t.Errorf("%d tokens, %s", e.TokensPerStep, e.Mask)
	}
	// A rank holds 4 of the 12 tokens, which is a document: nothing travels.
	if w := e.Wire[dist.ForwardKV]; w != (Traffic{}) {
		t.Errorf("documents that no rank shares send %+v", w)
	}
	run.DocumentLen = 0
	if e = Compute(small, run); e.Flops.AttentionForward != 36*8*4*2 || e.Mask == "" {
		t.Errorf("%v operations of attention, %q", e.Flops.AttentionForward, e.Mask)
	}
}

// TestAutoTakesWhatSendsLess: with 2 heads for 2 KV heads of 8, queries take 5·(16+2) floats where keys and values take 6·16; with
// half as many KV heads these take half.
func TestAutoTakesWhatSendsLess(t *testing.T) {
	m := small
	m.Heads, m.KVHeads, m.HeadDim = 2, 2, 8
	run := Run{SequenceLen: 6, Ring: 3, Layout: shard.Zigzag, Travel: ring.Auto}
	e := Compute(m, run)
	if want := (Choice{"q", 2 * 2 * 6 * 96 * 4, 2 * 2 * 6 * 90 * 4, e.Travel.Reason}); e.Travel != want || e.Wire[dist.ForwardQ].Bytes == 0 {
		t.Errorf("%+v, want %+v", e.Travel, want)
	}
	if !strings.Contains(e.Travel.Reason, "a position travels as 96 floats") || !strings.Contains(e.Travel.Reason, "or as 90 of queries") {
		t.Errorf("reason %q", e.Travel.Reason)
	}
	m.KVHeads = 1
	if e = Compute(m, run); e.Travel.Travel != "kv" || e.Wire[dist.ForwardKV].Bytes == 0 {
		t.Errorf("%+v", e.Travel)
	}
}
