//go:build !purego

package cpu

// tileSide is the rows of a tile, and the 32-bit words of a row.
const tileSide = 16

// tileShape is the operand of LDTILECFG: palette 1, from byte 16 the bytes of each tile's rows in 16 bits, from byte 48 its rows.
type tileShape = [64]uint8

// shapeOf is the shape for tiles of C with so many rows, T0 to T3, and steps of so many words of k: T4 and T5 hold A, T6 and T7 B.
func shapeOf(rows, depth int) tileShape {
	s := tileShape{1}
	for tile := range 8 {
		s[16+2*tile], s[48+tile] = 4*tileSide, uint8(rows)
	}
	s[16+2*4], s[16+2*5] = uint8(4*depth), uint8(4*depth)
	s[48+6], s[48+7] = uint8(depth), uint8(depth)
	return s
}

var wholeTiles = shapeOf(tileSide, tileSide)

// productAMXBF16 is product of pairPrimitives on AMX tiles: first over what makes whole steps of k, then over the rest. Each step sums
// its products, those of the lower and of the upper halves apart, before it adds them to C; denormals count as 0.
func productAMXBF16(c []float32, ldc int, a []uint32, lda int, b []uint32, ldb int, m, n, k int, acc bool) {
	steps, rest := k/tileSide, k%tileSide
	if steps > 0 || rest == 0 {
		stepsAMXBF16(tileSide, c, ldc, a, lda, b, ldb, m, n, steps, acc)
		acc = true
	}
	if rest > 0 {
		stepsAMXBF16(rest, c, ldc, a[k-rest:], lda, b[(k-rest)*ldb:], ldb, m, n, 1, acc)
	}
}

// stepsAMXBF16 is the product over steps of depth words of k; only a single step may be less than a tile is deep.
func stepsAMXBF16(depth int, c []float32, ldc int, a []uint32, lda int, b []uint32, ldb int, m, n, steps int, acc bool) {
	rest := m % tileSide
	if whole := m / tileSide; whole > 0 {
		shape := &wholeTiles
		if depth < tileSide {
			s := shapeOf(tileSide, depth)
			shape = &s
		}
		tilesAMXBF16(shape, c, ldc, a, lda, b, ldb, whole, n/tileSide, steps, acc)
	}
	if rest > 0 {
		shape := shapeOf(rest, depth)
		above := m - rest
		tilesAMXBF16(&shape, c[above*ldc:], ldc, a[min(above*lda, len(a)):], lda, b, ldb, 1, n/tileSide, steps, acc)
	}
}
