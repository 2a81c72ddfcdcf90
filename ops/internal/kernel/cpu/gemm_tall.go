package cpu

// A tall product is a weight's gradient: many rows of A and B and few elements
// of C. Its sum is cut into slices, by its shape alone, which are computed side
// by side; then their sums are added in order.
const (
	tallC     = 1 << 16 // the most elements of C
	tallK     = 2048    // the least depth
	sliceK    = 512     // the least depth of a slice
	maxSlices = 16
)

func (g *Matmul[T]) tall() bool { return g.TransA && !g.TransB && g.M*g.N <= tallC && g.K >= tallK }

// runTall computes C = Beta·C + the slices' sums. Beta is 0 or 1.
func (g *Matmul[T]) runTall() {
	// 1. Each slice's sum, on its own.
	depth := max(sliceK, ceilDiv(g.K, maxSlices))
	slices, size := ceilDiv(g.K, depth), g.M*g.N
	sums := borrow[T](slices * size)
	defer sums.giveBack()
	Parallel(slices, func(t int) {
		k := t * depth
		r := run[T]{Matmul: *g, alone: true}
		r.A, r.B, r.K = g.A[k*g.LDA:], g.B[k*g.LDB:], min(depth, g.K-k)
		r.C, r.LDC, r.Beta = sums.data[t*size:], g.N, 0
		r.blocks()
	})

	// 2. A row of ones times the slices' sums adds them in order.
	ones := borrow[T](slices)
	defer ones.giveBack()
	setAll(ones.data, 1)
	spread(slices*size, ceilDiv(g.M, blockM), func(t int) {
		for i := t * blockM; i < min(g.M, (t+1)*blockM); i++ {
			tileNN(g.C[i*g.LDC:], g.LDC, ones.data, slices, sums.data[i*g.N:], size, 1, g.N, slices, g.Beta == 1)
		}
	})
}
