package kerneltest

import (
	"bytes"
	"math"
	"runtime"
	"sync"
	"testing"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// gradientsAccumulate: what is in dQ, dK and dV beforehand stays in the sum.
func gradientsAccumulate[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	p := newProblem[T](shape{tokens: 140, heads: 4, kvHeads: 2, dim: 8, valueDim: 9, causal: true}, 1)
	all := contiguous(p.tokens, 1)
	l := p.rows(all[0])
	l.forward(k, p, all, []int{0})
	run := func(start T) kernel.Gradients[T] {
		fill := func(n int) []T {
			x := make([]T, n)
			for i := range x {
				x[i] = start
			}
			return x
		}
		g := kernel.Gradients[T]{DQ: fill(len(l.q)), DK: fill(len(p.k)), DV: fill(len(p.v))}
		l.backward(k, p, all[0], g)
		return g
	}
	fresh, added := run(0), run(2)
	for i, pair := range [][2][]T{{fresh.DQ, added.DQ}, {fresh.DK, added.DK}, {fresh.DV, added.DV}} {
		for j, x := range pair[0] {
			if d := math.Abs(float64(pair[1][j] - x - 2)); !(d < 1e-5) {
				t.Fatalf("%s[%d] is %v on top of 0 and %v on top of 2", []string{"dq", "dk", "dv"}[i], j, x, pair[1][j])
			}
		}
	}
}

// freshGradientsOverwrite: what is in fresh dQ, dK and dV beforehand is gone, also where the block gives nothing.
func freshGradientsOverwrite[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	p := newProblem[T](shape{tokens: 300, heads: 4, kvHeads: 2, dim: 8, valueDim: 9, causal: true}, 1)
	all, halves := contiguous(p.tokens, 1), contiguous(p.tokens, 2)
	for _, c := range []struct{ rows, cols []kernel.Segment }{{all[0], all[0]}, {all[0], halves[1]}, {halves[0], halves[1]}} {
		l := p.rows(c.rows)
		l.forward(k, p, [][]kernel.Segment{c.cols}, []int{0})
		run := func(fresh bool, start T) kernel.Gradients[T] {
			n := kernel.Len(c.cols)
			g := kernel.Gradients[T]{DQ: make([]T, len(l.q)), DK: make([]T, p.kvHeads*n*p.dim), DV: make([]T, p.kvHeads*n*p.valueDim), Fresh: fresh}
			for _, x := range [][]T{g.DQ, g.DK, g.DV} {
				for i := range x {
					x[i] = start
				}
			}
			l.backward(k, p, c.cols, g)
			return g
		}
		added, fresh := run(false, 0), run(true, T(math.NaN()))
		for i, pair := range [][2][]T{{added.DQ, fresh.DQ}, {added.DK, fresh.DK}, {added.DV, fresh.DV}} {
			for j, x := range pair[0] {
				if pair[1][j] != x {
					t.Fatalf("%s[%d] is %v on top of 0 and %v over NaN", []string{"dq", "dk", "dv"}[i], j, x, pair[1][j])
				}
			}
		}
	}
}

// touchesNothingElse runs on arrays that lie between guards and compares inputs and guards afterwards.
func touchesNothingElse[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	for _, s := range selected(t, shapes...) {
		s.causal = true
		p := newProblem[T](s, 1)
		rows, cols := contiguous(s.tokens, 2)[1], contiguous(s.tokens, 1)[0]
		fence := fences[T]{}
		l := p.rows(rows)
		l.q, l.dOut = fence.around(l.q), fence.around(l.dOut)
		key, value := fence.around(packed(k, p.k)), fence.around(packed(k, p.v))
		inputs := append(append(append(append([]T(nil), l.q...), l.dOut...), key...), value...)
		l.out, l.lse, l.delta = fence.around(l.out), fence.around(l.lse), fence.around(l.delta)
		l.carry = kernel.Carry[T]{O: fence.around(l.carry.O), M: fence.around(l.carry.M), L: fence.around(l.carry.L)}
		g := kernel.Gradients[T]{DQ: fence.around(l.dq), DK: fence.around(make([]T, len(p.k))), DV: fence.around(make([]T, len(p.v)))}
		b := p.block(rows, cols)
		k.Forward(l.carry, l.q, key, value, b)
		k.Finish(l.carry, l.out, l.lse, b)
		k.Delta(l.out, l.dOut, l.delta, b)
		k.Backward(g, kernel.Inputs[T]{Q: l.q, K: key, V: value, DOut: l.dOut, LSE: l.lse, Delta: l.delta}, b)
		if after := append(append(append(append([]T(nil), l.q...), l.dOut...), key...), value...); !sameBits(inputs, after) {
			t.Errorf("%v: an input was written to", s)
		}
		if !fence.whole() {
			t.Errorf("%v: something was written outside of the arrays", s)
		}
	}
}

// fences are arrays with a margin on both sides that must not be written to.
type fences[T kernel.Float] struct{ memory [][]T }

const (
	margin = 70 // elements; wider than a register tile
	stake  = -1234.5
)

func (f *fences[T]) around(x []T) []T {
	m := make([]T, len(x)+2*margin)
	for i := range m {
		m[i] = stake
	}
	copy(m[margin:], x)
	f.memory = append(f.memory, m)
	return m[margin:][:len(x):len(x)]
}

func (f *fences[T]) whole() bool {
	for _, m := range f.memory {
		for i := range margin {
			if m[i] != stake || m[len(m)-1-i] != stake {
				return false
			}
		}
	}
	return true
}

func sameBits[T kernel.Float](x, y []T) bool {
	return bytes.Equal(rawBytes(x), rawBytes(y))
}

func rawBytes[T kernel.Float](x []T) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), len(x)*int(unsafe.Sizeof(x[0])))
}

func (r result[T]) sameBits(o result[T]) bool {
	return sameBits(r.out, o.out) && sameBits(r.lse, o.lse) && sameBits(r.dq, o.dq) && sameBits(r.dk, o.dk) && sameBits(r.dv, o.dv)
}

// threadedShapes have few and many KV heads, since kernels cut their work by them.
var threadedShapes = []shape{
	{tokens: 500, heads: 2, kvHeads: 1, dim: 16, valueDim: 16, causal: true},
	{tokens: 250, heads: 6, kvHeads: 6, dim: 8, valueDim: 24},
}

func bitsDoNotDependOnThreads[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, s := range threadedShapes {
		p := newProblem[T](s, 1)
		c := cut{layouts[1], 2, 1}
		runtime.GOMAXPROCS(1)
		want := p.solve(k, c)
		for _, threads := range []int{1, 2, 5} {
			runtime.GOMAXPROCS(threads)
			if !want.sameBits(p.solve(k, c)) {
				t.Errorf("%v: other bits with GOMAXPROCS %d than with 1", s, threads)
			}
		}
	}
}

// concurrentCallsDoNotMeet shares one kernel among ranks that run at the same time.
func concurrentCallsDoNotMeet[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	s := threadedShapes[0]
	if isLight(t) {
		s.tokens = 150
	}
	p := newProblem[T](s, 1)
	c := cut{layouts[0], 2, 1}
	want := p.solve(k, c)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if !want.sameBits(p.solve(k, c)) {
				t.Error("a call gives other bits when others run beside it")
			}
		})
	}
	wg.Wait()
}

// memoryStaysBelowTheScoreMatrix counts what one forward and backward allocate once scratch is pooled. A score matrix would be
// 4 MB in float32; working copies of rows are allowed a few times S·D.
func memoryStaysBelowTheScoreMatrix[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	s := shape{tokens: 1024, heads: 1, kvHeads: 1, dim: 8, valueDim: 8, causal: true}
	p := newProblem[T](s, 1)
	all := contiguous(s.tokens, 1)[0]
	l := p.rows(all)
	g := kernel.Gradients[T]{DQ: l.dq, DK: make([]T, len(p.k)), DV: make([]T, len(p.v))}
	b := p.block(all, all)
	key, value := packed(k, p.k), packed(k, p.v)
	run := func() {
		l.carry.Reset()
		k.Forward(l.carry, l.q, key, value, b)
		k.Finish(l.carry, l.out, l.lse, b)
		k.Delta(l.out, l.dOut, l.delta, b)
		k.Backward(g, kernel.Inputs[T]{Q: l.q, K: key, V: value, DOut: l.dOut, LSE: l.lse, Delta: l.delta}, b)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // goroutines are allocated, so fix their number
	bytes := allocated(run)
	matrix := s.tokens * s.tokens * int(unsafe.Sizeof(T(0)))
	if limit := matrix / 4; bytes > limit {
		t.Errorf("the first call of T=%d D=%d allocates %d bytes, allowed %d; S·N scores are %d", s.tokens, s.dim, bytes, limit, matrix)
	}
	again := bytes
	for range 5 { // the collector may empty pools in between
		again = min(again, allocated(run))
	}
	const limit = 4 << 10 // goroutines and their functions; a tile of scores has 24 KiB
	if again > limit {
		t.Errorf("later calls allocate %d bytes, allowed %d: scratch must be pooled", again, limit)
	}
}

// allocated is the bytes that f and what it starts allocate.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}
