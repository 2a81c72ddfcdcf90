package cpu

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/kerneltest"
)

// eachPairSet runs f for the portable twin and for all that the processor has, and skips what it lacks by name.
func eachPairSet(t *testing.T, f func(t *testing.T, s pairPrimitives)) {
	t.Helper()
	lacking := map[string]bool{"amx": true, "avx512bf16": true}
	for _, s := range append(assemblyPairSets(), portablePairs()) {
		delete(lacking, s.name)
		t.Run(s.name, func(t *testing.T) { f(t, s) })
	}
	for name := range lacking {
		t.Run(name, func(t *testing.T) { t.Skipf("this processor or build has no %s", name) })
	}
}

func randomFloats(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func randomPairs(r *rand.Rand, n int) []uint32 {
	x := make([]uint32, n)
	for i := range x {
		x[i] = pairOf(float32(r.NormFloat64()), float32(r.NormFloat64()))
	}
	return x
}

func lowOf(x uint32) float64  { return float64(fromBFloat16(uint16(x))) }
func highOf(x uint32) float64 { return float64(fromBFloat16(uint16(x >> 16))) }

func TestPairProductEqualsFloat64ForEverySize(t *testing.T) {
	eachPairSet(t, func(t *testing.T, s pairPrimitives) {
		r := rand.New(rand.NewPCG(1, 2))
		for trial := range 280 {
			m, n, k, acc := 1+trial%70, lanes*(1+r.IntN(6)), r.IntN(50), trial&1 != 0
			lda, ldb, ldc := k+r.IntN(3), n+r.IntN(3), n+r.IntN(3)
			a, b, c := randomPairs(r, m*lda), randomPairs(r, k*ldb), randomFloats(r, m*ldc)
			got := append(slices.Clone(c), canary)
			s.product(got, ldc, a, lda, b, ldb, m, n, k, acc)
			for i, x := range got {
				row, column := i/ldc, i%ldc
				if row == m || column >= n {
					if want := append(c, canary)[i]; x != want {
						t.Fatalf("element %d behind a row of %d is %v, was %v", i, n, x, want)
					}
					continue
				}
				want, size := 0.0, 0.0
				if acc {
					want = float64(c[i])
				}
				for p := range k {
					x, y := a[row*lda+p], b[p*ldb+column]
					want += lowOf(x)*lowOf(y) + highOf(x)*highOf(y)
					size += math.Abs(lowOf(x)*lowOf(y)) + math.Abs(highOf(x)*highOf(y))
				}
				if e := math.Abs(float64(x) - want); e > 0x1p-22*(size+math.Abs(want)) {
					t.Fatalf("%dx%dx%d pairs, acc %t: c[%d,%d] = %v, want %v", m, n, k, acc, row, column, x, want)
				}
			}
		}
	})
}

func TestNarrowRoundsToNearestEven(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		x    float32
		want uint16
	}{
		{1, 0x3f80}, {-1, 0xbf80}, {1 + 0x1p-8, 0x3f80}, {1 + 3*0x1p-8, 0x3f82}, {1 + 0x1p-8 + 0x1p-20, 0x3f81},
		{math.MaxFloat32, 0x7f80}, {inf, 0x7f80}, {-inf, 0xff80}, {0x1p-140, 0}, {0x1p-126, 0x0080}, {0, 0},
	} {
		eachPairSet(t, func(t *testing.T, s pairPrimitives) {
			for n := range 70 {
				src, dst := make([]float32, n), slices.Repeat([]uint16{7}, n+1)
				for i := range src {
					src[i] = c.x
				}
				s.narrow(dst, src)
				for i, got := range dst[:n] {
					if got != c.want {
						t.Fatalf("%v in place %d of %d becomes %#04x, want %#04x", c.x, i, n, got, c.want)
					}
				}
				if dst[n] != 7 {
					t.Fatalf("narrow of %d elements writes behind them", n)
				}
			}
			one := make([]uint16, 1)
			if s.narrow(one, []float32{float32(math.NaN())}); one[0]&0x7f80 != 0x7f80 || one[0]&0x7f == 0 {
				t.Errorf("NaN becomes %#04x", one[0])
			}
		})
	}
}

func TestZipAndTurnMoveEveryElement(t *testing.T) {
	eachPairSet(t, func(t *testing.T, s pairPrimitives) {
		r := rand.New(rand.NewPCG(3, 4))
		for n := range 70 {
			even, odd := make([]uint16, n), make([]uint16, n)
			for i := range n {
				even[i], odd[i] = uint16(r.Uint32()), uint16(r.Uint32())
			}
			got := slices.Repeat([]uint32{7}, roundUp(n, lanes)+1)
			s.zip(got, even, odd)
			want := make([]uint32, len(got))
			for i := range n {
				want[i] = uint32(even[i]) | uint32(odd[i])<<16
			}
			want[len(want)-1] = 7
			if !slices.Equal(got, want) {
				t.Fatalf("zip of %d: %x, want %x", n, got, want)
			}
		}
		for _, rows := range []int{16, 48} {
			for _, cols := range []int{16, 64} {
				src, dst := randomPairs(r, rows*(cols+3)), make([]uint32, cols*(rows+5))
				s.turn(dst, rows+5, src, cols+3, rows, cols)
				for i := range rows {
					for j := range cols {
						if dst[j*(rows+5)+i] != src[i*(cols+3)+j] {
							t.Fatalf("turn of %dx%d: [%d,%d] is not where it belongs", rows, cols, i, j)
						}
					}
				}
			}
		}
	})
}

// near reports whether two bfloat16 differ by at most one unit of the last place: two exponentials may fall on two sides of a tie.
func near(x, y uint16) bool { return x-y+1 <= 2 }

func allNear(x, y []uint32) bool {
	for i, a := range halves(x) {
		if !near(a, halves(y)[i]) {
			return false
		}
	}
	return true
}

func TestSoftmaxOfPairsEqualsThePortableOne(t *testing.T) {
	eachPairSet(t, func(t *testing.T, s pairPrimitives) {
		r := rand.New(rand.NewPCG(5, 6))
		const exponent = 1.25
		for _, width := range []int{16, 32, 48, 64} {
			for rows := 2; rows <= 10; rows += 4 {
				n := rows * width
				x, dp, ref, delta := randomFloats(r, n), randomFloats(r, n), randomFloats(r, width), randomFloats(r, width)
				x[3], x[n-1], ref[5], dp[3] = float32(math.Inf(-1)), -1000, float32(math.Inf(-1)), float32(math.NaN())
				sum := randomFloats(r, width)
				gotSum, wantSum := slices.Clone(sum), slices.Clone(sum)
				got, want := make([]uint32, n/2), make([]uint32, n/2)
				s.weights(got, x, ref, gotSum, width, exponent)
				weightsGeneric(want, x, ref, wantSum, width, exponent)
				if !allNear(got, want) {
					t.Fatalf("weights of %dx%d: %x, want %x", rows, width, got, want)
				}
				for j, want := range wantSum {
					if math.Abs(float64(gotSum[j]-want)) > 1e-5*(1+math.Abs(float64(want))) {
						t.Fatalf("sum[%d] of %dx%d is %v, want %v", j, rows, width, gotSum[j], want)
					}
				}
				var a, b [3][]uint32
				for i := range a {
					a[i], b[i] = make([]uint32, n/2), make([]uint32, n/2)
				}
				s.gradients(a[0], a[1], a[2], x, dp, ref, delta, width, exponent)
				gradientsGeneric(b[0], b[1], b[2], x, dp, ref, delta, width, exponent)
				for i, name := range []string{"p", "ds", "pairs"} {
					if !allNear(a[i], b[i]) {
						t.Fatalf("%s of gradients of %dx%d: %x, want %x", name, rows, width, a[i], b[i])
					}
				}
			}
		}
	})
}

// TestBFloat16AttentionConforms takes the portable primitives, which are slow, where there are no others.
func TestBFloat16AttentionConforms(t *testing.T) {
	sets := assemblyPairSets()
	if len(sets) == 0 {
		sets = append(sets, portablePairs())
	}
	for i := range sets {
		kerneltest.Run(t, sets[i].name, func() kernel.Attention[float32] { return pairAttention{pairPrimitives: &sets[i]} })
	}
}

func FuzzBFloat16Shapes(f *testing.F) {
	s := append(assemblyPairSets(), portablePairs())[0]
	kerneltest.Fuzz(f, func() kernel.Attention[float32] { return pairAttention{pairPrimitives: &s} })
}

func BenchmarkPairProduct(b *testing.B) {
	const m, n, k = 96, 64, 32
	for _, s := range assemblyPairSets() {
		x, y, c := make([]uint32, m*k), make([]uint32, n*k), make([]float32, m*n)
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
				s.product(c, n, x, k, y, n, m, n, k, true)
			}
			b.ReportMetric(4*m*n*k*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

func BenchmarkWeights(b *testing.B) {
	const rows, width = 96, 64
	for _, s := range assemblyPairSets() {
		x, p, ref, sum := make([]float32, rows*width), make([]uint32, rows*width), make([]float32, width), make([]float32, width)
		b.Run(s.name+"/forward", func(b *testing.B) {
			for b.Loop() {
				s.weights(p, x, ref, sum, width, 1)
			}
			b.ReportMetric(rows*width*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
		})
		b.Run(s.name+"/backward", func(b *testing.B) {
			for b.Loop() {
				s.gradients(p, p, p, x, x, ref, sum, width, 1)
			}
			b.ReportMetric(rows*width*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
		})
	}
}

func TestTheOverrideNamesOneOfThePairSets(t *testing.T) {
	sets := pairSets()
	for i, s := range sets {
		t.Setenv(isaOverride, s.name)
		if got := pairSets(); len(got) != 1 || got[0].name != s.name || BFloat16ISA() != s.name {
			t.Errorf("RINGGRAD_ISA=%s (set %d) picks %v", s.name, i, BFloat16ISA())
		}
	}
	t.Setenv(isaOverride, "avx512")
	if got := len(pairSets()); got != len(sets) {
		t.Errorf("a name of no pair set leaves %d of %d", got, len(sets))
	}
}

// A signal that comes while tiles are in use must bring them back, and a thread that is put aside must find them again.
func TestPairProductsSurviveSignalsAndGarbageCollection(t *testing.T) {
	eachPairSet(t, func(t *testing.T, s pairPrimitives) {
		const m, n, k, workers = 128, 128, 128, 8
		stop := make(chan struct{})
		var collector, group sync.WaitGroup
		collector.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					runtime.GC()
				}
			}
		})
		for worker := range workers {
			group.Go(func() {
				r := rand.New(rand.NewPCG(7, uint64(worker)))
				a, b, want, got := randomPairs(r, m*k), randomPairs(r, k*n), make([]float32, m*n), make([]float32, m*n)
				s.product(want, n, a, k, b, n, m, n, k, false)
				for begin := time.Now(); time.Since(begin) < 50*time.Millisecond; {
					if s.product(got, n, a, k, b, n, m, n, k, false); !slices.Equal(got, want) {
						t.Error("a product came out different")
						return
					}
				}
			})
		}
		group.Wait()
		close(stop)
		collector.Wait()
	})
}

func TestBFloat16IsRefusedWhereItIsNot(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		has := len(assemblyPairSets()) > 0 && ISA() == "avx512"
		k, err := NewBFloat16()
		if has != (err == nil) || has != (k != nil) || !has && !errors.Is(err, ErrNoBFloat16) {
			t.Errorf("the kernel is %v, the error %v; the processor has bfloat16 on this instruction set: %t", k, err, has)
		}
	})
}
