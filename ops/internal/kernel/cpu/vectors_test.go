package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// vectorCase is one loop on rows of one length: what it writes to and reads, and what it must compute of one element.
type vectorCase[T kernel.Float] struct {
	outputs, inputs int
	run             func(out, in [][]T)
	want            func(out, in []float64) []float64
	units           float64 // of unit roundoff, of the largest input or output
}

const testInv, testMean, testFactor = 0.75, 0.3, 1.7

func vectorCases[T kernel.Float]() map[string]vectorCase[T] {
	factors := AdamWFactors[T]{0.5, 0.75, 0.25, 0.875, 0.125, 0.5, 0.0078125, -0.25} // exact
	return map[string]vectorCase[T]{
		"Add":   {1, 2, func(out, in [][]T) { Add(out[0], in[0], in[1]) }, func(_, in []float64) []float64 { return []float64{in[0] + in[1]} }, 1},
		"Scale": {1, 0, func(out, _ [][]T) { Scale(out[0], testFactor) }, func(out, _ []float64) []float64 { return []float64{out[0] * testFactor} }, 2},
		"SwiGLU": {1, 2, func(out, in [][]T) { SwiGLU(out[0], in[0], in[1]) },
			func(_, in []float64) []float64 { return []float64{in[0] / (1 + math.Exp(-in[0])) * in[1]} }, 8},
		"SwiGLUGrad": {2, 3, func(out, in [][]T) { SwiGLUGrad(out[0], out[1], in[0], in[1], in[2]) },
			func(_, in []float64) []float64 {
				s := 1 / (1 + math.Exp(-in[0]))
				return []float64{in[2] * in[1] * (s + in[0]*s*(1-s)), in[2] * in[0] * s}
			}, 10},
		"AdamW": {3, 1, func(out, in [][]T) { AdamW(out[0], in[0], out[1], out[2], &factors) }, func(out, in []float64) []float64 {
			g := 0.5 * in[0]
			m, v := out[1]+0.25*(g-out[1]), 0.875*out[2]+0.125*g*g
			return []float64{0.75*out[0] - 0.25*m/(math.Sqrt(v)/0.5+0.0078125), m, v}
		}, 40}, // a small v may divide a large m
		"NormScale": {1, 2, func(out, in [][]T) { NormScale(out[0], in[0], in[1], testInv) },
			func(_, in []float64) []float64 { return []float64{in[1] * in[0] * testInv} }, 2},
		"NormInput": {1, 3, func(out, in [][]T) { NormInput(out[0], in[0], in[1], in[2], testInv, testMean) },
			func(_, in []float64) []float64 { return []float64{testInv*in[2]*in[0] - testMean*in[1]} }, 4},
	}
}

// row is n random numbers between canaries, at any place in a cache line. AdamW's v must not be negative; nor is anything else here.
func randomRow[T kernel.Float](r *rand.Rand, n int, positive bool) matrix[T] {
	m := newMatrix[T](r, 1, n)
	for i, x := range m.data()[:n] {
		if positive && x < 0 {
			m.data()[i] = -x
		}
	}
	return m
}

func (c vectorCase[T]) check(t *testing.T, r *rand.Rand, n int) {
	t.Helper()
	var out, in, before []matrix[T]
	for i := range c.outputs {
		out = append(out, randomRow[T](r, n, i == 2))
		before = append(before, out[i].clone())
	}
	for range c.inputs {
		in = append(in, randomRow[T](r, n, false))
	}
	slicesOf := func(rows []matrix[T]) (s [][]T) {
		for _, m := range rows {
			s = append(s, m.data()[:n])
		}
		return s
	}
	c.run(slicesOf(out), slicesOf(in))
	elements := func(rows []matrix[T], i int) (s []float64) {
		for _, m := range rows {
			s = append(s, m.at(0, i))
		}
		return s
	}
	for i := range n {
		given, read := elements(before, i), elements(in, i)
		want := c.want(given, read)
		size := 1.0
		for _, x := range slices.Concat(given, read, want) {
			size = max(size, math.Abs(x))
		}
		for j := range want {
			if d := math.Abs(out[j].at(0, i) - want[j]); !(d <= c.units*epsilon[T]()*size*size) {
				t.Fatalf("element %d of %d of output %d is %v, want %v", i, n, j, out[j].at(0, i), want[j])
			}
		}
	}
	for _, m := range slices.Concat(out, in) {
		m.checkCanaries(t)
	}
}

func testVectors[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	for name, c := range vectorCases[T]() {
		t.Run(name, func(t *testing.T) {
			for n := range 150 {
				c.check(t, r, n)
			}
		})
	}
}

func TestVectorsEqualFloat64ForEveryLength(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testVectors[float32])
		t.Run("float64", testVectors[float64])
	})
}

func testNormSums[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(33, 34))
	for n := range 150 {
		dy, x, w, total := newMatrix[T](r, 1, n), newMatrix[T](r, 1, n), newMatrix[T](r, 1, n), newMatrix[float64](r, 1, n)
		before, plain := total.clone(), total.clone()
		Accumulate(plain.data()[:n], dy.data()[:n])
		plain.checkCanaries(t)
		dot := Dot(x.data()[:n], w.data()[:n])
		sum := NormGrad(total.data()[:n], dy.data()[:n], x.data()[:n], w.data()[:n], testInv)
		wantDot, wantSum, size := 0.0, 0.0, 0.0
		for i := range n {
			if got, want := plain.at(0, i), before.at(0, i)+dy.at(0, i); got != want {
				t.Fatalf("sum %d of %d is %v, want %v", i, n, got, want)
			}
			wantDot += x.at(0, i) * w.at(0, i)
			d := dy.at(0, i) * x.at(0, i) * testInv
			wantSum += d * w.at(0, i)
			size += math.Abs(x.at(0, i)*w.at(0, i)) * max(1, math.Abs(dy.at(0, i)))
			if got, want := total.at(0, i), before.at(0, i)+d; math.Abs(got-want) > 1e-14*max(1, math.Abs(want), math.Abs(d)) {
				t.Fatalf("dWeight[%d] of %d is %v, want %v", i, n, got, want)
			}
		}
		if math.Abs(dot-wantDot) > 1e-14*size || math.Abs(sum-wantSum) > 1e-14*size {
			t.Fatalf("sums of %d are %v and %v, want %v and %v", n, dot, sum, wantDot, wantSum)
		}
		total.checkCanaries(t)
	}
}

func TestSumsOfRowsAreFloat64(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testNormSums[float32])
		t.Run("float64", testNormSums[float64])
	})
}

func testRotate[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(35, 36))
	for half := range 70 {
		x, y := newMatrix[T](r, 1, 2*half), newMatrix[T](r, 1, 2*half)
		cos, sin := newMatrix[float64](r, 1, half), newMatrix[float64](r, 1, half)
		Rotate(y.data()[:2*half], x.data()[:2*half], cos.data()[:half], sin.data()[:half], -1)
		for i := range half {
			a, b, c, s := x.at(0, i), x.at(0, half+i), cos.at(0, i), -sin.at(0, i)
			limit := 2 * epsilon[T]() * (math.Abs(a) + math.Abs(b)) * (math.Abs(c) + math.Abs(s))
			if math.Abs(y.at(0, i)-(a*c-b*s)) > limit || math.Abs(y.at(0, half+i)-(b*c+a*s)) > limit {
				t.Fatalf("pair %d of %d is %v, %v, want %v, %v", i, half, y.at(0, i), y.at(0, half+i), a*c-b*s, b*c+a*s)
			}
		}
		y.checkCanaries(t)
	}
}

func TestRotateTurnsPairsOfEveryHeadDim(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testRotate[float32])
		t.Run("float64", testRotate[float64])
	})
}

// testSigmoid looks at silu of gates as large as they come, to a few units in the last place.
func testSigmoid[T kernel.Float](t *testing.T, smallest float64) {
	var gates []T
	for g := -smallest; g < 2*smallest; g += smallest / 5000 {
		gates = append(gates, T(g))
	}
	y, ones := make([]T, len(gates)), make([]T, len(gates))
	setAll(ones, 1)
	SwiGLU(y, gates, ones)
	for i, g := range gates {
		want := float64(g) / (1 + math.Exp(-float64(g)))
		if d := math.Abs(float64(y[i]) - want); !(d <= 10*epsilon[T]()*math.Abs(want)) {
			t.Fatalf("silu(%v) = %v, want %v: off by %.1f units", g, y[i], want, d/math.Abs(want)/epsilon[T]())
		}
	}
	inf, nan := T(math.Inf(1)), T(math.NaN())
	for _, c := range []struct{ gate, want T }{{inf, inf}, {-inf, nan}, {nan, nan}, {T(-2 * smallest), 0}, {0, 0}, {1e30, 1e30}, {-1e30, 0}} {
		for _, n := range []int{1, 64} {
			gates, y := make([]T, n), make([]T, n)
			gates[n-1] = c.gate
			SwiGLU(y, gates, ones[:n])
			if got := y[n-1]; got != c.want && !(got != got && c.want != c.want) {
				t.Errorf("silu(%v) = %v, want %v", c.gate, got, c.want)
			}
		}
	}
}

func TestSigmoidIsRightForGatesOfAnySize(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", func(t *testing.T) { testSigmoid[float32](t, 87) })
		t.Run("float64", func(t *testing.T) { testSigmoid[float64](t, 708) })
	})
}

func TestAdamWHasTheSameBitsOnEveryInstructionSet(t *testing.T) {
	const n = 1000
	var first []float32
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(37, 38))
		param, grad, m, v := randomRow[float32](r, n, false), randomRow[float32](r, n, false), randomRow[float32](r, n, false), randomRow[float32](r, n, true)
		AdamW(param.data()[:n], grad.data()[:n], m.data()[:n], v.data()[:n], &AdamWFactors[float32]{0.3, 0.99, 0.1, 0.999, 0.001, 0.7, 1e-8, -1e-3})
		if first == nil {
			first = param.data()[:n]
		} else if !slices.Equal(first, param.data()[:n]) {
			t.Error("the parameters differ from those of the first instruction set")
		}
	})
}

func testExpSum[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(39, 40))
	for _, n := range []int{1, 2, 63, 64, 65, 1000, expRows*expLanes + 1, 3*expRows*expLanes + 77} {
		x := newMatrix[T](r, 1, n)
		for i := range n {
			x.data()[i] *= 5
		}
		got := x.clone()
		largest, sum := ExpSum(got.data()[:n])
		if largest != slices.Max(x.data()[:n]) {
			t.Fatalf("the largest of %d is %v, want %v", n, largest, slices.Max(x.data()[:n]))
		}
		want := 0.0
		for i := range n {
			d := x.at(0, i) - float64(largest)
			want += math.Exp(d)
			if e := math.Exp(d); math.Abs(got.at(0, i)-e) > (6-2*d)*epsilon[T]()*e {
				t.Fatalf("e^%v is %v, want %v", d, got.at(0, i), e)
			}
		}
		if math.Abs(sum-want) > (8*epsilon[T]()+expLanes*epsilon[float64]())*want { // lanes are added in float64
			t.Fatalf("the sum of %d is %v, want %v: off by %.1f units", n, sum, want, math.Abs(sum-want)/want/epsilon[T]())
		}
		got.checkCanaries(t)
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1)} {
		x := []T{1, T(bad), 2}
		if _, sum := ExpSum(x); sum == sum {
			t.Errorf("the sum with %v is %v, want NaN", bad, sum)
		}
	}
}

func TestExpSumIsFlatInTheLengthOfTheRow(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testExpSum[float32])
		t.Run("float64", testExpSum[float64])
	})
}

func TestVectorsRefuseSlicesOfDifferentLengths(t *testing.T) {
	x, short := make([]float32, 8), make([]float32, 7)
	for i, f := range []func(){
		func() { Add(x, x, short) }, func() { SwiGLU(x, short, x) }, func() { SwiGLUGrad(short, x, x, x, x) },
		func() { AdamW(x, x, x, short, &AdamWFactors[float32]{}) }, func() { Dot(x, short) }, func() { Accumulate(make([]float64, 7), x) }, func() { NormScale(x, x, short, 1) },
		func() { NormGrad(make([]float64, 7), x, x, x, 1) }, func() { NormInput(x, short, x, x, 1, 1) },
		func() { Rotate(x, x, make([]float64, 4), make([]float64, 3), 1) },
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("a slice that is too short was accepted")
				}
			}()
			f()
		})
	}
}

func BenchmarkVectors(b *testing.B) {
	const n = 1 << 14
	before := active
	defer func() { active = before }()
	for i := range sets {
		active = &sets[i]
		x := make([][]float32, 5)
		for j := range x {
			x[j] = make([]float32, n)
		}
		wide, factors := make([]float64, n), &AdamWFactors[float32]{RootBias2: 1, Epsilon: 1}
		for name, f := range map[string]func(){
			"Add": func() { Add(x[0], x[1], x[2]) }, "SwiGLU": func() { SwiGLU(x[0], x[1], x[2]) },
			"SwiGLUGrad": func() { SwiGLUGrad(x[0], x[1], x[2], x[3], x[4]) }, "AdamW": func() { AdamW(x[0], x[1], x[2], x[3], factors) },
			"Dot": func() { Dot(x[0], x[1]) }, "NormGrad": func() { NormGrad(wide, x[0], x[1], x[2], 1) },
			"NormInput": func() { NormInput(x[0], x[1], x[2], x[3], 1, 1) }, "ExpSum": func() { ExpSum(x[0]) },
			"Rotate": func() { Rotate(x[0], x[1], wide[:n/2], wide[n/2:], 1) },
		} {
			b.Run(ISA()+"/"+name, func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
			})
		}
	}
}
