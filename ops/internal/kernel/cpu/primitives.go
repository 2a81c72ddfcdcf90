package cpu

import (
	"os"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// isaOverride is the environment variable that picks an instruction set by name.
const isaOverride = "RINGGRAD_ISA"

// instructionSet is one implementation of all primitives. Every set computes
// the same sums in the same order, but for Dot's and NormGrad's in float64; what
// differs is rounding (the assembly fuses multiply and add) and speed.
type instructionSet struct {
	name  string
	panel panelSize
	f32   primitives[float32]
	f64   primitives[float64]
	v32   vectors[float32]
	v64   vectors[float64]
	draw  func(bits []uint64, queries, keys []uint32, threshold uint32)
}

// primitives are the inner loops that attention and Gemm are built from. All
// matrices are row-major with the row stride (ld) counted in elements.
type primitives[T kernel.Float] struct {
	nn, tn    tileFunc[T]
	expSub    func(x []T, ld, rows, width int, ref []T, scale T, low, sum []T)
	weigh     func(x, a, b []T, rows, k int, ref []T, scale T, low, sum []T) // nil where there are too few registers
	columnMax func(x []T, ld, rows, width int, high []T)
	subMul    func(x, y []T, ld, rows, width int, ref []T)
	scaleRows func(dst, src []T, ld, rows, width int, factor, low []T)
	transpose func(dst []T, ldd int, src []T, lds int, rows, cols int, scale T)

	sift    func(x []T, ld, rows, width int, bits []uint64, first int, value T)
	bias    func(x []T, ld, rows, width int, factor T, queries, keys []T, slope T)
	softcap func(x, tanh []T, ld, rows, width int, factor, limit T)
	flatten func(dp, tanh []T, ld, rows, width int, delta []T)

	multiplyAdd func(n int) (flops int) // n turns of multiply-adds on registers, see MultiplyAdd
}

// tileFunc multiplies one tile, see tileNN and tileTN.
type tileFunc[T kernel.Float] func(c []T, ldc int, a []T, lda int, b []T, ldb int, m, n, k int, acc bool)

// sets holds what this machine can run, the fastest first; portable Go is last
// and always there.
var sets = append(assemblySets(), portableSet())

// active is the set in use. Only tests change it after start.
var active = pickSet(os.Getenv(isaOverride))

// pickSet returns the set called name, or the fastest one if the machine or the
// build has none of that name.
func pickSet(name string) *instructionSet {
	for i := range sets {
		if sets[i].name == name {
			return &sets[i]
		}
	}
	return &sets[0]
}

// ISA names the instruction set the kernels run on: "avx512", "avx2" or
// "generic" (portable Go: other processors, or the build tag purego). The
// fastest one the processor has is taken unless the environment variable
// RINGGRAD_ISA names another at start; a name that is unknown, or that this
// processor or build lacks, changes nothing, so a caller that needs a certain
// set compares ISA with the name it asked for.
func ISA() string { return active.name }

// primitivesOf returns the active primitives for element type T.
func primitivesOf[T kernel.Float]() *primitives[T] {
	var p any = &active.f64
	if unsafe.Sizeof(T(0)) == 4 {
		p = &active.f32
	}
	return p.(*primitives[T])
}

// tileNN computes C[m,n] (+)= A[m,k]·B[k,n] on the calling goroutine; acc says
// whether the product is added to C or replaces it. Each element of the product
// is one chain of multiply-adds from zero in the order of k, whatever m and n, so
// cutting C into tiles elsewhere does not change a bit; C is added to it at the end. The assembly reads and writes through
// raw pointers, so the ends of the operands are checked here, once per tile.
func tileNN[T kernel.Float](c []T, ldc int, a []T, lda int, b []T, ldb int, m, n, k int, acc bool) {
	if m <= 0 || n <= 0 {
		return
	}
	_ = c[(m-1)*ldc+n-1]
	if k > 0 {
		_, _ = a[(m-1)*lda+k-1], b[(k-1)*ldb+n-1]
	}
	primitivesOf[T]().nn(c, ldc, a, lda, b, ldb, m, n, k, acc)
}

// tileTN computes C[m,n] (+)= Aᵀ·B with A stored [k,m] and B [k,n]; in
// everything else it is tileNN.
func tileTN[T kernel.Float](c []T, ldc int, a []T, lda int, b []T, ldb int, m, n, k int, acc bool) {
	if m <= 0 || n <= 0 {
		return
	}
	_ = c[(m-1)*ldc+n-1]
	if k > 0 {
		_, _ = a[(k-1)*lda+m-1], b[(k-1)*ldb+n-1]
	}
	primitivesOf[T]().tn(c, ldc, a, lda, b, ldb, m, n, k, acc)
}

// tilePart is the rows x width numbers of a matrix that lie ld apart from row to row.
type tilePart struct{ ld, rows, width int }

// check reports that there is nothing to do, and panics where the shortest matrix or the shortest vector is too short.
func (p tilePart) check(matrix, vector int) (empty bool) {
	if p.rows <= 0 || p.width <= 0 {
		return true
	}
	if p.ld < p.width && p.rows > 1 || matrix < (p.rows-1)*p.ld+p.width || vector < p.width {
		panic("cpu: an operand of a tile is too short")
	}
	return false
}

// expSub takes the softmax's exponential of a part of a score tile, whose lanes are query rows: x[r,j] becomes
// exp2((x[r,j]-ref[j])·scale - low[j]), which is also added to sum[j], rows in order. The difference is scaled, not x, so that
// rounding is relative to the former. The relative error of exp2 is below 2 ulp. Results under the smallest normal number are 0
// (denormals would slow down the products that follow), -Inf gives 0, NaN stays NaN, overflow is +Inf. A column whose ref is -Inf
// gives NaN where x is -Inf too.
func expSub[T kernel.Float](x []T, p tilePart, ref []T, scale T, low, sum []T) {
	if !p.check(len(x), min(len(ref), len(low), len(sum))) {
		primitivesOf[T]().expSub(x, p.ld, p.rows, p.width, ref, scale, low, sum)
	}
}

// weighRows is what the rows of weigh are a multiple of, and weighDepth the least depth it takes.
const (
	weighRows  = 5
	weighDepth = 20
)

// weigh is tileNN and expSub in one, for whole panels: x [rows, 64] becomes the exponentials of a [rows, k] · b [k, 64], to the bit as
// from the two. The exponentials of some rows are taken while the products of the next are summed.
func weigh[T kernel.Float](x, a, b []T, rows, k int, ref []T, scale T, low, sum []T) {
	_, _, _ = x[rows*panelRows-1], a[rows*k-1], b[k*panelRows-1]
	_, _, _ = ref[panelRows-1], low[panelRows-1], sum[panelRows-1]
	primitivesOf[T]().weigh(x, a, b, rows, k, ref, scale, low, sum)
}

// weighable is how many of so many rows weigh takes, which never leaves a single one.
func weighable[T kernel.Float](rows, k int) int {
	if primitivesOf[T]().weigh == nil || k < weighDepth {
		return 0
	}
	n := rows / weighRows * weighRows
	if rows-n == 1 && n > 0 {
		n -= weighRows
	}
	return n
}

// columnMax raises high[j] to the largest x[r,j]; a NaN in x raises nothing.
func columnMax[T kernel.Float](x []T, p tilePart, high []T) {
	if !p.check(len(x), len(high)) {
		primitivesOf[T]().columnMax(x, p.ld, p.rows, p.width, high)
	}
}

// subMul sets x[r,j] to (x[r,j]-ref[j])·y[r,j]: with x = dP, y = P and ref = delta it is the softmax's backward but for the scale.
func subMul[T kernel.Float](x, y []T, p tilePart, ref []T) {
	if !p.check(min(len(x), len(y)), len(ref)) {
		primitivesOf[T]().subMul(x, y, p.ld, p.rows, p.width, ref)
	}
}

// scaleRows sets dst[r,j] to src[r,j]·(factor[r] + low[r]): low is what rounding took from the factor.
func scaleRows[T kernel.Float](dst, src []T, p tilePart, factor, low []T) {
	if !p.check(min(len(dst), len(src)), p.width) {
		_, _ = factor[p.rows-1], low[p.rows-1]
		primitivesOf[T]().scaleRows(dst, src, p.ld, p.rows, p.width, factor, low)
	}
}

// transpose writes dst[cols,rows] = scale · src[rows,cols]ᵀ.
func transpose[T kernel.Float](dst []T, ldd int, src []T, lds int, rows, cols int, scale T) {
	if rows <= 0 || cols <= 0 {
		return
	}
	_, _ = dst[(cols-1)*ldd+rows-1], src[(rows-1)*lds+cols-1]
	primitivesOf[T]().transpose(dst, ldd, src, lds, rows, cols, scale)
}
