package kerneltest

import (
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// course is the logit of every query with the key at a position. A kernel that keeps an old reference for its exponentials must
// notice in time that it has become too low, and must not mind that it is far too high.
type course struct {
	name   string
	logit  func(key int) float64
	spread float64 // the largest difference between two logits; above 100, as few keys decide and a product of powers of 2 is exact
}

var courses = []course{
	{"rising", func(key int) float64 { return float64(key) * 2 }, 500},
	{"falling", func(key int) float64 { return -float64(key) * 2 }, 500},
	{"a late peak", func(key int) float64 { return 1e4 * float64(key/190) }, 1e4},
	{"waves within a tile", func(key int) float64 { return 300 * math.Cos(float64(key)/7) }, 600},
	{"barely overflowing", func(key int) float64 { return 88.5 * float64(key%97/96) }, 104},
	{"far from zero", func(key int) float64 { return -1e4 + float64(key%5) }, 1e4},
	{"shares around the smallest float32", func(key int) float64 { return -float64(87+key%17) * least(key) }, 104},
	{"shares around the smallest float64", func(key int) float64 { return -float64(707+key%38) * least(key) }, 745},
}

// least is 0 for one key in 50, which has the largest logit, and 1 for the others.
func least(key int) float64 {
	if key%50 == 25 {
		return 0
	}
	return 1
}

// staysRightForEveryCourseOfLogits makes q·k what a course says, plus some noise.
func staysRightForEveryCourseOfLogits[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	for _, c := range courses {
		for _, causal := range []bool{false, true} {
			p := newProblem[T](shape{tokens: 210, heads: 1, kvHeads: 1, dim: 4, valueDim: 3, causal: causal}, 1)
			for i := range p.q {
				p.q[i] /= 16
				if i%p.dim == 0 {
					p.q[i] = 1
				}
			}
			for j := range p.kvHeads * p.tokens {
				p.k[j*p.dim] = T(c.logit(j%p.tokens) / p.scale)
			}
			j := newJudge(k, p, c.spread)
			for _, way := range selected(t, cut{whole, 1, 1}, cut{layouts[0], 3, -1}, cut{layouts[1], 2, 1}) {
				j.expect(t, k, way, ", logits "+c.name)
			}
		}
	}
}
