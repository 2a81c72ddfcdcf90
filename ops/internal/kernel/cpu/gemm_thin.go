package cpu

const (
	thinM = 16 // rows of a thin product: at most one vector of the widest kind
	thinN = 96 // columns of one task
)

// thin says whether g is a few rows times a transposed B, as in generating one
// token at a time. Each element of B is then used so seldom that packing it
// would be most of the work.
func (g *Matmul[T]) thin() bool { return g.TransB && g.M <= thinM && g.Alpha == 1 }

// runThin computes Cᵀ = B·op(A)ᵀ instead: B is read in place as the left operand,
// and the small op(A)ᵀ [K,M] takes the place of the panel. The sums over blocks of
// K, and so the bits, are those of the packed way. Beta is 0 or 1.
func (g *Matmul[T]) runThin() {
	at, ldat := g.A, g.LDA
	if !g.TransA {
		s := borrow[T](g.K * g.M)
		defer s.giveBack()
		transpose(s.data, g.M, g.A, g.LDA, g.M, g.K, 1)
		at, ldat = s.data, g.M
	}
	spread(g.M*g.N*g.K, ceilDiv(g.N, thinN), func(t int) {
		j := t * thinN
		n := min(thinN, g.N-j)
		ct := borrow[T](n * g.M)
		defer ct.giveBack()
		if g.Beta == 1 {
			transpose(ct.data, g.M, g.C[j:], g.LDC, g.M, n, 1)
		}
		for k, depth := 0, blockDepth[T](); k < g.K; k += depth {
			tileNN(ct.data, g.M, g.B[j*g.LDB+k:], g.LDB, at[k*ldat:], ldat, n, g.M, min(depth, g.K-k), k > 0 || g.Beta == 1)
		}
		transpose(g.C[j:], g.LDC, ct.data, g.M, n, g.M, 1)
	})
}
