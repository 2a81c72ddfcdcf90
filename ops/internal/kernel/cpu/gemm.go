package cpu

import (
	"math/bits"
	"sync"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/meter"
)

// Matmul describes C[M,N] = Alpha·op(A)·op(B) + Beta·C. Matrices are row-major;
// LDA, LDB and LDC are their row strides in elements. C must not overlap A or B.
type Matmul[T kernel.Float] struct {
	TransA, TransB bool // op(A) is Aᵀ with A stored [K,M]; op(B) is Bᵀ with B stored [N,K]
	M, N, K        int
	Alpha          T
	A              []T
	LDA            int
	B              []T
	LDB            int
	Beta           T // 0: C is written without being read, so NaN in it is lost
	C              []T
	LDC            int
}

// Block sizes of Gemm, as in Goto and van de Geijn, "Anatomy of high-performance
// matrix multiplication" (2008): a packed panel of B (blockK x panelN) streams
// from the second-level cache past rows of A that are read in place.
// They do not depend on the number of threads, so neither do the bits.
const (
	panelN = 64   // columns of a packed panel: the widest register tile
	groupN = 512  // columns one task walks over
	blockN = 2048 // columns packed at a time
	blockM = 48   // rows of one task, unless that makes too few tasks
	blockK = 512  // depth of a panel
)

// Gemm computes g on up to GOMAXPROCS goroutines. The sum over K of one element
// of C is always taken in the same order, so the result has the same bits for
// any number of threads. If Alpha or K is 0, A and B are not read.
func Gemm[T kernel.Float](g Matmul[T]) {
	defer meter.Start(meter.Product).End()
	if g.M <= 0 || g.N <= 0 {
		return
	}
	if g.Alpha == 0 || g.K <= 0 {
		g.scaleC()
		return
	}
	if g.Beta != 0 && g.Beta != 1 {
		g.scaleC()
		g.Beta = 1
	}
	if g.thin() {
		g.runThin()
		return
	}
	r := run[T]{Matmul: g}
	if r.mustPack() {
		r.packedB = borrow[T](min(blockN, roundUp(g.N, panelN)) * min(blockK, g.K))
		defer r.packedB.giveBack()
	}
	for j := 0; j < g.N; j += blockN {
		r.j, r.n = j, min(blockN, g.N-j)
		for k := 0; k < g.K; k += blockK {
			r.k, r.depth = k, min(blockK, g.K-k)
			r.block()
		}
	}
}

// scaleC multiplies C by Beta; Beta 0 clears it.
func (g *Matmul[T]) scaleC() {
	if g.Beta == 1 {
		return
	}
	for i := range g.M {
		row := g.C[i*g.LDC:][:g.N]
		if g.Beta == 0 {
			clear(row)
			continue
		}
		for j := range row {
			row[j] *= g.Beta
		}
	}
}

// run is a Gemm under way: columns j to j+n, depth k to k+depth.
type run[T kernel.Float] struct {
	Matmul[T]
	packedB *scratch[T]
	j, n    int
	k       int
	depth   int
	height  int // rows of a task
}

// mustPack says whether B goes through a packed copy. It can be read in place if
// its rows lie right; that pays if each element serves few rows of A, or some
// rows and B's own lie close enough to stay in the cache.
func (r *run[T]) mustPack() bool {
	inPlace := !r.TransB && r.Alpha == 1
	return !inPlace || r.M > 24 && (r.M > 4*blockM || r.LDB > groupN)
}

// block adds one block's product to its columns of C in two passes.
func (r *run[T]) block() {
	// 1. Pack B into panels: panel p holds columns [p*panelN, (p+1)*panelN) as
	//    [depth, panelN], so that the inner loop reads it front to back.
	if r.packedB != nil {
		spread(r.n*r.depth*copyWork, ceilDiv(r.n, panelN), r.pack)
	}
	// 2. Multiply: one task is a block of rows by a group of columns. Tasks of the
	//    same group follow one another because they share its panels.
	groups := ceilDiv(r.n, groupN)
	r.height = r.taskHeight(groups)
	rowBlocks := ceilDiv(r.M, r.height)
	spread(r.M*r.n*r.depth, rowBlocks*groups, func(t int) {
		r.multiply(t%rowBlocks*r.height, t/rowBlocks*groupN)
	})
}

// taskHeight is the rows of one task: blockM, halved while that leaves too few
// tasks to keep the processors evenly busy and a task is still worth its start.
func (r *run[T]) taskHeight(groups int) int {
	const enough, tileM = 8, 6
	h := blockM
	for h > tileM && groups*ceilDiv(r.M, h) < enough && h*min(r.n, groupN)*r.depth > 2*minParallel {
		h /= 2
	}
	return h
}

// pack copies panel p of Alpha·op(B).
func (r *run[T]) pack(p int) {
	j := r.j + p*panelN
	n := min(panelN, r.j+r.n-j)
	dst := r.packedB.data[p*panelN*r.depth:][:panelN*r.depth]
	if r.TransB {
		transpose(dst, panelN, r.B[j*r.LDB+r.k:], r.LDB, n, r.depth, r.Alpha)
		return
	}
	for k := range r.depth {
		row, out := r.B[(r.k+k)*r.LDB+j:][:n], dst[k*panelN:][:n]
		if r.Alpha == 1 {
			copy(out, row)
			continue
		}
		for x := range out {
			out[x] = r.Alpha * row[x]
		}
	}
}

// panel is the B operand of panel p, packed or in place, and its row stride.
func (r *run[T]) panel(p int) ([]T, int) {
	if r.packedB != nil {
		return r.packedB.data[p*panelN*r.depth:], panelN
	}
	return r.B[r.k*r.LDB+r.j+p*panelN:], r.LDB
}

// multiply computes rows i.. of C in the group of columns that starts at j.
func (r *run[T]) multiply(i, j int) {
	m, end := min(r.height, r.M-i), min(j+groupN, r.n)
	a, lda := r.A, r.LDA
	if r.TransA {
		packed := r.packA(i, m)
		defer packed.giveBack()
		a, lda = packed.data, packedStride(r.depth)
	} else {
		a = a[i*lda+r.k:]
	}
	acc := r.k > 0 || r.Beta == 1
	for ; j < end; j += panelN {
		b, ldb := r.panel(j / panelN)
		tileNN(r.C[i*r.LDC+r.j+j:], r.LDC, a, lda, b, ldb, m, min(panelN, end-j), r.depth, acc)
	}
}

// packA copies rows i to i+m of op(A) out of a transposed A: each then lies in
// few cache lines and pages.
func (r *run[T]) packA(i, m int) *scratch[T] {
	ld := packedStride(r.depth)
	s := borrow[T](m * ld)
	transpose(s.data, ld, r.A[r.k*r.LDA+i:], r.LDA, r.depth, m, 1)
	return s
}

// packedStride is the row stride of a packed A: odd in cache lines, lest rows of
// a power of two evict one another.
func packedStride(depth int) int { return roundUp(depth, 32) + 16 }

// minParallel is the work, in multiply-adds, below which starting goroutines
// costs more than they save; copying an element costs as much as copyWork.
const (
	minParallel = 1 << 19
	copyWork    = 16
)

// spread runs f(0..n-1), in parallel if the work is worth it.
func spread(work, n int, f func(int)) {
	if work >= minParallel {
		Parallel(n, f)
		return
	}
	for i := range n {
		f(i)
	}
}

// scratch is pooled memory for packed operands.
type scratch[T kernel.Float] struct{ data []T }

// scratch32 and scratch64 hold *scratch[float32] and *scratch[float64]; pool i
// those of 2^i elements.
var scratch32, scratch64 [bits.UintSize + 1]sync.Pool

func scratchPool[T kernel.Float](n int) *sync.Pool {
	class := bits.Len(uint(n - 1))
	if unsafe.Sizeof(T(0)) == 4 {
		return &scratch32[class]
	}
	return &scratch64[class]
}

// borrow takes scratch of n > 0 elements, with whatever is in them.
func borrow[T kernel.Float](n int) *scratch[T] {
	s, _ := scratchPool[T](n).Get().(*scratch[T])
	if s == nil {
		s = &scratch[T]{data: make([]T, 1<<bits.Len(uint(n-1)))}
	}
	s.data = s.data[:n]
	return s
}

func (s *scratch[T]) giveBack() { scratchPool[T](len(s.data)).Put(s) }

func ceilDiv(a, b int) int { return (a + b - 1) / b }

func roundUp(a, b int) int { return ceilDiv(a, b) * b }
