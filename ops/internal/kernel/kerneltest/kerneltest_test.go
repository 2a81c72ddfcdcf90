package kerneltest

import (
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// A mutant is a kernel that breaks one rule.
type mutant struct {
	kernel.Attention[float32]
	rule  string
	calls *atomic.Int32 // that are under way
	sink  *[]float32
}

func (m mutant) Forward(c kernel.Carry[float32], q, k, v []float32, b kernel.Block) {
	busy := m.calls.Add(1) > 1
	defer m.calls.Add(-1)
	switch m.rule {
	case "the mask is right":
		b.Cols = earlier(b.Cols)
	case "scores are scaled":
		b.Scale = 1
	case "the groups of heads are right":
		b.KVHeads, k, v = b.Heads, repeat(k, b), repeat(v, b)
	case "blocks add up":
		c.Reset()
	case "the carry is exact":
		defer coarsen(c.O)
	case "the mask is the block's":
		b.Mask = nil
	case "the softcap is applied":
		b.Softcap = 0
	case "distances count":
		b.Slopes = nil
	case "dropped pairs are dropped":
		b.Dropout = kernel.Dropout{}
	case "inputs are not written":
		if len(q) > 0 {
			q[0] *= 1.0001
		}
	case "logits may be hot":
		q = clamped(q)
	case "hidden keys are not read":
		defer spread(c.O, v)
	case "NaN reaches out":
		v = cleaned(v)
	case "memory is linear":
		*m.sink = make([]float32, kernel.Len(b.Rows)*kernel.Len(b.Cols))
	case "bits repeat":
		if len(c.O) > 0 && runtime.GOMAXPROCS(0) > 2 {
			defer func() { c.O[0] *= 1.000001 }()
		}
	case "calls may be concurrent":
		time.Sleep(20 * time.Millisecond) // so that calls which may overlap do
		if busy && len(c.O) > 0 {
			defer func() { c.O[0]++ }()
		}
	}
	m.Attention.Forward(c, q, k, v, b)
}

func (m mutant) Merge(c, other kernel.Carry[float32], b kernel.Block) {
	if m.rule == "references are compared" {
		copy(other.M, c.M)
	}
	m.Attention.Merge(c, other, b)
}

func (m mutant) Finish(c kernel.Carry[float32], out, lse []float32, b kernel.Block) {
	if m.rule == "sinks join" {
		b.Sinks = nil
	}
	m.Attention.Finish(c, out, lse, b)
	for i := range lse {
		switch {
		case m.rule == "lse is natural":
			lse[i] *= math.Log2E
		case m.rule == "unseen rows are zero" && math.IsInf(float64(lse[i]), -1):
			out[i*b.ValueDim] = float32(math.NaN())
		}
	}
}

func (m mutant) Backward(g kernel.Gradients[float32], in kernel.Inputs[float32], b kernel.Block) {
	switch m.rule {
	case "gradients are added":
		clear(g.DK)
	case "fresh gradients are overwritten":
		g.Fresh = false
	case "outputs end where they end":
		if len(g.DV) > 0 {
			*(*float32)(unsafe.Add(unsafe.Pointer(&g.DV[0]), 4*len(g.DV))) = 0
		}
	case "the softcap has a slope":
		b.Softcap = 0
	case "dropout is the same":
		b.Dropout.Keys = make([]uint64, len(b.Dropout.Keys))
	case "delta is subtracted":
		in.Delta = make([]float32, len(in.Delta))
	}
	m.Attention.Backward(g, in, b)
}

func earlier(cols []kernel.Segment) []kernel.Segment {
	cols = slices.Clone(cols)
	for i := range cols {
		cols[i].Start--
	}
	return cols
}

// repeat gives query head h the keys of head h mod K, where h/(H/K) is right.
func repeat(x []float32, b kernel.Block) []float32 {
	return slices.Repeat(x, b.Heads/b.KVHeads)
}

func coarsen(x []float32) {
	for i := range x {
		x[i] = math.Float32frombits(math.Float32bits(x[i]) &^ 15)
	}
}

func clamped(x []float32) []float32 {
	x = slices.Clone(x)
	for i := range x {
		x[i] = min(max(x[i], -30), 30)
	}
	return x
}

// spread adds 0 times every value to every row.
func spread(o, v []float32) {
	leak := float32(0)
	for _, x := range v {
		leak += 0 * x
	}
	for i := range o {
		o[i] += leak
	}
}

func cleaned(x []float32) []float32 {
	x = slices.Clone(x)
	for i, a := range x {
		if a != a {
			x[i] = 0
		}
	}
	return x
}

// witness is a test that may fail.
type witness struct {
	testing.TB
	failed atomic.Bool
}

func (w *witness) Errorf(string, ...any) { w.failed.Store(true) }
func (w *witness) Error(...any)          { w.failed.Store(true) }
func (w *witness) Fatalf(string, ...any) {
	w.failed.Store(true)
	runtime.Goexit()
}

// fails reports whether the claim finds something in the kernel.
func fails(t *testing.T, c claim[float32], k kernel.Attention[float32]) bool {
	w := &witness{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				t.Errorf("%s panics: %v", c.name, r)
			}
		}()
		c.test(w, k)
	}()
	<-done
	return w.failed.Load()
}

// Every rule that a kernel can break is seen by the claim that is about it.
func TestTheSuiteFindsBrokenKernels(t *testing.T) {
	if underRace {
		t.Skip("the race detector is on; the claims are tested without it")
	}
	for rule, name := range map[string]string{
		"the mask is right":               "EqualsDenseForEveryCut",
		"scores are scaled":               "EqualsDenseForSampledShapes",
		"the groups of heads are right":   "EqualsDenseForEveryShape",
		"blocks add up":                   "EqualsDenseForEveryCut",
		"the carry is exact":              "ErrorDoesNotGrowWithBlocks",
		"inputs are not written":          "TouchesNothingElse",
		"logits may be hot":               "StaysRightForHotLogits",
		"hidden keys are not read":        "WhatNothingSeesMayHoldAnything",
		"NaN reaches out":                 "NaNReachesTheRowsThatSeeIt",
		"memory is linear":                "MemoryStaysBelowTheScoreMatrix",
		"bits repeat":                     "BitsDoNotDependOnThreads",
		"calls may be concurrent":         "ConcurrentCallsDoNotMeet",
		"lse is natural":                  "StaysRightForEveryCourseOfLogits",
		"unseen rows are zero":            "RowsThatSeeNothingAreZero",
		"gradients are added":             "GradientsAccumulate",
		"fresh gradients are overwritten": "FreshGradientsOverwrite",
		"outputs end where they end":      "TouchesNothingElse",
		"delta is subtracted":             "EqualsDenseForSampledShapes",
		"the mask is the block's":         "HiddenPairsMayHoldAnything",
		"the softcap is applied":          "EqualsDenseForEveryOption",
		"the softcap has a slope":         "EqualsDenseForEveryOption",
		"distances count":                 "EqualsDenseForEveryOption",
		"dropped pairs are dropped":       "EqualsDenseForEveryOption",
		"dropout is the same":             "EqualsDenseForEveryOption",
		"sinks join":                      "EqualsDenseForEveryOption",
		"references are compared":         "CarriesMerge",
	} {
		all := claims[float32]()
		i := slices.IndexFunc(all, func(c claim[float32]) bool { return c.name == name })
		if i < 0 {
			t.Fatalf("the suite has no claim %s", name)
		}
		k := mutant{Attention: cpu.New[float32](), rule: rule, calls: new(atomic.Int32), sink: new([]float32)}
		if !fails(t, all[i], k) {
			t.Errorf("%s passes a kernel that breaks the rule %q", name, rule)
		}
	}
}
