package cpu

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// sameBits says whether two elements are the same, NaN too.
func sameBits[T kernel.Float](a, b T) bool {
	return math.Float64bits(float64(a)) == math.Float64bits(float64(b))
}

func testSift[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	tileParts(r, func(p tilePart) {
		for first := 0; first+p.width <= 64; first += 16 {
			x, bits := newMatrix[T](r, 1, p.rows*p.ld), make([]uint64, p.rows)
			for i := range bits {
				bits[i] = []uint64{0, ^uint64(0), r.Uint64(), r.Uint64() | r.Uint64()}[r.IntN(4)]
				x.data()[i*p.ld+r.IntN(p.width)] = T(math.NaN())
			}
			got := x.clone()
			sift(got.data()[:p.rows*p.ld], p, bits, first, T(math.Inf(-1)))
			for i, v := range x.data()[:p.rows*p.ld] {
				row, j := i/p.ld, i%p.ld
				if j < p.width && bits[row]>>(first+j)&1 == 0 {
					v = T(math.Inf(-1))
				}
				if !sameBits(got.data()[i], v) {
					t.Fatalf("%+v from bit %d: [%d,%d] is %v, want %v (bits %#x)", p, first, row, j, got.data()[i], v, bits[row])
				}
			}
			got.checkCanaries(t)
		}
	})
}

func TestSiftReplacesWhatTheBitsHideAndNothingElse(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testSift[float32])
		t.Run("float64", testSift[float64])
	})
}

func TestSiftRefusesMoreLanesThanBits(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Error("65 lanes of a word of 64 bits were accepted")
			}
		}()
		sift(make([]float32, 49), tilePart{49, 1, 49}, []uint64{0}, 16, 0)
	})
}

// positionsOf are n consecutive positions from one on.
func positionsOf[T kernel.Float](from, n int) []T {
	p := make([]T, n)
	for i := range p {
		p[i] = T(from + i)
	}
	return p
}

func testBias[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(33, 34))
	tileParts(r, func(p tilePart) {
		x := newMatrix[T](r, 1, p.rows*p.ld)
		queries, keys := positionsOf[T](r.IntN(100), p.width), positionsOf[T](r.IntN(100), p.rows)
		factor, slope := T(r.NormFloat64()), T(r.Float64())
		got := x.clone()
		bias(got.data()[:p.rows*p.ld], p, factor, queries, keys, slope)
		for i := range p.rows * p.ld {
			row, j := i/p.ld, i%p.ld
			want, size := x.at(0, i), 0.0
			if j < p.width {
				product, distance := float64(factor)*want, float64(slope)*math.Abs(float64(queries[j]-keys[row]))
				want, size = product-distance, math.Abs(product)+distance
			}
			if d := math.Abs(got.at(0, i) - want); d > 2.1*epsilon[T]()*size {
				t.Fatalf("%+v: [%d,%d] is %v, want %v", p, row, j, got.at(0, i), want)
			}
		}
		got.checkCanaries(t)
	})
	inf := []T{T(math.Inf(-1)), T(math.NaN())}
	bias(inf, tilePart{2, 1, 2}, 0.5, []T{3, 3}, []T{7}, 0.25)
	if !math.IsInf(float64(inf[0]), -1) || inf[1] == inf[1] {
		t.Errorf("-Inf and NaN became %v", inf)
	}
}

func TestBiasEqualsFloat64ForEveryWidth(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testBias[float32])
		t.Run("float64", testBias[float64])
	})
}

// tanhOf is tanh of every x, as one row.
func tanhOf[T kernel.Float](x []T) []T {
	out := append([]T(nil), x...)
	softcap(out, nil, tilePart{len(x), 1, len(x)}, 1, 1)
	return out
}

// bigTanh is tanh y for y >= 0, good to 200 bits: E/(E+2) with E = e^2y - 1, whose series is summed at 2y/2^k and doubled k times by
// E(E+2). Nothing cancels.
func bigTanh(y float64) *big.Float {
	number := func(v float64) *big.Float { return new(big.Float).SetPrec(240).SetFloat64(v) }
	const k = 16
	x := number(math.Ldexp(y, 1-k))
	sum, term := number(0), number(1)
	for i := 1.0; i < 30; i++ {
		term.Mul(term, x).Quo(term, number(i))
		sum.Add(sum, term)
	}
	for range k {
		sum.Mul(sum, new(big.Float).Add(sum, number(2)))
	}
	return new(big.Float).Quo(sum, new(big.Float).Add(sum, number(2)))
}

// tanhArguments are spread evenly over some intervals and evenly in size from low to 1.
func tanhArguments[T kernel.Float](n int, low float64) (x []T) {
	r := rand.New(rand.NewPCG(35, 36))
	for range n {
		x = append(x, T(r.Float64()), T(25*r.Float64()), T(0.17+0.02*r.Float64()), T(math.Pow(low, r.Float64())))
	}
	return x
}

// ulpError is the distance of got from want in units of want's last place.
func ulpError[T kernel.Float](got T, want *big.Float) float64 {
	d, _ := new(big.Float).Sub(new(big.Float).SetPrec(240).SetFloat64(float64(got)), want).Float64()
	return math.Abs(d) / math.Ldexp(2*epsilon[T](), want.MantExp(nil)-1)
}

func testTanh[T kernel.Float](t *testing.T, x []T, want []*big.Float) {
	worst, at := 0.0, T(0)
	minus := make([]T, len(x))
	for i, v := range x {
		minus[i] = -v
	}
	odd := tanhOf(minus)
	for i, got := range tanhOf(x) {
		if e := ulpError(got, want[i]); !(e <= worst) {
			worst, at = e, x[i]
		}
		if !sameBits(odd[i], -got) {
			t.Fatalf("tanh(%v) = %v, but tanh(%v) = %v", x[i], got, minus[i], odd[i])
		}
	}
	if !(worst <= 4) {
		t.Errorf("tanh(%v) is off by %.3f ulp", at, worst)
	}
}

func TestTanhIsWithinFourULPAndOdd(t *testing.T) {
	x32, x64 := tanhArguments[float32](20000, 1e-37), tanhArguments[float64](3000, 1e-300)
	want32, want64 := make([]*big.Float, len(x32)), make([]*big.Float, len(x64))
	for i, v := range x32 {
		want32[i] = big.NewFloat(math.Tanh(float64(v))).SetPrec(240) // its error is far below float32's rounding
	}
	for i, v := range x64 {
		want64[i] = bigTanh(v)
	}
	eachISA(t, func(t *testing.T) {
		t.Run("float32", func(t *testing.T) { testTanh(t, x32, want32) })
		t.Run("float64", func(t *testing.T) { testTanh(t, x64, want64) })
	})
}

func testTanhEdges[T kernel.Float](t *testing.T, smallest T) {
	inf, nan := T(math.Inf(1)), T(math.NaN())
	for _, c := range []struct{ x, want T }{
		{0, 0}, {T(math.Copysign(0, -1)), T(math.Copysign(0, -1))}, {inf, 1}, {-inf, -1}, {nan, nan},
		{30, 1}, {-30, -1}, {1e30, 1}, {-1e30, -1}, {3 * smallest, 3 * smallest},
	} {
		for _, width := range []int{1, 7, 64} {
			x := make([]T, width)
			x[width-1] = c.x
			got := tanhOf(x)[width-1]
			near := c.want == 3*smallest && got >= 2*smallest && got <= 4*smallest
			if !sameBits(got, c.want) && !near && (got == got || c.want == c.want) {
				t.Errorf("tanh(%v) = %v in lane %d, want %v", c.x, got, width-1, c.want)
			}
		}
	}
}

func TestTanhHandlesInfinitiesNaNAndZeros(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", func(t *testing.T) { testTanhEdges[float32](t, math.SmallestNonzeroFloat32) })
		t.Run("float64", func(t *testing.T) { testTanhEdges[float64](t, math.SmallestNonzeroFloat64) })
	})
}

func testSoftcapAndFlatten[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(37, 38))
	const factor, limit = 0.75, 30
	tileParts(r, func(p tilePart) {
		n := p.rows * p.ld
		x, tanh, dp, delta := newMatrix[T](r, 1, n), newMatrix[T](r, 1, n), newMatrix[T](r, 1, n), newMatrix[T](r, 1, p.width)
		capped, alone, kept, flat := x.clone(), x.clone(), tanh.clone(), dp.clone()
		softcap(capped.data()[:n], kept.data()[:n], p, factor, limit)
		softcap(alone.data()[:n], nil, p, factor, limit)
		flatten(flat.data()[:n], kept.data()[:n], p, delta.data()[:p.width])
		for i := range n {
			j, eps, size := i%p.ld, 0.0, 0.0 // behind the width nothing may change
			wantX, wantT, wantD := x.at(0, i), tanh.at(0, i), dp.at(0, i)
			if j < p.width {
				eps = epsilon[T]()
				size = math.Abs(dp.at(0, i)) + math.Abs(delta.at(0, j))
				wantT = math.Tanh(float64(factor * x.data()[i]))
				wantX = limit * wantT
				wantD = delta.at(0, j) + (wantD-delta.at(0, j))*(1-wantT*wantT)
			}
			if got := kept.at(0, i); math.Abs(got-wantT) > 8*eps*math.Abs(wantT) {
				t.Fatalf("tanh of %+v: element %d is %v, want %v", p, i, got, wantT)
			}
			if got := capped.at(0, i); got != alone.at(0, i) || math.Abs(got-wantX) > 9*eps*math.Abs(wantX) {
				t.Fatalf("softcap of %+v: element %d is %v and %v without tanh, want %v", p, i, got, alone.at(0, i), wantX)
			}
			if got := flat.at(0, i); math.Abs(got-wantD) > 20*eps*size {
				t.Fatalf("flatten of %+v: element %d is %v, want %v", p, i, got, wantD)
			}
		}
		for _, m := range []matrix[T]{capped, alone, kept, flat} {
			m.checkCanaries(t)
		}
	})
}

func TestSoftcapAndFlattenEqualFloat64ForEveryWidth(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testSoftcapAndFlatten[float32])
		t.Run("float64", testSoftcapAndFlatten[float64])
	})
}

func TestFlattenKeepsNaN(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		nan := math.NaN()
		dp := []float64{nan, 1, 1, 2}
		flatten(dp, []float64{0.5, nan, 0.5, 1}, tilePart{4, 1, 4}, []float64{1, 1, nan, 7})
		for i, v := range dp[:3] {
			if v == v {
				t.Errorf("element %d is %v", i, v)
			}
		}
		if dp[3] != 7 {
			t.Errorf("where tanh is 1 dp is %v, want delta", dp[3])
		}
	})
}

func randomWords(r *rand.Rand, n int) []uint32 {
	w := make([]uint32, n)
	for i := range w {
		w[i] = r.Uint32()
	}
	return w
}

func TestDrawKeepsWhatDropoutKeeps(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(39, 40))
		for n := 0; n <= 64; n++ {
			queries, keys := randomWords(r, n), randomWords(r, 1+r.IntN(20))
			threshold := []uint32{0, 1, 1 << 31, 1<<31 + 1, math.MaxUint32, r.Uint32()}[n%6]
			bits := slices.Repeat([]uint64{^uint64(0)}, len(keys)+1)
			draw(bits, queries, keys, threshold)
			for i, key := range keys {
				for j := range 64 {
					want := j < n && kernel.Kept(queries[j], key, threshold)
					if got := bits[i]>>j&1 == 1; got != want {
						t.Fatalf("%d queries, threshold %#x: pair (%d, %d) is %v, want %v", n, threshold, j, i, got, want)
					}
				}
			}
			if bits[len(keys)] != ^uint64(0) {
				t.Fatalf("%d queries: a word behind the last key was written to", n)
			}
		}
	})
}

// BenchmarkScoreMods times a tile of attention's shape in each instruction set.
func BenchmarkScoreMods(b *testing.B) {
	const rows, width = 96, 64
	r := rand.New(rand.NewPCG(41, 42))
	x, tanh, zeros := make([]float32, rows*width), make([]float32, rows*width), make([]float32, rows*width) // zeros: x stays as it is
	bits, queries, keys := make([]uint64, rows), randomWords(r, width), randomWords(r, rows)
	for i := range bits {
		bits[i] = r.Uint64()
	}
	fill(x)
	for i := range sets {
		p := &sets[i].f32
		for name, run := range map[string]func(){
			"sift":    func() { p.sift(x, width, rows, width, bits, 0, 0) },
			"bias":    func() { p.bias(x, width, rows, width, 1, zeros, zeros, 0.5) },
			"softcap": func() { p.softcap(x, tanh, width, rows, width, 0.01, 100) },
			"flatten": func() { p.flatten(x, zeros, width, rows, width, zeros) },
			"draw":    func() { sets[i].draw(bits, queries, keys, 1<<29) },
		} {
			b.Run(sets[i].name+"/"+name, func(b *testing.B) {
				for b.Loop() {
					run()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(rows*width), "ns/elem")
			})
		}
	}
}
