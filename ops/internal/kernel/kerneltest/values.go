package kerneltest

import (
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// shapes are the sizes at which kernels go wrong: nothing, one, odd, around tiles, wide heads, groups.
var shapes = []shape{
	{tokens: 0, heads: 2, kvHeads: 1, dim: 4, valueDim: 4},
	{tokens: 1, heads: 1, kvHeads: 1, dim: 1, valueDim: 1},
	{tokens: 2, heads: 3, kvHeads: 1, dim: 3, valueDim: 1},
	{tokens: 7, heads: 4, kvHeads: 2, dim: 8, valueDim: 5},
	{tokens: 33, heads: 2, kvHeads: 2, dim: 1, valueDim: 17},
	{tokens: 63, heads: 1, kvHeads: 1, dim: 64, valueDim: 64},
	{tokens: 97, heads: 6, kvHeads: 2, dim: 13, valueDim: 31},
	{tokens: 129, heads: 1, kvHeads: 1, dim: 80, valueDim: 96},
	{tokens: 65, heads: 1, kvHeads: 1, dim: 256, valueDim: 256},
	{tokens: 70, heads: 1, kvHeads: 1, dim: 255, valueDim: 7},
	{tokens: 200, heads: 2, kvHeads: 2, dim: 32, valueDim: 32},
}

func equalsDenseForEveryShape[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	for _, s := range shapes {
		for _, causal := range []bool{false, true} {
			s.causal = causal
			cuts := selected(t, cut{whole, 1, 1}, cut{layouts[0], 3, -1}, cut{layouts[1], 2, 1})
			if len(cuts) == 0 {
				continue
			}
			j := newJudge(k, newProblem[T](s, 1), 1)
			for _, c := range cuts {
				j.expect(t, k, c, "")
			}
		}
	}
}

func equalsDenseForEveryCut[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	for _, causal := range []bool{false, true} {
		j := newJudge(k, newProblem[T](shape{tokens: 197, heads: 2, kvHeads: 1, dim: 16, valueDim: 12, causal: causal}, 1), 1)
		for _, l := range layouts {
			for _, c := range selected(t, cut{l, 2, 1}, cut{l, 3, -1}, cut{l, 8, -3}, cut{l, 40, 1}) {
				if isLight(t) {
					c.blocks = min(c.blocks, 4)
				}
				j.expect(t, k, c, "")
			}
		}
		j.withoutLow = true
		j.expect(t, k, cut{layouts[1], 3, 1}, ", without the low part of lse")
	}
}

// staysRightForHotLogits also makes scores grow along the keys, so that every block finds a larger maximum than the one before.
func staysRightForHotLogits[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	for _, logits := range []float64{12, 100, 1e4} {
		for _, causal := range []bool{false, true} {
			s := shape{tokens: 140, heads: 2, kvHeads: 1, dim: 24, valueDim: 24, causal: causal}
			for _, growing := range []bool{false, true} {
				p := newProblem[T](s, logits)
				if growing {
					growAlongKeys(p)
				}
				j := newJudge(k, p, logits)
				for _, c := range selected(t, cut{whole, 1, 1}, cut{layouts[0], 4, -1}, cut{layouts[1], 3, 1}, cut{layouts[2], 3, 1}) {
					j.expect(t, k, c, "")
				}
			}
		}
	}
}

// growAlongKeys makes the score of key j about proportional to j for every query.
func growAlongKeys[T kernel.Float](p problem[T]) {
	for i := range p.heads * p.tokens {
		q := line(p.q, i, p.dim)
		q[0] = T(math.Abs(float64(q[0])))
	}
	for j := range p.kvHeads * p.tokens {
		line(p.k, j, p.dim)[0] = T(float64(j%p.tokens) / 16)
	}
}

// errorDoesNotGrowWithBlocks compares the root mean square error over many elements: that of one block, of eight, and of the plain
// computation.
func errorDoesNotGrowWithBlocks[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	if !isFloat32[T]() {
		t.Skip("the reference is in float64 too: its own error would be measured")
	}
	for _, causal := range []bool{false, true} {
		for _, logits := range []float64{1, 12} {
			j := newJudge(k, newProblem[T](shape{tokens: 256, heads: 2, kvHeads: 1, dim: 64, valueDim: 64, causal: causal}, logits), logits)
			for _, l := range selected(t, layouts[:2]...) {
				blocks := 8
				if isLight(t) {
					blocks = 3
				}
				one, eight := parts(j.solve(k, cut{whole, 1, 1})), parts(j.solve(k, cut{l, blocks, -1}))
				for i, w := range j.want {
					e1, e8, plain := rms(one[i].x, w.x), rms(eight[i].x, w.x), rms(j.plain[i].x, w.x)
					most := 1.1 * e1
					if j.narrow != wide { // a row's largest P is exact where it is the reference, which is luck
						most = 1.5 * plain
					}
					if !(e1 <= 1.5*plain && e8 <= most) {
						t.Errorf("logits %v, causal %t, %s: error of %s is %.3g in one block, %.3g in %d; the plain computation has %.3g",
							logits, causal, l.name, w.name, e1, e8, blocks, plain)
					}
				}
			}
		}
	}
}

// staysRightForDenormals makes all values so small that their shares are denormal, and dOut so large that gradients are not.
func staysRightForDenormals[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	if narrowOf(k) != wide {
		t.Skip("products in 16-bit types take denormals of float32 for 0")
	}
	small := math.Ldexp(1, -1022)
	if isFloat32[T]() {
		small = math.Ldexp(1, -126)
	}
	for _, causal := range []bool{false, true} {
		p := newProblem[T](shape{tokens: 130, heads: 2, kvHeads: 1, dim: 16, valueDim: 20, causal: causal}, 1)
		for i := range p.v {
			p.v[i] *= T(small)
		}
		for i := range p.dOut {
			p.dOut[i] /= T(small)
		}
		j := newJudge(k, p, 1)
		j.expect(t, k, cut{whole, 1, 1}, ", denormal values")
		j.expect(t, k, cut{layouts[1], 2, 1}, ", denormal values")
	}
}
