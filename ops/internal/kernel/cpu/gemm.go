package cpu

import (
	"math/bits"
	"runtime"
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
// matrix multiplication" (2008): a packed panel of B (blockK x panelN, see panelSize) streams
// from the second-level cache past a few rows of A that stay in the first.
const (
	blockN = 1024 // columns packed at a time
	blockM = 48   // rows of one task, unless that makes too few tasks
)

// panelSize is the size of a packed panel of B in bytes: of one of its rows, as
// wide as the widest register tile, and of one of the columns. With little depth
// C comes and goes too often; with much, A's rows leave the first-level cache.
type panelSize struct{ width, depth int }

// blockDepth is the rows of a packed panel: sums over K are sums of blocks so deep.
func blockDepth[T kernel.Float]() int { return active.panel.depth / sizeOf[T]() }

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
	defer meter.Worked(2 * g.M * g.N * g.K)
	switch {
	case g.thin():
		g.runThin()
	case g.tall():
		g.runTall()
	default:
		(&run[T]{Matmul: g}).blocks()
	}
}

// scaleC multiplies C by Beta; Beta 0 clears it.
func (g *Matmul[T]) scaleC() {
	if g.Beta == 1 {
		return
	}
	spread(g.M*g.N*copyWork, ceilDiv(g.M, blockM), func(t int) {
		for i := t * blockM; i < min(g.M, (t+1)*blockM); i++ {
			row := g.C[i*g.LDC:][:g.N]
			if g.Beta == 0 {
				clear(row)
				continue
			}
			for j := range row {
				row[j] *= g.Beta
			}
		}
	})
}

// run is a Gemm under way: columns j to j+n, depth k to k+depth.
type run[T kernel.Float] struct {
	Matmul[T]
	alone         bool // on one goroutine, because others have their share elsewhere
	packedB       *scratch[T]
	panelN        int // columns of a panel
	j, n          int
	k, depth      int
	height, width int // rows and columns of a task
}

// blocks goes over the blocks of op(B).
func (r *run[T]) blocks() {
	blockK := blockDepth[T]()
	r.panelN = active.panel.width / sizeOf[T]()
	if r.mustPack() {
		r.packedB = borrow[T](min(blockN, roundUp(r.N, r.panelN)) * min(blockK, r.K))
		defer r.packedB.giveBack()
	}
	for j := 0; j < r.N; j += blockN {
		r.j, r.n = j, min(blockN, r.N-j)
		for k := 0; k < r.K; k += blockK {
			r.k, r.depth = k, min(blockK, r.K-k)
			r.shape()
			r.block()
		}
	}
}

// mustPack says whether B goes through a packed copy. It can be read in place if
// its rows lie right; that pays if each element serves few rows of A, or some
// rows and B's own lie close enough to stay in the cache.
func (r *run[T]) mustPack() bool {
	const few, some, near = 24, 4 * blockM, 512
	inPlace := !r.TransB && r.Alpha == 1
	return !inPlace || r.M > few && (r.M > some || r.LDB > near)
}

// shape sets the size of a task: blockM rows of all columns, halved while that
// leaves too few tasks to keep the processors evenly busy and a task is still
// worth its start.
func (r *run[T]) shape() {
	const narrow, flat = blockN / 4, 6
	enough := 4 * runtime.GOMAXPROCS(0)
	r.height, r.width = blockM, roundUp(r.n, r.panelN)
	for !r.alone && ceilDiv(r.M, r.height)*ceilDiv(r.n, r.width) < enough && r.height*r.width*r.depth > 2*minParallel {
		switch {
		case r.width > narrow:
			r.width = roundUp(r.width/2, r.panelN)
		case r.height > flat:
			r.height /= 2
		default:
			return
		}
	}
}

// block adds one block's product to its columns of C. Tasks are handed out in
// order, so all panels are being packed before a product waits for them.
func (r *run[T]) block() {
	var packed sync.WaitGroup
	panels, rowBlocks := 0, ceilDiv(r.M, r.height)
	if r.packedB != nil {
		panels = ceilDiv(r.n, r.panelN)
		packed.Add(panels)
	}
	work := r.M * r.n * r.depth
	if r.alone {
		work = 0
	}
	spread(work, panels+rowBlocks*ceilDiv(r.n, r.width), func(t int) {
		if t < panels {
			defer packed.Done()
			r.pack(t)
			return
		}
		packed.Wait()
		t -= panels
		r.multiply(t%rowBlocks*r.height, t/rowBlocks*r.width)
	})
}

// pack copies panel p of Alpha·op(B), columns p*panelN and on, as [depth, panelN],
// so that the inner loop reads it front to back.
func (r *run[T]) pack(p int) {
	j := r.j + p*r.panelN
	n := min(r.panelN, r.j+r.n-j)
	dst := r.packedB.data[p*r.panelN*r.depth:][:r.panelN*r.depth]
	if r.TransB {
		transpose(dst, r.panelN, r.B[j*r.LDB+r.k:], r.LDB, n, r.depth, r.Alpha)
		return
	}
	for k := range r.depth {
		row, out := r.B[(r.k+k)*r.LDB+j:][:n], dst[k*r.panelN:][:n]
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
		return r.packedB.data[p*r.panelN*r.depth:], r.panelN
	}
	return r.B[r.k*r.LDB+r.j+p*r.panelN:], r.LDB
}

// multiply computes a task's rows of C from i on, in its columns from j on.
func (r *run[T]) multiply(i, j int) {
	m, end := min(r.height, r.M-i), min(j+r.width, r.n)
	a, lda := r.A, r.LDA
	if r.TransA {
		packed := r.packA(i, m)
		defer packed.giveBack()
		a, lda = packed.data, packedStride(r.depth)
	} else {
		a = a[i*lda+r.k:]
	}
	acc := r.k > 0 || r.Beta == 1
	for ; j < end; j += r.panelN {
		b, ldb := r.panel(j / r.panelN)
		tileNN(r.C[i*r.LDC+r.j+j:], r.LDC, a, lda, b, ldb, m, min(r.panelN, end-j), r.depth, acc)
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
	copyWork    = 8
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
