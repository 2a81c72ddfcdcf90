package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// portableSet is the primitives in portable Go: what runs on processors without
// assembly, and what the assembly is tested beside.
func portableSet() instructionSet {
	return instructionSet{
		name:  "generic",
		panel: panelSize{width: 256, depth: 2048},
		f32:   portable(exp2Float32),
		f64:   portable(exp2Float64),
		v32:   portableVectors(exp32),
		v64:   portableVectors(math.Exp),
		draw:  drawGeneric,
	}
}

func portable[T kernel.Float](exp2 func(T) T) primitives[T] {
	return primitives[T]{
		nn: tileNNGeneric[T],
		tn: tileTNGeneric[T],
		expSub: func(x []T, ld, rows, width int, ref []T, scale T, low, sum []T) {
			for r := range rows {
				row := x[r*ld:][:width]
				for j, v := range row {
					row[j] = exp2((v-ref[j])*scale - low[j])
					sum[j] += row[j]
				}
			}
		},
		columnMax: columnMaxGeneric[T],
		subMul:    subMulGeneric[T],
		scaleRows: scaleRowsGeneric[T],
		transpose: transposeGeneric[T],

		sift:    siftGeneric[T],
		bias:    biasGeneric[T],
		softcap: softcapGeneric[T],
		flatten: flattenGeneric[T],

		multiplyAdd: multiplyAddGeneric[T],
	}
}

func columnMaxGeneric[T kernel.Float](x []T, ld, rows, width int, high []T) {
	for r := range rows {
		for j, v := range x[r*ld:][:width] {
			if v > high[j] {
				high[j] = v
			}
		}
	}
}

func subMulGeneric[T kernel.Float](x, y []T, ld, rows, width int, ref []T) {
	for r := range rows {
		row, factor := x[r*ld:][:width], y[r*ld:][:width]
		for j, v := range row {
			row[j] = (v - ref[j]) * factor[j]
		}
	}
}

func scaleRowsGeneric[T kernel.Float](dst, src []T, ld, rows, width int, factor, low []T) {
	for r := range rows {
		out := dst[r*ld:][:width]
		for j, v := range src[r*ld:][:width] {
			out[j] = v*factor[r] + v*low[r]
		}
	}
}

func tileNNGeneric[T kernel.Float](c []T, ldc int, a []T, lda int, b []T, ldb int, m, n, k int, acc bool) {
	tiling[T]{a: a, row: lda, column: 1, ldb: ldb, k: k}.cover(c, ldc, b, m, n, acc)
}

func tileTNGeneric[T kernel.Float](c []T, ldc int, a []T, lda int, b []T, ldb int, m, n, k int, acc bool) {
	tiling[T]{a: a, row: 1, column: lda, ldb: ldb, k: k}.cover(c, ldc, b, m, n, acc)
}

// tiling is a product A·B whose A is seen as [m,k], whichever way it is stored:
// row and column are the distances between its rows and columns.
type tiling[T kernel.Float] struct {
	a           []T
	row, column int
	ldb, k      int
}

// cover computes C with 4x2 register tiles, and the last rows and columns with
// single elements.
func (p tiling[T]) cover(c []T, ldc int, b []T, m, n int, acc bool) {
	if !acc {
		for i := range m {
			clear(c[i*ldc : i*ldc+n])
		}
	}
	if p.k <= 0 {
		return
	}
	i := 0
	for ; i+4 <= m; i += 4 {
		j := 0
		for ; j+2 <= n; j += 2 {
			p.tile4x2(c[i*ldc+j:], ldc, i, b[j:])
		}
		for ; j < n; j++ {
			for r := i; r < i+4; r++ {
				p.element(&c[r*ldc+j], r, b[j:])
			}
		}
	}
	for ; i < m; i++ {
		for j := range n {
			p.element(&c[i*ldc+j], i, b[j:])
		}
	}
}

// element adds row i of A times the first column of b to c.
func (p tiling[T]) element(c *T, i int, b []T) {
	var s T
	x, y := i*p.row, 0
	for range p.k {
		s += p.a[x] * b[y]
		x += p.column
		y += p.ldb
	}
	*c += s
}

// tile4x2 adds rows i to i+3 of A times the first two columns of b to c.
func (p tiling[T]) tile4x2(c []T, ldc, i int, b []T) {
	c0, c1, c2, c3 := c[:2], c[ldc:ldc+2], c[2*ldc:2*ldc+2], c[3*ldc:3*ldc+2]
	var s00, s01, s10, s11, s20, s21, s30, s31 T
	a0, a1, a2, a3 := p.a[i*p.row:], p.a[(i+1)*p.row:], p.a[(i+2)*p.row:], p.a[(i+3)*p.row:]
	x, y := 0, 0
	for range p.k {
		b0, b1 := b[y], b[y+1]
		s00 += a0[x] * b0
		s01 += a0[x] * b1
		s10 += a1[x] * b0
		s11 += a1[x] * b1
		s20 += a2[x] * b0
		s21 += a2[x] * b1
		s30 += a3[x] * b0
		s31 += a3[x] * b1
		x += p.column
		y += p.ldb
	}
	c0[0], c0[1], c1[0], c1[1] = c0[0]+s00, c0[1]+s01, c1[0]+s10, c1[1]+s11
	c2[0], c2[1], c3[0], c3[1] = c2[0]+s20, c2[1]+s21, c3[0]+s30, c3[1]+s31
}

// transposeGeneric works in strips of 16 rows, so that the destination's cache
// lines are filled while they are near.
func transposeGeneric[T kernel.Float](dst []T, ldd int, src []T, lds int, rows, cols int, scale T) {
	for i0 := 0; i0 < rows; i0 += 16 {
		strip := min(16, rows-i0)
		for j := range cols {
			out := dst[j*ldd+i0:][:strip]
			x := i0*lds + j
			for i := range out {
				out[i] = scale * src[x]
				x += lds
			}
		}
	}
}

// exp2Float32 is 2^x as floor and fraction: 2^floor goes into the exponent
// bits, 2^fraction is exp2Poly32. The assembly for AVX2 does the same.
func exp2Float32(x float32) float32 {
	switch {
	case x < -126:
		return 0
	case x >= 128:
		return float32(math.Inf(1))
	case x != x:
		return x
	}
	n := int32(x)
	if float32(n) > x {
		n--
	}
	f := x - float32(n)
	p := exp2Poly32[len(exp2Poly32)-1]
	for i := len(exp2Poly32) - 2; i >= 0; i-- {
		p = p*f + exp2Poly32[i]
	}
	return math.Float32frombits(uint32(int32(math.Float32bits(p)) + n<<23))
}

// exp2Float64 is 2^x without denormal results.
func exp2Float64(x float64) float64 {
	if x < -1022 {
		return 0
	}
	return math.Exp2(x)
}

// multiplyAddGeneric runs the register tile, the portable multiply-add loop, on operands of a few cache lines.
func multiplyAddGeneric[T kernel.Float](n int) (flops int) {
	const m, w, k = 4, 2, 32
	var a [m * k]T
	var b [k * w]T
	var c [m * w]T
	for i := range a {
		a[i] = 0.5
	}
	for i := range b {
		b[i] = 0.25
	}
	for range n {
		tileNNGeneric(c[:], w, a[:], k, b[:], w, m, w, k, false)
	}
	return 2 * m * w * k * n
}
