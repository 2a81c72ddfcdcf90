package kerneltest

import (
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// part is one array of a result under its name.
type part struct {
	name string
	x    []float64
}

func parts[T kernel.Float](r result[T]) []part {
	return []part{
		{"out", as[float64](r.out)}, {"lse", as[float64](r.lse)},
		{"dq", as[float64](r.dq)}, {"dk", as[float64](r.dk)}, {"dv", as[float64](r.dv)},
	}
}

// deviation is how far got is from want, relative to the largest entry of want, or to floor if that is larger. Entries that are not finite in want must be the
// same in got, and the others finite; otherwise the deviation is +Inf and where says at which element.
func deviation(got, want []float64, floor float64) (worst float64, where int) {
	largest := floor
	for _, w := range want {
		if finite(w) {
			largest = max(largest, math.Abs(w))
		}
	}
	for i, w := range want {
		e := math.Abs(got[i]-w) / max(largest, math.SmallestNonzeroFloat64)
		switch {
		case got[i] == w || math.IsNaN(got[i]) && math.IsNaN(w):
			continue
		case !finite(w) || !finite(got[i]):
			return math.Inf(1), i
		}
		if e > worst {
			worst, where = e, i
		}
	}
	return worst, where
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// rms is the root mean square of got - want, relative to that of want.
func rms(got, want []float64) float64 {
	e, w := 0.0, 0.0
	for i, x := range want {
		e += (got[i] - x) * (got[i] - x)
		w += x * x
	}
	return math.Sqrt(e / max(w, math.SmallestNonzeroFloat64))
}

// judge knows what a problem's results must be.
type judge[T kernel.Float] struct {
	problem[T]
	logits      float64 // their standard deviation
	lenient     bool    // for problems so small that only chance compares two errors
	want, plain []part  // dense in float64 and, for float32, in float32
}

func newJudge[T kernel.Float](k kernel.Attention[T], p problem[T], logits float64) judge[T] {
	p = p.asTakenBy(k)
	want, plain := p.references()
	return judge[T]{problem: p, logits: logits, want: want, plain: plain}
}

// expect solves the problem with k and checks the result.
func (j judge[T]) expect(t testing.TB, k kernel.Attention[T], c cut, what string) {
	t.Helper()
	for i, g := range parts(j.solve(k, c)) {
		want := j.want[i].x
		limit, average := j.tolerance(i)
		if d, at := deviation(g.x, want, j.floor(g.name)); !(d <= limit) {
			t.Errorf("%v, logits %v, %v%s: %s[%d] = %v, dense has %v: deviation %.3g of the largest entry, allowed %.3g",
				j.shape, j.logits, c, what, g.name, at, g.x[at], want[at], d, limit)
		}
		if e := rms(g.x, want); e > average { // not if there are NaN
			t.Errorf("%v, logits %v, %v%s: %s is off by %.3g (root mean square), allowed %.3g", j.shape, j.logits, c, what, g.name, e, average)
		}
	}
}

// floor is the least that dq and dk count as large: where every row has but one key that matters they are all but zero, the
// difference of terms of this size. The terms, dO·V, grow with the root of the value dim, which a lenient judge counts.
func (j judge[T]) floor(name string) float64 {
	terms := 1.0
	if j.lenient {
		terms = math.Sqrt(float64(j.valueDim))
	}
	switch name {
	case "dq":
		return terms
	case "dk":
		return terms * j.logits
	}
	return 0
}

// tolerance is what part i may deviate from the reference at most, relative to its largest entry, and on average. In float64 that is
// 1e-12 and, since rounding a score of s costs s units, more for hot logits. In float32 the measure is the error of the plain
// float32 computation: twice that on average, thrice for the unluckiest element, and some units where the plain one has no error; an average of few is one of luck too.
// Beyond logits of 100 a few near ties make all of the error, and only chance compares.
func (j judge[T]) tolerance(i int) (most, average float64) {
	if !isFloat32[T]() {
		return 1e-12 * max(1, j.logits), math.Inf(1)
	}
	epsilon := epsilon32
	if j.want[i].name != "lse" {
		epsilon = j.narrow.epsilon()
	}
	if j.lenient {
		return 256 * epsilon * (1 + j.logits), math.Inf(1) // four times what rounding came near in 150,000 problems of float32
	}
	bare, _ := deviation(j.plain[i].x, j.want[i].x, j.floor(j.want[i].name))
	if j.logits > 100 {
		return max(10*bare, 4*epsilon*j.logits), math.Inf(1)
	}
	luck := 2 + 24/math.Sqrt(float64(len(j.want[i].x)+1))
	return 3*bare + 4*epsilon, 2*rms(j.plain[i].x, j.want[i].x) + luck*epsilon
}

// epsilon32 is the unit roundoff of float32.
const epsilon32 = 1.0 / (1 << 24)

func isFloat32[T kernel.Float]() bool {
	third := 1.0 / 3
	return float64(T(third)) != third
}
