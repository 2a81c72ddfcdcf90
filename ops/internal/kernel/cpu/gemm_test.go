package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// eachISA runs f once for every instruction set this machine has.
func eachISA(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	before := active
	defer func() { active = before }()
	for i := range sets {
		active = &sets[i]
		t.Run(ISA(), f)
	}
}

// epsilon is the unit roundoff of T.
func epsilon[T kernel.Float]() float64 {
	if _, ok := any(T(0)).(float32); ok {
		return 0x1p-24
	}
	return 0x1p-53
}

// canary fills everything a kernel must not touch.
const canary = 1234.5

// matrix is a rows x cols matrix with ld >= cols, canaries in the gaps and
// behind the end, and off elements before the start to vary the alignment.
type matrix[T kernel.Float] struct {
	whole          []T
	off            int
	rows, cols, ld int
}

func newMatrix[T kernel.Float](r *rand.Rand, rows, cols int) matrix[T] {
	m := matrix[T]{off: r.IntN(5), rows: rows, cols: cols, ld: cols + r.IntN(4)}
	m.whole = make([]T, m.off+rows*m.ld+8)
	for i := range m.whole {
		m.whole[i] = canary
	}
	for i := range rows {
		for j := range cols {
			m.whole[m.off+i*m.ld+j] = T(r.NormFloat64())
		}
	}
	return m
}

func (m matrix[T]) data() []T { return m.whole[m.off:] }

func (m matrix[T]) at(i, j int) float64 { return float64(m.whole[m.off+i*m.ld+j]) }

func (m matrix[T]) clone() matrix[T] {
	m.whole = append([]T(nil), m.whole...)
	return m
}

// checkCanaries fails if anything outside the matrix changed.
func (m matrix[T]) checkCanaries(t *testing.T) {
	t.Helper()
	for x, v := range m.whole {
		i := x - m.off
		inside := i >= 0 && m.ld > 0 && i/m.ld < m.rows && i%m.ld < m.cols
		if !inside && v != canary {
			t.Fatalf("element %d outside a %dx%d matrix (ld %d) was overwritten with %v", i, m.rows, m.cols, m.ld, v)
		}
	}
}

// product is what a matrix product must compute: alpha·op(a)·op(b) + beta·c.
type product[T kernel.Float] struct {
	a, b, c        matrix[T]
	transA, transB bool
	alpha, beta    float64
	k              int
}

// check compares got with a float64 sum, allowing the error bound of a
// dot product: (k+2)·epsilon times the sum of absolute terms.
func (p product[T]) check(t *testing.T, got matrix[T]) {
	t.Helper()
	for i := range got.rows {
		for j := range got.cols {
			want, size := 0.0, 0.0
			if p.beta != 0 {
				want = p.beta * p.c.at(i, j)
				size = math.Abs(want)
			}
			for k := range p.k {
				x, y := p.term(i, j, k)
				want += p.alpha * x * y
				size += math.Abs(p.alpha * x * y)
			}
			limit := float64(p.k+4) * epsilon[T]() * size
			if d := math.Abs(got.at(i, j) - want); !(d <= limit) {
				t.Fatalf("C[%d,%d] of %dx%dx%d = %v, want %v (off by %g, limit %g)",
					i, j, got.rows, got.cols, p.k, got.at(i, j), want, d, limit)
			}
		}
	}
	got.checkCanaries(t)
}

func (p product[T]) term(i, j, k int) (x, y float64) {
	ai, ak, bk, bj := i, k, k, j
	if p.transA {
		ai, ak = k, i
	}
	if p.transB {
		bk, bj = j, k
	}
	return p.a.at(ai, ak), p.b.at(bk, bj)
}

// stored makes the operand op(X) = [rows, cols], stored transposed if trans.
func stored[T kernel.Float](r *rand.Rand, trans bool, rows, cols int) matrix[T] {
	if trans {
		rows, cols = cols, rows
	}
	return newMatrix[T](r, rows, cols)
}

func randomProduct[T kernel.Float](r *rand.Rand, transA, transB bool, m, n, k int) product[T] {
	return product[T]{
		a: stored[T](r, transA, m, k), b: stored[T](r, transB, k, n), c: newMatrix[T](r, m, n),
		transA: transA, transB: transB, alpha: 1, beta: 0, k: k,
	}
}

func (p product[T]) gemm() matrix[T] {
	c := p.c.clone()
	Gemm(Matmul[T]{
		TransA: p.transA, TransB: p.transB, M: c.rows, N: c.cols, K: p.k,
		Alpha: T(p.alpha), A: p.a.data(), LDA: p.a.ld, B: p.b.data(), LDB: p.b.ld,
		Beta: T(p.beta), C: c.data(), LDC: c.ld,
	})
	return c
}

func testGemmSizes[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	factors := []float64{1, 0, -0.5, 2}
	sizes := []int{0, 1, 2, 3, 5, 6, 7, 8, 12, 13, 15, 16, 17, 31, 33, 48, 63, 64, 65, 70}
	for trial := range 300 {
		size := func() int { return sizes[r.IntN(len(sizes))] }
		p := randomProduct[T](r, trial&1 != 0, trial&2 != 0, size(), size(), size())
		p.alpha, p.beta = factors[r.IntN(4)], factors[r.IntN(4)]
		p.check(t, p.gemm())
	}
}

func testGemmBlocks[T kernel.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	blockK := blockDepth[T]()
	for i, s := range [][3]int{{13, 3, 2*blockK + 5}, {3, blockN + 70, 4}, {2*blockM + 1, blockN + 17, 3}, {7, 66, blockK + 1}, {5, 66, tallK + 3}} {
		for trans := range 4 {
			p := randomProduct[T](r, trans&1 != 0, trans&2 != 0, s[0], s[1], s[2])
			p.beta = float64(i & 1)
			p.check(t, p.gemm())
		}
	}
}

func TestGemmEqualsFloat64ForEverySizeStrideAndTransposition(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testGemmSizes[float32])
		t.Run("float64", testGemmSizes[float64])
	})
}

func TestGemmEqualsFloat64AcrossBlockEdges(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		t.Run("float32", testGemmBlocks[float32])
		t.Run("float64", testGemmBlocks[float64])
	})
}

func TestGemmWithBetaZeroDoesNotReadC(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		for _, alpha := range []float64{1, 0} {
			p := randomProduct[float32](rand.New(rand.NewPCG(5, 6)), false, true, 13, 70, 9)
			p.alpha = alpha
			for i := range p.c.rows {
				for j := range p.c.cols {
					p.c.data()[i*p.c.ld+j] = float32(math.NaN())
				}
			}
			p.check(t, p.gemm())
		}
	})
}

func TestGemmHasTheSameBitsForAnyNumberOfThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	eachISA(t, func(t *testing.T) {
		for trial := range 8 {
			m, n, k := 131, 600, 75
			if trial >= 4 {
				m, n, k = 20, 70, tallK+77
			}
			p := randomProduct[float32](rand.New(rand.NewPCG(7, 8)), trial&1 != 0, trial&2 != 0, m, n, k)
			runtime.GOMAXPROCS(1)
			want := p.gemm()
			for _, threads := range []int{2, 3, 7} {
				runtime.GOMAXPROCS(threads)
				got := p.gemm()
				for i, v := range got.whole {
					if v != want.whole[i] {
						t.Fatalf("element %d is %v on %d threads and %v on one", i, v, threads, want.whole[i])
					}
				}
			}
		}
	})
}

func TestGemmRowsDoNotDependOnTheOtherRows(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		for _, k := range []int{33, blockDepth[float32]() + 33} {
			p := randomProduct[float32](rand.New(rand.NewPCG(9, 10)), false, true, 29, 45, k)
			want := p.gemm()
			for i := range p.c.rows {
				one := p
				one.a.off, one.a.rows = p.a.off+i*p.a.ld, 1
				one.c.off, one.c.rows = p.c.off+i*p.c.ld, 1
				got := one.gemm()
				for j := range p.c.cols {
					if got.at(0, j) != want.at(i, j) {
						t.Fatalf("depth %d: C[%d,%d] is %v alone and %v among %d rows", k, i, j, got.at(0, j), want.at(i, j), p.c.rows)
					}
				}
			}
		}
	})
}

func FuzzGemmEqualsFloat64(f *testing.F) {
	f.Add(uint8(0), uint16(13), uint16(67), uint16(9), int8(1), int8(0))
	f.Add(uint8(1), uint16(5), uint16(3), uint16(tallK), int8(2), int8(1))
	f.Add(uint8(2), uint16(17), uint16(96), uint16(33), int8(-1), int8(3))
	f.Fuzz(func(t *testing.T, trans uint8, m, n, k uint16, alpha, beta int8) {
		m, n, k = m%200, n%300, k%3000
		if int(m)*int(n)*int(k) > 1<<20 {
			t.Skip("too slow to check")
		}
		p := randomProduct[float32](rand.New(rand.NewPCG(uint64(m), uint64(n))), trans&1 != 0, trans&2 != 0, int(m), int(n), int(k))
		p.alpha, p.beta = float64(alpha)/4, float64(beta)/4
		p.check(t, p.gemm())
	})
}

func BenchmarkGemm(b *testing.B) {
	kinds := []struct {
		name           string
		transA, transB bool
	}{{"NN", false, false}, {"NT", false, true}, {"TN", true, false}}
	for _, s := range [][3]int{{64, 64, 64}, {512, 512, 512}, {1024, 64, 128}, {1024, 512, 256}, {2048, 512, 512}, {48, 112, 48}, {1, 512, 512}, {8, 2048, 512}, {16, 2048, 512}} {
		for _, kind := range kinds {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", kind.name, s[0], s[1], s[2]), func(b *testing.B) {
				p := randomProduct[float32](rand.New(rand.NewPCG(1, 1)), kind.transA, kind.transB, s[0], s[1], s[2])
				g := Matmul[float32]{
					TransA: p.transA, TransB: p.transB, M: s[0], N: s[1], K: s[2], Alpha: 1,
					A: p.a.whole, LDA: p.a.cols, B: p.b.whole, LDB: p.b.cols, C: p.c.whole, LDC: s[1],
				}
				for b.Loop() {
					Gemm(g)
				}
				b.ReportMetric(2*float64(s[0])*float64(s[1])*float64(s[2])*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
