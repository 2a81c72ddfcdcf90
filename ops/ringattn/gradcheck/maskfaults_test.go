package gradcheck

// Faults in masks and in what else changes scores, planted one by one. Each must be caught in figures: by CheckGolden where a golden file
// can say what is meant, else by the suite's comparison with dense attention.

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/internal/seam"
)

// fault makes hooks for a problem.
type fault func(in ringattn.DenseInputs) hooks

// everywhere plants the same in every problem.
func everywhere(h hooks) fault { return func(ringattn.DenseInputs) hooks { return h } }

func specOf(in ringattn.DenseInputs) mask.Spec {
	return mask.Spec{Causal: in.Causal, Window: in.Window, CuSeqlens: slices.Clone(in.CuSeqlens), Rectangles: slices.Clone(in.Mask)}
}

// compile is the mask of a changed spec.
func compile(in ringattn.DenseInputs, change func(s *mask.Spec)) *mask.Mask {
	s := specOf(in)
	change(&s)
	m, err := mask.New(s, in.Tokens)
	if err != nil {
		panic(err)
	}
	return m
}

// wrongMask replaces the mask in both passes.
func wrongMask(change func(s *mask.Spec)) fault {
	return func(in ringattn.DenseInputs) hooks {
		m := compile(in, change)
		return blockwise(func(b *kernel.Block) { b.Mask = m })
	}
}

// wrongMaskInForeign replaces it for foreign blocks only.
func wrongMaskInForeign(change func(s *mask.Spec)) fault {
	return func(in ringattn.DenseInputs) hooks {
		m := compile(in, change)
		return blockwise(func(b *kernel.Block) {
			if !own(*b) {
				b.Mask = m
			}
		})
	}
}

// wrongMaskBackward replaces it in the backward pass.
func wrongMaskBackward(change func(s *mask.Spec)) fault {
	return func(in ringattn.DenseInputs) hooks {
		m := compile(in, change)
		return backwards(func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			b.Mask = m
			k.Backward(g, in, b)
		})
	}
}

// windowed changes the window, if there is one.
func windowed(change func(w *mask.Window)) func(s *mask.Spec) {
	return func(s *mask.Spec) {
		if s.Window != nil {
			w := *s.Window
			change(&w)
			s.Window = &w
		}
	}
}

func noWindow(s *mask.Spec) { s.Window = nil }

// bounds changes the inner bounds of documents, which stay sorted.
func bounds(change func(cu []int) []int) func(s *mask.Spec) {
	return func(s *mask.Spec) {
		if s.CuSeqlens == nil {
			return
		}
		end := s.CuSeqlens[len(s.CuSeqlens)-1]
		cu := change(s.CuSeqlens)
		for i := range cu {
			cu[i] = min(max(cu[i], 0), end)
		}
		slices.Sort(cu)
		s.CuSeqlens = slices.Concat([]int{0}, cu, []int{end})
	}
}

func movedBounds(by int) func(cu []int) []int {
	return func(cu []int) []int {
		for i := range cu {
			cu[i] += by
		}
		return cu
	}
}

// lastBound is the beginning of the last document that is not empty.
func lastBound(cu []int) int {
	end := cu[len(cu)-1]
	return slices.Max(slices.DeleteFunc(slices.Clone(cu), func(b int) bool { return b == end }))
}

// locally takes the block's positions for the sequence's: those of each segment begin where the block does.
func locally(segs []kernel.Segment) []kernel.Segment { return shifted(segs, -segs[0].Start) }

// maskFaults can be seen in golden files.
func maskFaults() map[string]fault {
	negated := func(x []float64) []float64 {
		y := make([]float64, len(x))
		for i := range x {
			y[i] = -x[i]
		}
		return y
	}
	return map[string]fault{
		"document bounds are one too late":  wrongMask(bounds(movedBounds(1))),
		"document bounds are one too early": wrongMask(bounds(movedBounds(-1))),
		"documents are ignored":             wrongMask(func(s *mask.Spec) { s.CuSeqlens = nil }),
		"documents are ignored between ranks": wrongMaskInForeign(func(s *mask.Spec) {
			s.CuSeqlens = nil
		}),
		"documents are ignored in backward": wrongMaskBackward(func(s *mask.Spec) { s.CuSeqlens = nil }),
		"documents are of local positions": func(in ringattn.DenseInputs) hooks {
			if in.CuSeqlens == nil {
				return hooks{}
			}
			return blockwise(func(b *kernel.Block) { b.Rows, b.Cols = locally(b.Rows), locally(b.Cols) })
		},
		"the last document belongs to the one before": wrongMask(bounds(func(cu []int) []int {
			last := lastBound(cu)
			return slices.DeleteFunc(cu, func(b int) bool { return b == last })
		})),
		"the last document is dropped": wrongMask(func(s *mask.Spec) {
			if s.CuSeqlens != nil {
				n := lastBound(s.CuSeqlens)
				s.Rectangles = []mask.Rectangle{{QueryTo: n, KeyTo: n}}
			}
		}),
		"an empty document shifts the others": wrongMask(bounds(func(cu []int) []int {
			by := 0
			moved := slices.Clone(cu)
			for i := 1; i < len(cu); i++ {
				if cu[i] == cu[i-1] {
					by++
				}
				moved[i] += by
			}
			return moved
		})),
		"the window is one wider on the left":     wrongMask(windowed(func(w *mask.Window) { w.Left++ })),
		"the window is one narrower on the left":  wrongMask(windowed(func(w *mask.Window) { w.Left = max(w.Left-1, -1) })),
		"the window is one wider on the right":    wrongMask(windowed(func(w *mask.Window) { w.Right++ })),
		"the window is one narrower on the right": wrongMask(windowed(func(w *mask.Window) { w.Right = max(w.Right-1, -1) })),
		"the window's sides are swapped":          wrongMask(windowed(func(w *mask.Window) { w.Left, w.Right = w.Right, w.Left })),
		"the window is ignored in foreign blocks": wrongMaskInForeign(noWindow),
		"the window is ignored in backward":       wrongMaskBackward(noWindow),
		"a hidden pair leaks in backward":         wrongMaskBackward(windowed(func(w *mask.Window) { w.Left++ })),
		"a window on the right undoes causal": wrongMask(func(s *mask.Spec) {
			s.Causal = s.Causal && (s.Window == nil || s.Window.Right < 0)
		}),
		"a hop is skipped for a corner": func(in ringattn.DenseInputs) hooks {
			return inKernel(faulty{forward: func(k attention, c kernel.Carry[float64], q, key, v []float64, b kernel.Block) {
				pairs := 0
				for _, i := range positions(b.Rows) {
					for _, j := range positions(b.Cols) {
						pairs += count(b, i, j)
					}
				}
				if in.Window == nil || pairs > in.Tokens/2 {
					k.Forward(c, q, key, v, b)
				}
			}})
		},
		"softcap has slope 1": everywhere(naive{score: func(b kernel.Block, h, i, j int, s float64) (float64, float64) {
			s, _ = score(b, h, i, j, s)
			return s, 1
		}}.hooks()),
		"softcap is missing in forward": everywhere(inKernel(faulty{
			forward: func(k attention, c kernel.Carry[float64], q, key, v []float64, b kernel.Block) {
				b.Softcap = 0
				k.Forward(c, q, key, v, b)
			},
		})),
		"softcap is missing in backward": everywhere(backwards(func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			b.Softcap = 0
			k.Backward(g, in, b)
		})),
		"softcap comes behind ALiBi": everywhere(naive{score: func(b kernel.Block, h, i, j int, s float64) (float64, float64) {
			return capped(b, s-alibi(b, h, math.Abs(float64(i-j))))
		}}.hooks()),
		"softcap comes before the scale": everywhere(naive{score: func(b kernel.Block, h, i, j int, s float64) (float64, float64) {
			s, slope := capped(b, s/b.Scale)
			return s*b.Scale - alibi(b, h, math.Abs(float64(i-j))), slope
		}}.hooks()),
		"ALiBi has the other sign": everywhere(naive{score: func(b kernel.Block, h, i, j int, s float64) (float64, float64) {
			s, slope := capped(b, s)
			return s + alibi(b, h, math.Abs(float64(i-j))), slope
		}}.hooks()),
		"ALiBi rewards keys behind": everywhere(naive{score: func(b kernel.Block, h, i, j int, s float64) (float64, float64) {
			s, slope := capped(b, s)
			return s - alibi(b, h, float64(i-j)), slope
		}}.hooks()),
		"ALiBi is of local distances": everywhere(naive{score: func(b kernel.Block, h, i, j int, s float64) (float64, float64) {
			return score(b, h, i-b.Rows[0].Start, j-b.Cols[0].Start, s)
		}}.hooks()),
		"ALiBi has the slope of another head": everywhere(blockwise(func(b *kernel.Block) {
			b.Slopes = slices.Clone(b.Slopes)
			slices.Reverse(b.Slopes)
		})),
		"ALiBi is missing in backward": everywhere(backwards(func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			b.Slopes = nil
			k.Backward(g, in, b)
		})),
		"the sink is added at every hop":         everywhere(naive{everyHop: true}.hooks()),
		"the sink is missing in lse":             everywhere(naive{lseWithout: true}.hooks()),
		"the sink is not counted in backward":    everywhere(naive{rowWithout: true}.hooks()),
		"the sink is another head's":             everywhere(finishing(func(b *kernel.Block) { b.Sinks = slices.Clone(b.Sinks); slices.Reverse(b.Sinks) })),
		"the sink is missing":                    everywhere(finishing(func(b *kernel.Block) { b.Sinks = nil })),
		"the sink's gradient has the other sign": everywhere(sinkSign(negated)),
		"keys are as wide as values": everywhere(onArrival(dist.ForwardKV, func(_ *dist.Comm, _ int, got, _ []float64) []float64 {
			return slices.Concat(got[len(got)*16/40:], got[:len(got)*16/40]) // K 24 wide and V 16, taken for 16 and 24, in the wrong order
		})),
		"values are read as wide as keys": everywhere(inKernel(faulty{
			forward: func(k attention, c kernel.Carry[float64], q, key, v []float64, b kernel.Block) {
				wrong := make([]float64, len(v))
				for i := range wrong {
					wrong[i] = v[(i/b.ValueDim*b.Dim+i%b.ValueDim)%len(v)]
				}
				k.Forward(c, q, key, wrong, b)
			},
		})),
	}
}

// finishing changes what Finish gets.
func finishing(change func(b *kernel.Block)) hooks {
	return hooks{Kernel: func(k attention) attention { return finisher{k, change} }}
}

type finisher struct {
	attention
	change func(b *kernel.Block)
}

func (f finisher) Finish(c kernel.Carry[float64], out, lse []float64, b kernel.Block) {
	f.change(&b)
	f.attention.Finish(c, out, lse, b)
}

// sinkSign gives the ring, which works out the gradient of sinks, another delta than the kernel's backward.
func sinkSign(negated func(x []float64) []float64) hooks {
	return inKernel(faulty{
		delta: func(k attention, out, dOut, delta []float64, b kernel.Block) {
			k.Delta(out, dOut, delta, b)
			copy(delta, negated(delta))
		},
		backward: func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			in.Delta = negated(in.Delta)
			k.Backward(g, in, b)
		},
	})
}

func maskCases(t *testing.T) (files []string) {
	t.Helper()
	files, err := filepath.Glob(committed + "/b*.safetensors")
	if err != nil || len(files) < 12 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

// caughtByGolden counts the golden cases in whose figures a fault shows.
func caughtByGolden(t *testing.T, files []string, f fault) (caught int) {
	t.Helper()
	for _, file := range files {
		g, err := ReadGolden(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := CheckGolden(seam.With(t.Context(), f(g.DenseInputs)), []string{file}, Options{Rings: []int{3}, Layouts: []shard.Layout{shard.Contiguous, shard.Zigzag}})
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(r.Cases, func(c CaseReport) bool { return !c.OK && c.Error == "" }) {
			caught++
		}
	}
	return caught
}

func TestPlantedMaskFaultsAreCaught(t *testing.T) {
	files := maskCases(t)
	for name, right := range map[string]fault{"no hooks": everywhere(hooks{}), "the naive kernel": everywhere(naive{}.hooks())} {
		if n := caughtByGolden(t, files, right); n != 0 {
			t.Fatalf("%s is wrong in %d cases", name, n)
		}
	}
	for name, f := range maskFaults() {
		t.Run(name, func(t *testing.T) {
			n := caughtByGolden(t, files, f)
			if n == 0 {
				t.Error("not caught")
			}
			t.Logf("caught in %d of %d cases", n, len(files))
		})
	}
}

// hiddenFaults are in what a golden file cannot express: dropout, rectangles and chunks.
func hiddenFaults() map[string]fault {
	keptOf := func(f func(b kernel.Block, h, i, j int) float64) fault { return everywhere(naive{kept: f}.hooks()) }
	return map[string]fault{
		"dropout is not scaled": keptOf(func(b kernel.Block, h, i, j int) float64 { return math.Min(kept(b, h, i, j), 1) }),
		"dropout is of local positions": keptOf(func(b kernel.Block, h, i, j int) float64 {
			return kept(b, h, i-b.Rows[0].Start, j-b.Cols[0].Start)
		}),
		"dropout takes queries for keys": keptOf(func(b kernel.Block, h, i, j int) float64 { return kept(b, h, j, i) }),
		"dropout is in the softmax's sum": everywhere(naive{inSum: func(kept float64) float64 {
			return math.Min(kept, 1)
		}}.hooks()),
		"dropout is another head's": everywhere(blockwise(func(b *kernel.Block) {
			b.Dropout.Keys = slices.Clone(b.Dropout.Keys)
			slices.Reverse(b.Dropout.Keys)
		})),
		"dropout is another in backward": everywhere(backwards(func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			b.Dropout.Keys = slices.Clone(b.Dropout.Keys)
			for h := range b.Dropout.Keys {
				b.Dropout.Keys[h]++
			}
			k.Backward(g, in, b)
		})),
		"dropout is missing in backward": everywhere(backwards(func(k attention, g kernel.Gradients[float64], in kernel.Inputs[float64], b kernel.Block) {
			b.Dropout = kernel.Dropout{}
			k.Backward(g, in, b)
		})),
		"dropout hides delta too": everywhere(naive{dScore: func(p, kept, dP, delta float64) float64 { return p * kept * (dP - delta) }}.hooks()),
		"a rectangle's diagonal is the sequence's": wrongMask(func(s *mask.Spec) {
			s.Causal = s.Causal || slices.ContainsFunc(s.Rectangles, func(r mask.Rectangle) bool { return r.Kind == mask.Causal })
		}),
		"a rectangle has lost its last query": wrongMask(func(s *mask.Spec) {
			for i, r := range s.Rectangles {
				s.Rectangles[i].QueryTo = max(r.QueryTo-1, r.QueryFrom)
			}
		}),
		"rectangles are full": wrongMask(func(s *mask.Spec) {
			for i := range s.Rectangles {
				s.Rectangles[i].Kind = mask.Full
			}
		}),
		"a pair in two rectangles counts twice": func(in ringattn.DenseInputs) hooks {
			return naive{count: func(b kernel.Block, i, j int) int {
				n := count(b, i, j)
				if n == 0 || in.Mask == nil {
					return n
				}
				n = 0
				for _, r := range in.Mask {
					if r.Visible(i, j) {
						n++
					}
				}
				return n
			}}.hooks()
		},
		"a chunk's queries are taken for the first": func(in ringattn.DenseInputs) hooks {
			if in.Chunk == nil {
				return hooks{}
			}
			return blockwise(func(b *kernel.Block) { b.Rows = shifted(b.Rows, -in.Chunk.Offset) })
		},
		"ALiBi counts a chunk's queries from 0": func(in ringattn.DenseInputs) hooks {
			return naive{score: func(b kernel.Block, h, i, j int, s float64) (float64, float64) {
				if in.Chunk != nil {
					i -= in.Chunk.Offset
				}
				return score(b, h, i, j, s)
			}}.hooks()
		},
		"rows that see nothing see the first key": func(in ringattn.DenseInputs) hooks {
			return naive{count: func(b kernel.Block, i, j int) int {
				if j == 0 && !b.Mask.Meet(mask.Positions{Start: i, Stride: 1, Count: 1}, mask.Positions{Stride: 1, Count: in.Tokens}) {
					return 1
				}
				return count(b, i, j)
			}}.hooks()
		},
	}
}

// caughtBySuite counts the problems in whose figures a fault shows.
func caughtBySuite(t *testing.T, f fault) (caught int) {
	t.Helper()
	o := Options{Rings: []int{3}, Layouts: []shard.Layout{shard.Contiguous, shard.Zigzag}}
	o.EnsureDefaults()
	for seed, v := range variants(31) {
		in := random(uint64(seed), v.DenseInputs, 1)
		c := Check{Limit: limit(Float64, false), OK: true}
		if err := o.denseRun(seam.With(t.Context(), f(in)), &c, in); err != nil {
			t.Fatal(err)
		}
		if c.Runs != 2 {
			t.Fatalf("%d runs", c.Runs)
		}
		if !c.OK && c.Worst > c.Limit {
			caught++
		}
	}
	return caught
}

func TestPlantedFaultsThatGoldenFilesCannotShowAreCaughtByTheSuite(t *testing.T) {
	for name, right := range map[string]fault{"no hooks": everywhere(hooks{}), "the naive kernel": everywhere(naive{}.hooks())} {
		if n := caughtBySuite(t, right); n != 0 {
			t.Fatalf("%s is wrong in %d problems", name, n)
		}
	}
	for name, f := range hiddenFaults() {
		t.Run(name, func(t *testing.T) {
			n := caughtBySuite(t, f)
			if n == 0 {
				t.Error("not caught")
			}
			t.Logf("caught in %d problems", n)
		})
	}
}
