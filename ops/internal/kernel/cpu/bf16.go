package cpu

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// ErrNoBFloat16 says that the processor, or the instruction set chosen by RINGGRAD_ISA or the build, has no bfloat16 arithmetic.
var ErrNoBFloat16 = errors.New("no bfloat16 arithmetic: it takes a processor with AVX-512-BF16 or AMX-BF16 (and neither RINGGRAD_ISA nor the build tag purego against it)")

// pairPrimitives are the inner loops of bfloat16 attention. All matrices are row-major. A pair is two bfloat16 in a uint32, the
// first in the lower half: two neighbours along the depth k of a product, which the dot-product instructions take at once.
//
// The driver sees to it that there are no ragged edges but those named here: the columns of a tile are padded to a multiple of
// lanes (16), its rows and depths to whole pairs. Padding holds zeros, so a product may take it along. Operands may overlap only
// where they are the same argument, and every primitive runs on the calling goroutine, without a call back into Go.
//
// Implementations differ in rounding: a product may flush denormals and round its pairs in its own way, but an element's sum has
// one order, fixed by k alone, so that cutting C elsewhere changes no bit.
type pairPrimitives struct {
	name string

	// product computes C[m,n] (+)= A[m,k]·B[k,n], k counted in pairs: c[i,j] = Σ a[i,p].low·b[p,j].low + a[i,p].high·b[p,j].high.
	// A is a matrix of bfloat16 as it lies in memory; B has been interleaved by zip (or, if its pairs lie along its rows, turned).
	// n is a multiple of lanes; m and k are any; k is at most 128 (head dim 256, or the keys or queries of a tile). Row strides
	// count elements of the type given and are at least n, k and n. acc adds to C.
	product func(c []float32, ldc int, a []uint32, lda int, b []uint32, ldb int, m, n, k int, acc bool)

	// narrow rounds src to bfloat16, to nearest even; a denormal may become 0, a NaN stays one.
	narrow func(dst []uint16, src []float32)

	// zip makes pairs of two rows: dst[j] = even[j], odd[j]. It writes up to the next multiple of lanes, zeros behind the rows.
	zip func(dst []uint32, even, odd []uint16)

	// turn transposes words: dst[cols,rows] = src[rows,cols]ᵀ; rows and cols are multiples of lanes.
	turn func(dst []uint32, ldd int, src []uint32, lds int, rows, cols int)

	// weights is the softmax of the forward pass. x and p are dense tiles [rows, width] of scores and [rows/2, width] of pairs; rows
	// is even, width a multiple of lanes. With e = 2^(exponent·x[r,j] + ref[j]), p's pairs are e of rows 2i and 2i+1 rounded to
	// bfloat16, and sum[j] += e before rounding, rows in order. e is 0 below 2^-126, NaN if x is.
	weights func(p []uint32, x, ref, sum []float32, width int, exponent float32)

	// gradients is the softmax of the backward pass, on tiles as those of weights: with e as there, p holds e and ds holds
	// e·(dp - delta[j]), 0 where e is 0, both as rows of bfloat16 [rows, width/2 words]; pairs holds ds once more as weights
	// stores e.
	gradients func(p, ds, pairs []uint32, x, dp, ref, delta []float32, width int, exponent float32)
}

// lanes is what widths are padded to: the 32-bit lanes of a 64-byte vector, and the columns of an AMX tile.
const lanes = 16

// pairSets are the implementations this processor can run on the instruction set in use, the fastest first; only the one that
// RINGGRAD_ISA names, if it names one.
func pairSets() []pairPrimitives {
	if active.name != "avx512" {
		return nil
	}
	sets, name := assemblyPairSets(), os.Getenv(isaOverride)
	for i := range sets {
		if sets[i].name == name {
			return sets[i : i+1]
		}
	}
	return sets
}

// BFloat16ISA names what NewBFloat16 multiplies with: "amx", "avx512bf16", or "" where it has nothing to. RINGGRAD_ISA takes either
// name too, and leaves ISA as it is then: "avx512bf16" does without AMX.
func BFloat16ISA() string {
	for _, s := range pairSets() {
		return s.name
	}
	return ""
}

// pairAttention implements kernel.Attention in bfloat16 over one set of pair primitives. What is not a product is in float32: scores,
// softmax, carry, sums and gradients.
type pairAttention struct {
	attention[float32] // Finish and Delta
	*pairPrimitives
}

// NewBFloat16 returns the CPU kernel that multiplies in bfloat16, or ErrNoBFloat16. Queries and output gradients are rounded as they
// come; keys and values are taken packed, two to a float32, see kernel.Packer.
func NewBFloat16() (kernel.Attention[float32], error) {
	sets := pairSets()
	if len(sets) == 0 {
		return nil, fmt.Errorf("instruction set %s: %w", ISA(), ErrNoBFloat16)
	}
	return pairAttention{pairPrimitives: &sets[0]}, nil
}

var _ kernel.Packer[float32] = pairAttention{}

// PackedLen is half of n, rounded up.
func (pairAttention) PackedLen(n int) int { return ceilDiv(n, 2) }

// Pack rounds src to bfloat16, to nearest even.
func (a pairAttention) Pack(dst, src []float32) {
	const chunk = 1 << 14
	out := halves(wordsOf(dst))
	if len(src)%2 != 0 {
		out[len(src)] = 0
	}
	spread(len(src)*copyWork, ceilDiv(len(src), chunk), func(i int) {
		end := min(len(src), (i+1)*chunk)
		a.narrow(out[i*chunk:end], src[i*chunk:end])
	})
}

// Delta is that of the rounded dO, which is what P and dS meet. A bfloat16 behind 16 zeros is a float32.
func (a pairAttention) Delta(out, dOut, delta []float32, b kernel.Block) {
	dv := b.ValueDim
	eachChunk(len(delta), dv, func(row, rows int) {
		memory := borrow[float32](words(rows*dv) + roundUp(dv, lanes))
		defer memory.giveBack()
		rounded, wide := halves(wordsOf(memory.data)), memory.data[words(rows*dv):]
		a.narrow(rounded[:rows*dv], dOut[row*dv:][:rows*dv])
		for i := range rows {
			a.zip(wordsOf(wide), zeroRow[:dv], rounded[i*dv:][:dv])
			delta[row+i] = float32(Dot(out[(row+i)*dv:][:dv], wide[:dv]))
		}
	})
}

// wordsOf views floats as the words that pack them.
func wordsOf(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// halves views words as bfloat16.
func halves(x []uint32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

// finite reports whether no bfloat16 among an even number of words is infinite or NaN.
func finite(x []uint32) bool {
	const exponents, ones, tops = 0x7f807f807f807f80, 0x0001000100010001, 0x8000800080008000
	for i := 0; i+1 < len(x); i += 2 {
		// A quarter of r is 0 if its exponent is full; subtracting 1 then borrows into its top bit, which r never has.
		r := ^(uint64(x[i]) | uint64(x[i+1])<<32) & exponents
		if (r-ones)&^r&tops != 0 {
			return false
		}
	}
	return true
}
