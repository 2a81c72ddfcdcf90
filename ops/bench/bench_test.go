package bench

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

var quick = Options{Rounds: 2, Threads: 1, Sample: time.Millisecond}

func small() Attention {
	return Attention{Seq: 256, HeadDim: 32, Heads: 2, KVHeads: 1, Causal: true, DType: "float32", Rings: []int{1, 3}, Layout: shard.Zigzag}
}

// figureKeys are those of every result; the contract of the command line names them.
var figureKeys = []string{"wall_ms", "gflops", "gflops_per_core_second", "of_fma_peak", "of_gemm_loop", "of_ceiling", "busy_ms", "roofline"}

// checkResults wants exactly the keys, in every result, and figures that a machine can have.
func checkResults(t *testing.T, report any, results int, keys ...string) {
	t.Helper()
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Results  []map[string]any
		Ceilings map[string]float64
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Results) != results {
		t.Fatalf("%d results, want %d", len(got.Results), results)
	}
	want := slices.Sorted(slices.Values(append(keys, figureKeys...)))
	for _, r := range got.Results {
		if have := slices.Sorted(maps.Keys(r)); !slices.Equal(have, want) {
			t.Errorf("keys %v, want %v", have, want)
		}
		for _, key := range []string{"of_fma_peak", "of_gemm_loop"} { // not of_ceiling: what is so small never leaves the cache
			if x := r[key].(float64); x < 0.001 || x > 1.5 {
				t.Errorf("%s is %v: no kernel is so slow, or faster than its ceiling", key, x)
			}
		}
		for key, x := range r {
			if figure, ok := x.(float64); ok && !(figure > 0) {
				t.Errorf("%s is %v", key, figure)
			}
		}
	}
	for _, key := range []string{"fma_peak_one_core", "fma_peak", "gemm_loop", "memory_gb_per_s"} {
		if !(got.Ceilings[key] > 0) {
			t.Errorf("ceiling %s is %v", key, got.Ceilings[key])
		}
	}
}

func TestAttentionReportsWhatTheContractNames(t *testing.T) {
	for dtype, isa := range map[string]string{"float32": cpu.ISA(), "float64": cpu.ISA(), bfloat16Name: cpu.BFloat16ISA()} {
		a := small()
		a.DType = dtype
		report, err := a.Measure(t.Context(), quick)
		if errors.Is(err, ring.ErrNoBFloat16) && isa == "" {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		checkResults(t, report, 4, "pass", "device", "isa", "seq", "head_dim", "heads", "kv_heads", "causal", "dtype", "ring", "layout", "threads", "busy_over_one")
		for i, want := range []struct {
			pass string
			ring int
		}{{"forward", 1}, {"backward", 1}, {"forward", 3}, {"backward", 3}} {
			if r := report.Results[i]; r.Pass != want.pass || r.Ring != want.ring || r.DType != dtype || r.ISA != isa || r.Threads != 1 {
				t.Errorf("result %d is %s of a ring of %d in %s (%s) on %d threads, want %+v", i, r.Pass, r.Ring, r.DType, r.ISA, r.Threads, want)
			}
		}
	}
}

func TestMatmulReportsEveryOrientation(t *testing.T) {
	m := Matmul{Products: append(Linear("up", 70, 65, 130), Product{Layer: "none", M: 1, N: 70, K: 90, Trans: "tt"}), DType: "float32"}
	report, err := m.Measure(t.Context(), quick)
	if err != nil {
		t.Fatal(err)
	}
	checkResults(t, report, 4, "pass", "device", "isa", "layer", "m", "n", "k", "trans", "dtype", "threads")
	for i, r := range report.Results {
		if got := (Product{r.Layer, r.M, r.N, r.K, r.Trans}); got != m.Products[i] {
			t.Errorf("result %d is %v, want %v", i, got, m.Products[i])
		}
	}
}

// A rate, a time and a number of operations of the same sample belong together, whatever they are.
func TestFiguresFollowFromTimesAndFlops(t *testing.T) {
	var r rounds
	for _, s := range []sample{{wall: 0.5, busy: 1}, {wall: 0.25, busy: 0.4}, {wall: 2, busy: 2}} {
		r.add(s, 8e9, ceiling{30, 15}.and(ceiling{50, 25}))
	}
	want := Figures{
		WallMS: 500, GFlops: 16, GFlopsPerCoreSecond: 8, OfFMAPeak: 0.2, OfGemmLoop: 0.4, OfCeiling: 0.4, BusyMS: 1000,
		Roofline: Roofline{Flops: 8e9, Bytes: 1e9, Intensity: 8, Ceiling: 20, Limit: "gemm_loop"},
	}
	if got := r.figures(cost{8e9, 1e9}, Ceilings{FMAPeak: 40, GemmLoop: 20, MemoryGBs: 10}, 2); got != want {
		t.Errorf("figures %+v, want %+v", got, want)
	}
	if got := median([]float64{4, 1, 3, 2}); got != 2.5 {
		t.Errorf("the median of 1, 2, 3, 4 is %v", got)
	}
}

func TestFlopsAreThoseOfTheLiterature(t *testing.T) {
	a := Attention{Seq: 2048, HeadDim: 64, Heads: 8, KVHeads: 2}
	forward, backward := a.Flops()
	if forward != 8_589_934_592 || backward != 21_474_836_480 {
		t.Errorf("full attention has %v and %v operations", forward, backward)
	}
	a.Causal = true
	if half, _ := a.Flops(); half != forward/2 {
		t.Errorf("causal attention has %v operations, want half of %v", half, forward)
	}
	if got := (Product{M: 3, N: 5, K: 7}).Flops(); got != 210 {
		t.Errorf("a product of 3 by 5 over 7 has %v operations", got)
	}
}

func TestTheRooflineIsTheLowestCeiling(t *testing.T) {
	for _, c := range []struct {
		intensity, peak, loop, memory float64
		limit                         string
		ceiling                       float64
	}{
		{100, 115, 113, 20, "fma_peak", 115},
		{100, 103, 90, 20, "gemm_loop", 90},
		{5, 115, 113, 20, "memory", 50},
	} {
		limits := Ceilings{FMAPeak: c.peak, GemmLoop: c.loop, MemoryGBs: c.memory}
		r := roofline(cost{c.intensity, 1}, limits, 2)
		if r.Limit != c.limit || r.Ceiling != c.ceiling {
			t.Errorf("%+v and %v operations a byte: %+v", limits, c.intensity, r)
		}
		share := r.attained(Figures{GFlopsPerCoreSecond: c.ceiling / 2, OfFMAPeak: c.ceiling / 2 / c.peak, OfGemmLoop: c.ceiling / 2 / c.loop})
		if share != 0.5 {
			t.Errorf("half of %s is %v of the ceiling", c.limit, share)
		}
	}
}

// One head has the same order of elements in both of their layouts.
func TestTheKernelAloneDoesWhatARingOfOneDoes(t *testing.T) {
	for _, dtype := range []string{"float32", bfloat16Name} {
		t.Run(dtype, func(t *testing.T) { testAlone(t, dtype) })
	}
}

func testAlone(t *testing.T, dtype string) {
	a := Attention{Seq: 100, HeadDim: 16, Heads: 1, KVHeads: 1, Causal: true, DType: dtype}
	w, err := newAlone[float32](a)
	if errors.Is(err, ring.ErrNoBFloat16) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // again, to see that nothing is left of the first time
		_, _ = w.forward(t.Context()), w.backward(t.Context())
	}
	s, err := shard.New(shard.Contiguous, a.Seq, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ring.NewRank[float32](nil, a.call(s, mask.CausalOrder()))
	if err != nil {
		t.Fatal(err)
	}
	n := a.Seq * a.HeadDim // w.in has K and V as the kernel takes them
	in := ring.Inputs[float32]{Q: w.in.Q, K: normal[float32](n, 2), V: normal[float32](n, 3)}
	saved, err := r.Forward(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	g, err := r.Backward(t.Context(), in, saved, w.in.DOut)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2][]float32{
		"out": {w.out, saved.Out()}, "dq": {w.grads.DQ, g.DQ}, "dk": {w.grads.DK, g.DK}, "dv": {w.grads.DV, g.DV},
	} {
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("%s differs", name)
		}
	}
}

func TestMistakesAreNamedTogether(t *testing.T) {
	a := Attention{Seq: 0, HeadDim: 512, Heads: 3, KVHeads: 2, DType: "float16", Rings: []int{0}, Layout: "spiral"}
	_, err := a.Measure(t.Context(), Options{Rounds: -1, Threads: 1 << 20})
	for _, want := range []string{"0 positions", "head dim 512", "3 query heads", `"float16"`, "ring of 0", `"spiral"`, "-1 rounds", "1048576 threads"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s: %v", want, err)
		}
	}
	_, err = Matmul{Products: []Product{{M: 1, N: 0, K: 1, Trans: "nx"}}, DType: "float32"}.Measure(t.Context(), Options{})
	for _, want := range []string{"n is 0", `trans "nx"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %s: %v", want, err)
		}
	}
}

func TestMeasuringEndsWithItsContext(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	threads := runtime.GOMAXPROCS(0)
	a := small()
	a.Rings = []int{1}
	if _, err := a.Measure(ctx, quick); !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
	if got := runtime.GOMAXPROCS(0); got != threads {
		t.Errorf("%d threads afterwards, %d before", got, threads)
	}
}

func TestOnlyLapsThatAreKeptCount(t *testing.T) {
	l := NewLaps(1e6, 1e3, 1)
	for _, nap := range []time.Duration{20 * time.Millisecond, 2 * time.Millisecond, 2 * time.Millisecond} {
		l.Start()
		time.Sleep(nap)
		if wall := l.Stop(); wall < nap {
			t.Errorf("a lap of at least %v took %v", nap, wall)
		}
		if nap < 20*time.Millisecond {
			l.Keep()
		}
	}
	figures, ceilings := l.Figures()
	if l.Kept() != 2 || len(l.kept.wall) != 2 || figures.WallMS < 2 || !(figures.OfFMAPeak > 0) || !(ceilings.GemmLoop > 0) {
		t.Errorf("%d laps, figures %+v, ceilings %+v", l.Kept(), figures, ceilings)
	}
	if slices.Contains(l.kept.wall, 0) {
		t.Error("a lap took no time")
	}
}
