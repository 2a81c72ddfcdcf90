package kerneltest

import (
	"math/rand/v2"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// The edges of the vectors, panels and tiles of kernels.
var (
	edgeDims   = []int{1, 3, 8, 15, 17, 32, 64, 80, 96, 128, 192, 256}
	edgeTokens = []int{3, 17, 63, 64, 65, 95, 96, 97, 127, 129, 160, 193, 257}
	edgeGroups = [][2]int{{1, 1}, {2, 2}, {4, 2}, {3, 1}, {6, 2}}
)

// sampleWork bounds the multiply-adds of one product of a sampled problem: the reference takes some milliseconds for them.
const sampleWork = 1 << 19

// equalsDenseForSampledShapes tries every edge at least twice, in random company.
func equalsDenseForSampledShapes[T kernel.Float](t testing.TB, k kernel.Attention[T]) {
	r := rand.New(rand.NewPCG(1, 2))
	dims, valueDims, tokens := r.Perm(len(edgeDims)), r.Perm(len(edgeDims)), r.Perm(len(edgeTokens))
	for i := range 2 * len(edgeTokens) {
		group := edgeGroups[i%len(edgeGroups)]
		s := shape{
			tokens: edgeTokens[tokens[i%len(tokens)]], heads: group[0], kvHeads: group[1], causal: i%3 > 0,
			dim: edgeDims[dims[i%len(dims)]], valueDim: edgeDims[valueDims[i%len(dims)]],
		}
		c := cut{layouts[r.IntN(len(layouts))], 1 + r.IntN(4), 1 - 2*r.IntN(2)}
		if !takes(t) {
			continue
		}
		newJudge(k, newProblem[T](s.within(sampleWork), 1), 1).expect(t, k, c, "")
	}
}

// within leaves out heads, and then columns, of a shape that is too much work.
func (s shape) within(work int) shape {
	if s.heads*s.tokens*s.tokens*(s.dim+s.valueDim) > work {
		s.heads, s.kvHeads = 1, 1
	}
	for s.tokens*s.tokens*(s.dim+s.valueDim) > work && s.dim+s.valueDim > 2 {
		s.dim, s.valueDim = (s.dim+1)/2, (s.valueDim+1)/2
	}
	return s
}

// Fuzz looks for a shape, a cut or a temperature at which the kernel that newKernel makes differs from the reference.
func Fuzz[T kernel.Float](f *testing.F, newKernel func() kernel.Attention[T]) {
	f.Add(uint8(65), uint8(0x21), uint8(8), uint8(5), uint8(0), uint8(0))
	f.Add(uint8(193), uint8(0x93), uint8(17), uint8(32), uint8(1), uint8(40))
	f.Add(uint8(130), uint8(0x86), uint8(3), uint8(96), uint8(3), uint8(255))
	f.Fuzz(func(t *testing.T, tokens, flags, dim, valueDim, blocks, temperature uint8) {
		group := edgeGroups[int(flags&15)%len(edgeGroups)]
		s := shape{
			tokens: int(tokens), heads: group[0], kvHeads: group[1], causal: flags&0x80 != 0,
			dim: 1 + int(dim), valueDim: 1 + int(valueDim),
		}
		logits := 1 + float64(temperature)
		c := cut{layouts[flags>>4&3], 1 + int(blocks)%9, 1 - int(flags>>6&1)*2}
		p := newProblem[T](s.within(sampleWork), logits)
		k := newKernel()
		p = p.asTakenBy(k)
		j := judge[T]{problem: p, logits: logits, want: parts(dense[float64](p)), lenient: true}
		j.expect(t, k, c, "")
	})
}
