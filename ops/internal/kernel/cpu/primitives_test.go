package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

func testTiles[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for m := 1; m <= 13; m++ { // up to two register tiles and a row
		for _, n := range []int{1, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 97, 130} {
			for trial := range 4 {
				p := randomProduct[T](r, trial&1 != 0, false, m, n, []int{0, 1, 2, 7, 33}[r.IntN(5)])
				p.beta = float64(trial >> 1)
				tile := tileNN[T]
				if p.transA {
					tile = tileTN[T]
				}
				c := p.c.clone()
				tile(c.data(), c.ld, p.a.data(), p.a.ld, p.b.data(), p.b.ld, c.rows, c.cols, p.k, p.beta == 1)
				p.check(t, c)
			}
		}
	}
}

// testEveryHeight goes over the heights of up to two register tiles and their neighbours in width, with odd depths.
func testEveryHeight[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for m := 1; m <= 12; m++ {
		for _, n := range []int{1, 7, 9, 31, 33, 63, 65} {
			for _, k := range []int{1, 3, 17} {
				p := randomProduct[T](r, (m+k/2)%2 != 0, false, m, n, k)
				p.beta = 1
				tile := tileNN[T]
				if p.transA {
					tile = tileTN[T]
				}
				c := p.c.clone()
				tile(c.data(), c.ld, p.a.data(), p.a.ld, p.b.data(), p.b.ld, m, n, k, true)
				p.check(t, c)
			}
		}
	}
}

func TestTilesEqualFloat64ForEveryHeight(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testEveryHeight[float32])
		t.Run("float64", testEveryHeight[float64])
	})
}

func TestTilesEqualFloat64ForEverySizeAndStride(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testTiles[float32])
		t.Run("float64", testTiles[float64])
	})
}

func TestTilesRefuseAnOperandThatIsTooShort(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		a, b, c := make([]float32, 5*3), make([]float32, 3*21), make([]float32, 5*21)
		tileNN(c, 21, a, 3, b, 21, 5, 21, 3, false)
		defer func() {
			if recover() == nil {
				t.Error("a B operand one element short was accepted")
			}
		}()
		tileNN(c, 21, a, 3, b[:len(b)-1], 21, 5, 21, 3, false)
	})
}

func testTranspose[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for trial := range 400 {
		src := newMatrix[T](r, trial%20+r.IntN(2)*r.IntN(60), trial/20+r.IntN(2)*r.IntN(60))
		dst := newMatrix[T](r, src.cols, src.rows)
		transpose(dst.data(), dst.ld, src.data(), src.ld, src.rows, src.cols, 0.5)
		for i := range src.rows {
			for j := range src.cols {
				if dst.at(j, i) != src.at(i, j)/2 {
					t.Fatalf("transpose of %dx%d: [%d,%d] = %v, want %v", src.rows, src.cols, j, i, dst.at(j, i), src.at(i, j)/2)
				}
			}
		}
		dst.checkCanaries(t)
	}
}

func TestTransposeIsExactForEverySizeAndStride(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testTranspose[float32])
		t.Run("float64", testTranspose[float64])
	})
}

// exp2Of is exp2 of every x, computed as rows of width lanes with ref 0.
func exp2Of[T kernel.Float](x []T, width int) []T {
	out := append([]T(nil), x...)
	expSub(out, tilePart{width, len(x) / width, width}, make([]T, width), 1, make([]T, width), make([]T, width))
	return out
}

// maxULP sweeps [low, high] and returns the largest error in units of the last
// place of the result.
func maxULP[T kernel.Float](low, high float64, n int) float64 {
	x := make([]T, n)
	for i := range x {
		x[i] = T(low + (high-low)*float64(i)/float64(n-1))
	}
	worst := 0.0
	for i, got := range exp2Of(x, 64) {
		want := math.Exp2(float64(x[i]))
		_, e := math.Frexp(want)
		worst = max(worst, math.Abs(float64(got)-want)/math.Ldexp(2*epsilon[T](), e-1))
	}
	return worst
}

func TestExp2IsWithinTwoULP(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		for _, span := range [][2]float64{{-1, 0}, {0, 1}, {-0.001, 0.001}, {-30, 0}, {-126, 127.999}} {
			if e := maxULP[float32](span[0], span[1], 64*4000); !(e < 2) {
				t.Errorf("float32 exp2 on %v is off by %.3f ulp", span, e)
			}
		}
		for _, span := range [][2]float64{{-1, 0}, {-50, 50}, {-1022, 1023.999}} {
			// math.Exp2 itself is good to one ulp.
			if e := maxULP[float64](span[0], span[1], 64*1000); !(e < 3) {
				t.Errorf("float64 exp2 on %v is off by %.3f ulp", span, e)
			}
		}
	})
}

func testExpSubEdges[T kernel.Float](t *testing.T, smallest, overflow float64) {
	inf, nan := math.Inf(1), math.NaN()
	cases := []struct{ x, want float64 }{
		{0, 1}, {-1, 0.5}, {3, 8}, {-inf, 0}, {inf, inf}, {smallest, math.Exp2(smallest)}, {smallest - 0.5, 0},
		{smallest * 100, 0}, {-1e30, 0}, {overflow, inf}, {overflow * 100, inf}, {1e30, inf}, {nan, nan},
	}
	for _, c := range cases {
		for _, width := range []int{1, 7, 64} {
			x := make([]T, width)
			x[width-1] = T(c.x)
			got := float64(exp2Of(x, width)[width-1])
			if got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
				t.Errorf("exp2(%v) = %v in lane %d, want %v", c.x, got, width-1, c.want)
			}
		}
	}
}

func TestExpSubHandlesInfinitiesNaNAndUnderflow(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", func(t *testing.T) { testExpSubEdges[float32](t, -126, 128) })
		t.Run("float64", func(t *testing.T) { testExpSubEdges[float64](t, -1022, 1024) })
	})
}

// tileParts are parts of every width, some with a gap between rows.
func tileParts(r *rand.Rand, yield func(p tilePart)) {
	for width := 1; width < 140; width += 1 + width/40 {
		yield(tilePart{width + width%3*5, 1 + r.IntN(6), width})
	}
}

func testExpSubSums[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	const scale = 0.75
	tileParts(r, func(p tilePart) {
		x := newMatrix[T](r, 1, p.rows*p.ld)
		ref, low, sum := newMatrix[T](r, 1, p.width), newMatrix[T](r, 1, p.width), newMatrix[T](r, 1, p.width)
		gotX, gotSum := x.clone(), sum.clone()
		expSub(gotX.data()[:p.rows*p.ld], p, ref.data()[:p.width], scale, low.data()[:p.width], gotSum.data()[:p.width])
		for j := range p.ld {
			if j >= p.width {
				for i := range p.rows {
					if gotX.at(0, i*p.ld+j) != x.at(0, i*p.ld+j) {
						t.Fatalf("%+v: x[%d,%d] was written to", p, i, j)
					}
				}
				continue
			}
			want := T(sum.at(0, j))
			for i := range p.rows {
				exponent := float64(T(x.at(0, i*p.ld+j)-ref.at(0, j)))*scale - low.at(0, j)
				e := math.Exp2(exponent)
				got := gotX.at(0, i*p.ld+j)
				if math.Abs(got-e) > (6+math.Abs(exponent))*epsilon[T]()*e {
					t.Fatalf("%+v: x[%d,%d] = %v, want %v", p, i, j, got, e)
				}
				want += T(got)
			}
			if got := T(gotSum.at(0, j)); got != want {
				t.Fatalf("%+v: sum[%d] = %v, want %v: rows must be added in order", p, j, got, want)
			}
		}
		gotX.checkCanaries(t)
		gotSum.checkCanaries(t)
	})
}

func TestExpSubAddsRowsInOrderForEveryWidth(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testExpSubSums[float32])
		t.Run("float64", testExpSubSums[float64])
	})
}

func testWeigh[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	for _, k := range []int{20, 21, 32, 39, 40, 41, 64, 129} {
		for _, keys := range []int{5, 6, 10, 11, 13, 90, 95, 96} {
			rows := weighable[T](keys, k)
			if rows == 0 {
				continue
			}
			if keys-rows == 1 || keys-rows > weighRows+1 {
				t.Fatalf("of %d rows weigh takes %d", keys, rows)
			}
			some := func(n int) []T { return newMatrix[T](r, 1, n).data()[:n] }
			a, b, ref, low := some(rows*k), some(k*panelRows), some(panelRows), some(panelRows)
			a[r.IntN(len(a))] = T([]float64{1, math.NaN(), math.Inf(1), math.Inf(-1), 1e30, -1e30}[r.IntN(6)])
			want, got := some(rows*panelRows), newMatrix[T](r, 1, rows*panelRows)
			wantSum, gotSum := make([]T, panelRows), make([]T, panelRows)
			tileNN(want, panelRows, a, k, b, panelRows, rows, panelRows, k, false)
			expSub(want, tilePart{panelRows, rows, panelRows}, ref, 0.3, low, wantSum)
			weigh(got.data()[:rows*panelRows], a, b, rows, k, ref, 0.3, low, gotSum)
			got.checkCanaries(t)
			want, gotAll := append(want, wantSum...), append(got.data()[:rows*panelRows:rows*panelRows], gotSum...)
			for i, x := range want {
				if g := gotAll[i]; g != x && (g == g || x == x) {
					t.Fatalf("%d rows of depth %d: element %d (of %d weights, then sums) is %v, want %v", rows, k, i, rows*panelRows, g, x)
				}
			}
		}
	}
}

func TestWeighIsProductAndExponentialToTheBit(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testWeigh[float32])
		t.Run("float64", testWeigh[float64])
	})
}

func testColumnMaxAndSubMul[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	tileParts(r, func(p tilePart) {
		n := p.rows * p.ld
		x, y, ref := newMatrix[T](r, 1, n), newMatrix[T](r, 1, n), newMatrix[T](r, 1, p.width)
		x.data()[r.IntN(n)] = T(math.NaN())
		product, high := x.clone(), ref.clone()
		subMul(product.data()[:n], y.data()[:n], p, ref.data()[:p.width])
		columnMax(x.data()[:n], p, high.data()[:p.width])
		for j := range p.ld {
			top := T(math.Inf(-1))
			if j < p.width {
				top = T(ref.at(0, j))
			}
			for i := j; i < n; i += p.ld {
				v := T(x.at(0, i))
				if v > top {
					top = v
				}
				want := v
				if j < p.width {
					want = (v - T(ref.at(0, j))) * T(y.at(0, i))
				}
				if got := T(product.at(0, i)); got != want && v == v {
					t.Fatalf("subMul of %+v: element %d is %v, want %v", p, i, got, want)
				}
			}
			if j < p.width && T(high.at(0, j)) != top {
				t.Fatalf("columnMax of %+v: column %d is %v, want %v", p, j, high.at(0, j), top)
			}
		}
		product.checkCanaries(t)
		high.checkCanaries(t)
	})
}

func TestColumnMaxAndSubMulAreExactForEveryWidth(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testColumnMaxAndSubMul[float32])
		t.Run("float64", testColumnMaxAndSubMul[float64])
	})
}

func testScaleRows[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(19, 20))
	tileParts(r, func(p tilePart) {
		n := p.rows * p.ld
		src, dst := newMatrix[T](r, 1, n), newMatrix[T](r, 1, n)
		got := dst.clone()
		factor, low := make([]T, p.rows), make([]T, p.rows)
		exact := make([]float64, p.rows)
		for i := range factor {
			exact[i] = r.NormFloat64()
			factor[i], low[i] = split[T](exact[i])
		}
		scaleRows(got.data()[:n], src.data()[:n], p, factor, low)
		for i := range n {
			row, j := i/p.ld, i%p.ld
			want := dst.at(0, i)
			if j < p.width {
				want = src.at(0, i) * exact[row]
			}
			if d := math.Abs(got.at(0, i) - want); d > 2.1*epsilon[T]()*math.Abs(want) {
				t.Fatalf("%+v: row %d, column %d is %v, want %v", p, row, j, got.at(0, i), want)
			}
		}
		got.checkCanaries(t)
	})
}

func TestScaleRowsEqualsFloat64ForEveryWidth(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testScaleRows[float32])
		t.Run("float64", testScaleRows[float64])
	})
}

func TestPickSetFallsBackToTheFastest(t *testing.T) {
	for name, want := range map[string]string{"": sets[0].name, "sse9": sets[0].name, "generic": "generic"} {
		if got := pickSet(name).name; got != want {
			t.Errorf("pickSet(%q) is %s, want %s", name, got, want)
		}
	}
}

func BenchmarkTile(b *testing.B) {
	const m, n, k = 96, 64, 64
	for i := range sets {
		x, y, c := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
		b.Run(sets[i].name, func(b *testing.B) {
			for name, tile := range map[string]tileFunc[float32]{"nn": sets[i].f32.nn, "tn": sets[i].f32.tn} {
				lda := map[string]int{"nn": k, "tn": m}[name]
				b.Run(name, func(b *testing.B) {
					for b.Loop() {
						tile(c, n, x, lda, y, n, m, n, k, true)
					}
					b.ReportMetric(2*m*n*k*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		})
	}
}

func BenchmarkExpSub(b *testing.B) {
	const rows, width = 96, 64
	for i := range sets {
		x, ref, low, sum := make([]float32, rows*width), make([]float32, width), make([]float32, width), make([]float32, width)
		setAll(x, 1)
		setAll(ref, 1) // so that x stays as it is
		b.Run(sets[i].name, func(b *testing.B) {
			for b.Loop() {
				sets[i].f32.expSub(x, width, rows, width, ref, 1, low, sum)
			}
			b.ReportMetric(rows*width*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
		})
	}
}

// BenchmarkWeigh compares weigh with the product and the exponentials one after the other.
func BenchmarkWeigh(b *testing.B) {
	const rows, k = 90, 64
	if weighable[float32](rows, k) == 0 {
		b.Skipf("%s has no weigh", ISA())
	}
	x, y, z := make([]float32, rows*panelRows), make([]float32, rows*k), make([]float32, k*panelRows)
	fill(y)
	fill(z)
	ref, low, sum := make([]float32, panelRows), make([]float32, panelRows), make([]float32, panelRows)
	product := func() { tileNN(x, panelRows, y, k, z, panelRows, rows, panelRows, k, false) }
	for name, run := range map[string]func(){
		"weigh":   func() { weigh(x, y, z, rows, k, ref, 0.1, low, sum) },
		"product": product,
		"product, then exponentials": func() {
			product()
			expSub(x, tilePart{panelRows, rows, panelRows}, ref, 0.1, low, sum)
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				run()
			}
		})
	}
}

func BenchmarkTranspose(b *testing.B) {
	const rows, cols = 64, 512
	for i := range sets {
		src, dst := make([]float32, rows*cols), make([]float32, rows*cols)
		b.Run(sets[i].name, func(b *testing.B) {
			for b.Loop() {
				sets[i].f32.transpose(dst, rows, src, cols, rows, cols, 1)
			}
			b.ReportMetric(rows*cols*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
		})
	}
}
